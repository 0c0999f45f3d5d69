// All JSON of the deciding half; the field names are a contract with scripts ("greensup/1").
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>

#include <nlohmann/json.hpp>

#include "diagnostic.hpp"
#include "json_document.hpp"
#include "status.hpp"
#include "units.hpp"

namespace greensup {

std::string dump(const Document& document, bool pretty) {
    return document.dump(pretty ? 2 : -1, ' ', false, Document::error_handler_t::replace);
}

Document write(const QueueStatus& queue) {
    Document document = {{"name", queue.name},
                         {"depth", queue.ready + queue.leased + queue.delayed},
                         {"ready", queue.ready},
                         {"leased", queue.leased},
                         {"delayed", queue.delayed},
                         {"dead", queue.dead},
                         {"bytes", queue.bytes},
                         {"oldest_ms", queue.oldest_ms},
                         {"high", queue.high},
                         {"letters_full", queue.letters_full},
                         {"removed", queue.removed},
                         {"accepted", queue.accepted},
                         {"acked", queue.acked},
                         {"redelivered", queue.redelivered},
                         {"moved", queue.moved},
                         {"duplicates", queue.duplicates},
                         {"dropped_oldest", queue.dropped_oldest},
                         {"dropped_newest", queue.dropped_newest},
                         {"rejected", queue.rejected},
                         {"expired", queue.expired},
                         {"refused", queue.refused},
                         {"leases_expired", queue.leases_expired}};
    document["holders"] = Document::array();
    for (const auto& holder : queue.holders)
        document["holders"].push_back({{"worker", holder.worker},
                                       {"slot", holder.slot},
                                       {"pid", holder.pid},
                                       {"leased", holder.leased}});
    return document;
}

Document write(const std::vector<PipeEndStatus>& ends) {
    auto document = Document::array();
    for (const auto& end : ends)
        document.push_back({{"slot", end.slot},
                            {"pid", end.pid == 0 ? Document() : Document(end.pid)},
                            {"state", end.state},
                            {"bytes", end.bytes},
                            {"waiting", end.waiting},
                            {"stands_ms", end.stands_ms}});
    return document;
}

Document write(const PipeStatus& pipe) {
    return {{"name", pipe.name},
            {"from", pipe.from},
            {"to", pipe.to},
            {"shape", pipe.shape},
            {"waiting", pipe.waiting},
            {"passed", pipe.passed},
            {"torn", pipe.torn},
            {"refused", pipe.refused},
            {"missed", pipe.missed},
            {"removed", pipe.removed},
            {"writers", write(pipe.writers)},
            {"readers", write(pipe.readers)}};
}

Document write(const Diagnostic& d) {
    return {{"file", d.file},
            {"line", d.place.line},
            {"column", d.place.column},
            {"code", d.code},
            {"key", d.key},
            {"message", d.message},
            {"hint", d.hint},
            {"source_line", d.source_line}};
}

namespace {

using nlohmann::json;
constexpr std::array<std::string_view, 9> cause_names = {
    "none",     "requested",     "exit",          "signal",      "exec",
    "shortage", "start-timeout", "drain-timeout", "stop-timeout"};

/// "2026-11-20T09:14:22.113Z"
std::string timestamp(std::int64_t ms) {
    const auto seconds = static_cast<std::time_t>(ms >= 0 ? ms / 1000 : -((999 - ms) / 1000));
    std::tm parts{};
    std::array<char, 64> date{};
    std::array<char, 80> text{};
    if (gmtime_r(&seconds, &parts) == nullptr) return {};
    static_cast<void>(std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &parts));
    static_cast<void>(
        std::snprintf(text.data(), text.size(), "%s.%03dZ", date.data(),
                      static_cast<int>(ms - static_cast<std::int64_t>(seconds) * 1000)));
    return text.data();
}

std::optional<std::int64_t> parse_timestamp(const std::string& text) {
    std::tm parts{};
    const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == nullptr) return std::nullopt;
    const std::string_view fraction = rest;  // ".113Z"
    if (fraction.size() != 5 || fraction.front() != '.' || fraction.back() != 'Z')
        return std::nullopt;
    const auto milliseconds = parse_integer(fraction.substr(1, 3));
    if (!milliseconds) return std::nullopt;
    return static_cast<std::int64_t>(timegm(&parts)) * 1000 + *milliseconds;
}

Document write(const Cause& cause) {
    if (cause.kind == Cause::Kind::none) return nullptr;
    Document document = {{"kind", cause_names.at(static_cast<std::size_t>(cause.kind))}};
    if (cause.kind == Cause::Kind::exit) document["code"] = cause.number;
    if (cause.kind == Cause::Kind::signal) document["signal"] = signal_text(cause.number);
    if (cause.kind == Cause::Kind::exec || cause.kind == Cause::Kind::shortage)
        document["errno"] = cause.number;
    if (!cause.text.empty()) document["detail"] = cause.text;
    document["text"] = to_text(cause);
    return document;
}

Document write(const InstanceStatus& instance) {
    Document document = {{"slot", instance.slot}, {"state", to_text(instance.state)}};
    document["pid"] = instance.pid == 0 ? Document(nullptr) : Document(instance.pid);
    document["generation"] = instance.generation;
    document["cause"] = write(instance.cause);
    document["since"] = timestamp(instance.since_ms);
    document["next_at"] =
        instance.next_at_ms ? Document(timestamp(*instance.next_at_ms)) : Document(nullptr);
    document["restarts"] = instance.restarts;
    document["on_trial"] = instance.on_trial;
    return document;
}

Document write(const PoolStatus& pool) {
    Document document = {{"name", pool.name},
                         {"state", to_text(state_of(pool))},
                         {"want", pool.wanted ? "up" : "down"},
                         {"count", pool.count},
                         {"ready", ready_count(pool)},
                         {"generation", pool.generation},
                         {"degraded", pool.degraded},
                         {"rolling", pool.rolling},
                         {"note", pool.note}};
    document["instances"] = Document::array();
    for (const auto& instance : pool.instances) document["instances"].push_back(write(instance));
    return document;
}

Document write(const ConfigStatus& config) {
    Document document = {{"file", config.file},
                         {"state", config.rejected ? "rejected" : "applied"}};
    if (!config.rejected) return document;
    document["rejected_at"] = timestamp(config.rejected_at_ms);
    document["errors"] = Document::array();
    for (const auto& mistake : config.mistakes) document["errors"].push_back(write(mistake));
    return document;
}

Cause read_cause(const json& document) {
    Cause cause;
    if (document.is_null()) return cause;
    const auto kind = document.at("kind").get<std::string>();
    for (std::size_t i = 0; i < cause_names.size(); ++i)
        if (cause_names[i] == kind) cause.kind = static_cast<Cause::Kind>(i);
    if (document.contains("code")) cause.number = document["code"].get<int>();
    if (document.contains("errno")) cause.number = document["errno"].get<int>();
    if (document.contains("signal")) {
        const auto name = document["signal"].get<std::string>();
        cause.number =
            parse_signal(name).value_or(static_cast<int>(parse_integer(name).value_or(0)));
    }
    cause.text = document.value("detail", "");
    return cause;
}

InstanceStatus read_instance(const json& document) {
    InstanceStatus instance;
    instance.slot = document.at("slot").get<int>();
    instance.state = parse_state(document.at("state").get<std::string>()).value_or(State::stopped);
    instance.pid = document.at("pid").is_null() ? 0 : document["pid"].get<int>();
    instance.generation = document.at("generation").get<std::uint64_t>();
    instance.cause = read_cause(document.at("cause"));
    instance.since_ms = parse_timestamp(document.at("since").get<std::string>()).value_or(0);
    if (!document.at("next_at").is_null())
        instance.next_at_ms = parse_timestamp(document["next_at"].get<std::string>());
    instance.restarts = document.at("restarts").get<unsigned>();
    instance.on_trial = document.at("on_trial").get<bool>();
    return instance;
}

PoolStatus read_pool(const json& document) {
    PoolStatus pool;
    pool.name = document.at("name").get<std::string>();
    pool.wanted = document.at("want").get<std::string>() == "up";
    pool.count = document.at("count").get<int>();
    pool.generation = document.at("generation").get<std::uint64_t>();
    pool.degraded = document.at("degraded").get<bool>();
    pool.rolling = document.at("rolling").get<bool>();
    pool.note = document.at("note").get<std::string>();
    for (const auto& instance : document.at("instances"))
        pool.instances.push_back(read_instance(instance));
    return pool;
}

ConfigStatus read_config_status(const json& document) {
    ConfigStatus config;
    config.file = document.at("file").get<std::string>();
    config.rejected = document.at("state").get<std::string>() == "rejected";
    if (!config.rejected) return config;
    config.rejected_at_ms =
        parse_timestamp(document.at("rejected_at").get<std::string>()).value_or(0);
    for (const auto& d : document.at("errors"))
        config.mistakes.push_back({d.at("file"),
                                   {d.at("line"), d.at("column")},
                                   d.at("code"),
                                   d.at("key"),
                                   d.at("message"),
                                   d.at("hint"),
                                   d.at("source_line")});
    return config;
}

QueueStatus read_queue(const json& document) {
    QueueStatus queue;
    queue.name = document.at("name").get<std::string>();
    queue.high = document.at("high").get<bool>();
    queue.letters_full = document.value("letters_full", false);
    queue.removed = document.value("removed", false);
    queue.oldest_ms = document.at("oldest_ms").get<std::int64_t>();
    const auto number = [&](const char* name) { return document.at(name).get<std::uint64_t>(); };
    queue.ready = number("ready");
    queue.leased = number("leased");
    queue.delayed = number("delayed");
    queue.dead = number("dead");
    queue.bytes = number("bytes");
    queue.accepted = number("accepted");
    queue.acked = number("acked");
    queue.redelivered = number("redelivered");
    queue.moved = number("moved");
    queue.duplicates = number("duplicates");
    queue.dropped_oldest = number("dropped_oldest");
    queue.dropped_newest = number("dropped_newest");
    queue.rejected = number("rejected");
    queue.expired = number("expired");
    queue.refused = number("refused");
    queue.leases_expired = number("leases_expired");
    for (const auto& holder : document.at("holders"))
        queue.holders.push_back(
            {holder.at("worker"), holder.at("slot"), holder.at("pid"), holder.at("leased")});
    return queue;
}

std::vector<PipeEndStatus> read_ends(const json& document) {
    std::vector<PipeEndStatus> ends;
    for (const auto& end : document)
        ends.push_back({end.at("slot"), end.at("pid").is_null() ? 0 : end["pid"].get<int>(),
                        end.at("state"), end.at("bytes"), end.at("waiting"), end.at("stands_ms")});
    return ends;
}

PipeStatus read_pipe(const json& document) {
    PipeStatus pipe;
    pipe.name = document.at("name").get<std::string>();
    pipe.from = document.at("from").get<std::string>();
    pipe.to = document.at("to").get<std::string>();
    pipe.shape = document.at("shape").get<std::string>();
    pipe.waiting = document.at("waiting").get<std::uint64_t>();
    pipe.passed = document.at("passed").get<std::uint64_t>();
    pipe.torn = document.at("torn").get<std::uint64_t>();
    pipe.refused = document.at("refused").get<std::uint64_t>();
    // An earlier version does not tell more.
    pipe.missed = document.value("missed", std::uint64_t{0});
    pipe.removed = document.value("removed", false);
    pipe.writers = read_ends(document.value("writers", json::array()));
    pipe.readers = read_ends(document.value("readers", json::array()));
    return pipe;
}

Status read_status(const json& document) {
    Status status;
    const auto& supervisor = document.at("supervisor");
    status.name = supervisor.at("name").get<std::string>();
    status.pid = supervisor.at("pid").get<int>();
    status.version = supervisor.at("version").get<std::string>();
    status.generation = supervisor.at("generation").get<std::uint64_t>();
    const std::chrono::milliseconds uptime(
        std::llround(supervisor.at("uptime_s").get<double>() * 1000));
    status.uptime = uptime;
    status.stopping = supervisor.at("stopping").get<bool>();
    status.now_ms = parse_timestamp(supervisor.at("now").get<std::string>()).value_or(0);
    status.config = read_config_status(document.at("config"));
    for (const auto& pool : document.at("pools")) status.pools.push_back(read_pool(pool));
    for (const auto& q : document.at("queues")) status.queues.push_back(read_queue(q));
    // A supervisor of an earlier version has none.
    for (const auto& p : document.value("pipes", json::array()))
        status.pipes.push_back(read_pipe(p));
    for (const auto& s : document.at("sockets"))
        status.sockets.push_back({s.at("name"), s.at("listen")});
    return status;
}

}  // namespace

std::string to_json_text(const Diagnostics& diagnostics) {
    auto document = Document::array();
    for (const auto& diagnostic : diagnostics) {
        auto one = write(diagnostic);
        one.erase("source_line");
        document.push_back(std::move(one));
    }
    return dump(document, false);
}

std::string to_json_text(const Status& status, bool pretty) {
    const auto uptime =
        std::chrono::duration_cast<std::chrono::milliseconds>(status.uptime).count();
    Document document = {{"schema", schema_name}, {"ok", true}};
    document["supervisor"] = {{"name", status.name},
                              {"pid", status.pid},
                              {"generation", status.generation},
                              {"uptime_s", static_cast<double>(uptime) / 1000},
                              {"version", status.version},
                              {"now", timestamp(status.now_ms)},
                              {"stopping", status.stopping}};
    document["config"] = write(status.config);
    document["pools"] = Document::array();
    for (const auto& pool : status.pools) document["pools"].push_back(write(pool));
    document["queues"] = Document::array();
    for (const auto& queue : status.queues) document["queues"].push_back(write(queue));
    document["pipes"] = Document::array();
    for (const auto& pipe : status.pipes) document["pipes"].push_back(write(pipe));
    document["sockets"] = Document::array();
    for (const auto& socket : status.sockets)
        document["sockets"].push_back({{"name", socket.name}, {"listen", socket.listen}});
    return dump(document, pretty);
}

std::optional<Status> parse_status(std::string_view text) {
    const auto document = json::parse(text, nullptr, false);
    if (!document.is_object() || document.value("schema", json()) != schema_name)
        return std::nullopt;
    try {
        return read_status(document);
    } catch (
        const json::exception&) {  // a field is missing or of another type: not such a document
        return std::nullopt;
    }
}

std::string error_json_text(int code, std::string_view id, std::string_view message,
                            std::string_view hint) {
    Document error = {{"id", id}, {"message", message}};
    if (!hint.empty()) error["hint"] = hint;
    return dump({{"schema", schema_name}, {"ok", false}, {"code", code}, {"error", error}}, false);
}

}  // namespace greensup
