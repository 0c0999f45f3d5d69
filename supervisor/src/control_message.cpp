#include "control_message.hpp"

#include <nlohmann/json.hpp>

#include "json_document.hpp"

namespace greensup {
namespace {

using nlohmann::json;
Diagnostic read(const json& d) {
    return {d.value("file", ""),       {d.value("line", 0U), d.value("column", 0U)},
            d.value("code", ""),       d.value("key", ""),
            d.value("message", ""),    d.value("hint", ""),
            d.value("source_line", "")};
}

}  // namespace

std::optional<Request> parse_request(std::string_view line, std::string& error) {
    const auto document = json::parse(line, nullptr, false);
    const auto refuse = [&](const char* why) {
        error = why;
        return std::optional<Request>{};
    };
    if (document.is_discarded() || !document.is_object()) return refuse("not a JSON object");
    Request request;
    if (document.contains("id"))
        request.id = document["id"].dump(-1, ' ', true, json::error_handler_t::replace);
    if (!document.contains("verb") || !document["verb"].is_string())
        return refuse("\"verb\" is missing or no string");
    request.verb = document["verb"].get<std::string>();
    for (const auto& [key, target] : {std::pair{"wait", &request.wait}, {"fast", &request.fast}}) {
        if (!document.contains(key)) continue;
        if (!document[key].is_boolean()) return refuse("\"wait\" and \"fast\" are true or false");
        *target = document[key].get<bool>();
    }
    return request;
}

std::string to_line(const Request& request) {
    Document document = {{"id", 1}, {"verb", request.verb}};
    if (!request.wait) document["wait"] = false;
    if (request.fast) document["fast"] = true;
    return dump(document) + "\n";
}

std::string with_id(std::string document, std::string_view id) {
    if (!id.empty()) document.insert(1, "\"id\":" + std::string(id) + ",");
    return document + "\n";
}

std::string to_line(const Answer& answer, std::string_view id) {
    Document document = {{"schema", schema_name}, {"ok", answer.ok}};
    if (!answer.ok) {
        document["code"] = number(answer.code);
        document["error"] = {{"id", answer.error}, {"message", answer.message}};
        if (!answer.hint.empty()) document["error"]["hint"] = answer.hint;
    } else if (!answer.message.empty()) {
        document["message"] = answer.message;
    }
    if (answer.generation != 0) document["generation"] = answer.generation;
    if (!answer.plan.empty()) document["plan"] = answer.plan;
    if (!answer.mistakes.empty()) {
        document["errors"] = Document::array();
        for (const auto& mistake : answer.mistakes) document["errors"].push_back(write(mistake));
    }
    return with_id(dump(document), id);
}

std::optional<Answer> parse_answer(std::string_view line) {
    const auto document = json::parse(line, nullptr, false);
    if (!document.is_object() || document.value("schema", json()) != schema_name)
        return std::nullopt;
    try {
        Answer answer;
        answer.ok = document.at("ok").get<bool>();
        answer.code = static_cast<Code>(document.value("code", 0));
        const auto error = document.value("error", json::object());
        answer.error = error.value("id", "");
        answer.hint = error.value("hint", "");
        answer.message = answer.ok ? document.value("message", "") : error.value("message", "");
        answer.plan = document.value("plan", "");
        answer.generation = document.value("generation", std::uint64_t{0});
        for (const auto& mistake : document.value("errors", json::array()))
            answer.mistakes.push_back(read(mistake));
        return answer;
    } catch (const json::exception&) {  // a field of another type: not such a document
        return std::nullopt;
    }
}

std::string_view error_id(Code code) {
    switch (code) {
        case Code::usage:
            return "bad-request";
        case Code::config:
            return "config-invalid";
        case Code::not_found:
            return "no-supervisor";
        case Code::superseded:
            return "superseded";
        case Code::forbidden:
            return "not-allowed";
        case Code::roll_failed:
            return "roll-failed";
        default:
            return "failed";
    }
}

}  // namespace greensup
