// The codecs of words, paths, lists and addresses.
#include <algorithm>

#include "config_codecs.hpp"
#include "units.hpp"

namespace greensup {
namespace {

using Type = TomlNode::Type;

constexpr std::size_t longest_unix_path = 107;  // sun_path without its final zero

/// Text that is equal only for equal lists: each word quoted.
std::string quoted(const std::vector<std::string>& words) {
    std::string text = "[";
    for (const auto& word : words) {
        if (text.size() > 1) text += ", ";
        text += '"';
        for (const char c : word) {
            if (c == '"' || c == '\\') text += '\\';
            text += c;
        }
        text += '"';
    }
    return text + "]";
}

}  // namespace

std::optional<std::size_t> read_choice(const Field& field, const std::vector<std::string>& words,
                                       const std::vector<std::string>& later) {
    const auto text = field.text();
    if (!text) return std::nullopt;
    const auto found = std::find(words.begin(), words.end(), *text);
    if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
    if (std::find(later.begin(), later.end(), *text) != later.end())
        field.fail("E015",
                   "\"" + *text + "\" is known, but not supported by this version of greensup yet",
                   "now possible: " + join(words));
    else
        field.not_one_of(words, *text);
    return std::nullopt;
}

std::optional<std::string> TextCodec::read(const Field& field) const {
    auto text = field.text();
    if (text && text->empty()) {
        field.fail("E004", "must not be empty");
        return std::nullopt;
    }
    return text;
}

std::optional<std::string> NameCodec::read(const Field& field) const {
    auto text = field.text();
    if (!text || !check_name(field.reader(), field.node().place, field.key(), *text))
        return std::nullopt;
    return text;
}

std::optional<std::string> PathCodec::read(const Field& field) const {
    const auto text = field.text(keep_instance);
    if (!text) return std::nullopt;
    if (text->empty()) {
        field.fail("E004", "must not be empty");
        return std::nullopt;
    }
    auto path = field.reader().absolute(*text);
    if (path.size() <= longest) return path;
    field.fail("E004", "must be at most " + std::to_string(longest) + " characters long, got " +
                           std::to_string(path.size()) + " (" + path + ")");
    return std::nullopt;
}

std::optional<std::vector<std::string>> TextsCodec::read(const Field& field) const {
    return field.texts();
}
std::string TextsCodec::show(const std::vector<std::string>& value) const { return quoted(value); }

std::optional<std::vector<std::string>> CommandCodec::read(const Field& field) const {
    std::optional<std::vector<std::string>> words;
    if (field.node().type == Type::array) {
        words = field.texts(true);
    } else if (field.node().type == Type::text) {
        // Split first: a variable's value is one word, whatever blanks or quotes it holds.
        const auto raw = split_command(field.node().text);
        if (!raw) {
            field.fail("E004", "a quote is never closed");
            return std::nullopt;
        }
        std::vector<std::string> result;
        bool good = true;
        for (const auto& word : *raw) {
            TomlNode node = field.node();
            node.text = word;
            auto expanded = field.item(node, "").text(true);
            good = good && expanded.has_value();
            if (expanded) result.push_back(std::move(*expanded));
        }
        if (good) words = std::move(result);
    } else {
        field.wrong_type(type, "write [\"./web\", \"--port\", \"8080\"]");
    }
    if (!words || (!words->empty() && !words->front().empty())) return words;
    field.fail("E004", "must name a program", "for example [\"./web\", \"--port\", \"8080\"]");
    return std::nullopt;
}

std::string CommandCodec::show(const std::vector<std::string>& value) const {
    return quoted(value);
}

std::optional<std::map<std::string, std::string>> VariablesCodec::read(const Field& field) const {
    if (field.node().type != Type::table) {
        field.wrong_type("table of strings", "write { NAME = \"value\" }");
        return std::nullopt;
    }
    std::map<std::string, std::string> result;
    for (const auto& entry : field.node().entries) {
        const auto one = field.item(entry.value, "." + entry.key);
        if (entry.key.empty() || entry.key.find('=') != std::string::npos ||
            entry.key.find('\0') != std::string::npos) {
            one.fail("E004", "variable name must not be empty or contain \"=\"");
        } else if (entry.key.starts_with("GREENSUP_")) {
            one.fail("E004", "names that begin with GREENSUP_ are greensup's own");
        } else if (auto text = one.text(true)) {
            result[entry.key] = std::move(*text);
        }
    }
    return result;
}

std::string VariablesCodec::show(const std::map<std::string, std::string>& value) const {
    std::vector<std::string> words;
    words.reserve(value.size());
    for (const auto& [name, text] : value)
        words.push_back(std::string(name).append("=").append(text));
    return quoted(words);
}

std::optional<int> SignalCodec::read(const Field& field) const {
    const auto text = field.text();
    if (!text) return std::nullopt;
    const auto number = parse_signal(*text);
    if (number && *number != SIGSTOP && *number != SIGTSTP && *number != SIGCONT &&
        *number != SIGCHLD)
        return number;
    auto names = signal_names();
    auto plain = *text;
    if (plain.starts_with("SIG")) plain.erase(0, 3);
    const auto meant = number ? std::nullopt : nearest(plain, names);
    field.fail("E005", number ? "signal \"" + *text + "\" cannot end a worker"
                              : "unknown signal \"" + *text + "\"" +
                                    (meant ? "; did you mean \"" + *meant + "\"?" : ""));
    return std::nullopt;
}

std::string SignalCodec::show(int value) const { return signal_text(value); }

std::optional<std::vector<std::string>> CodesCodec::read(const Field& field) const {
    if (field.node().type != Type::array) {
        field.wrong_type(type, "write [0, 3, \"TERM\"]");
        return std::nullopt;
    }
    std::vector<std::string> result;
    std::size_t index = 0;
    for (const auto& node : field.node().items) {
        const auto one = field.item(node, "[" + std::to_string(index++) + "]");
        if (node.type == Type::text) {
            if (const auto signal = SignalCodec{}.read(one)) result.push_back(signal_text(*signal));
        } else if (node.type != Type::integer) {
            one.wrong_type("integer or signal name");
        } else if (node.integer < 0 || node.integer > 255) {
            one.fail("E004", "exit code must be 0..255, got " + brief(node));
        } else {
            result.push_back(std::to_string(node.integer));
        }
    }
    return result;
}

std::string CodesCodec::show(const std::vector<std::string>& value) const { return quoted(value); }

std::optional<int> ModeCodec::read(const Field& field) const {
    const auto text = field.text();
    if (!text) return std::nullopt;
    const bool octal = !text->empty() && text->size() <= 4 &&
                       text->find_first_not_of("01234567") == std::string::npos;
    const int mode = octal ? static_cast<int>(std::strtol(text->c_str(), nullptr, 8)) : -1;
    if (mode >= 0 && mode <= 0777) return mode;
    field.fail("E004", "must be octal 0000..0777, got \"" + *text + "\"");
    return std::nullopt;
}

std::string ModeCodec::show(int value) const {
    std::string text = "0";
    for (const int shift : {6, 3, 0}) text += static_cast<char>('0' + ((value >> shift) & 7));
    return text;
}

namespace {

std::optional<Endpoint> read_tcp(std::string_view rest) {
    Endpoint endpoint;
    const auto colon = rest.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const auto port = parse_integer(rest.substr(colon + 1));
    if (!port || *port < 0 || *port > 65535 || rest[colon + 1] == '-') return std::nullopt;
    auto host = rest.substr(0, colon);
    const bool bracketed = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (host.empty() || bracketed != (host.find(':') != std::string_view::npos))
        return std::nullopt;
    if (host.find_first_of("[]/ \t") != std::string_view::npos) return std::nullopt;
    endpoint.host = std::string(host);
    endpoint.port = static_cast<std::uint16_t>(*port);
    return endpoint;
}

std::optional<Endpoint> read_unix(const Field& field, std::string_view rest) {
    Endpoint endpoint;
    const bool abstract = rest.starts_with('@');
    endpoint.family = abstract ? Endpoint::Family::unix_abstract : Endpoint::Family::unix_path;
    endpoint.path =
        abstract ? std::string(rest.substr(1)) : field.reader().absolute(std::string(rest));
    if (endpoint.path.size() <= longest_unix_path) return endpoint;
    field.fail("E004", "a unix socket's path has at most " + std::to_string(longest_unix_path) +
                           " characters, got " + std::to_string(endpoint.path.size()) + " (" +
                           endpoint.path + ")");
    return std::nullopt;
}

}  // namespace

std::optional<Endpoint> EndpointCodec::read(const Field& field) const {
    const auto text = field.text();
    if (!text) return std::nullopt;
    for (const auto* later : {"udp://", "systemd:"}) {
        if (!text->starts_with(later)) continue;
        field.fail(
            "E015",
            std::string(later) + "… is known, but not supported by this version of greensup yet",
            "now possible: tcp://HOST:PORT, unix:PATH, unix:@NAME");
        return std::nullopt;
    }
    const std::string_view rest = *text;
    if (rest.starts_with("tcp://")) {
        if (auto endpoint = read_tcp(rest.substr(6))) return endpoint;
    } else if (rest.starts_with("unix:") && rest.size() > 5 && rest != "unix:@") {
        return read_unix(field, rest.substr(5));
    }
    const auto port = parse_integer(*text);
    field.fail("E004",
               "not an address: \"" + *text + "\" (write \"tcp://127.0.0.1:" +
                   (port && *port >= 0 ? *text : std::string("8080")) + "\")",
               "possible: tcp://HOST:PORT, tcp://[V6]:PORT, unix:PATH, unix:@NAME");
    return std::nullopt;
}

}  // namespace greensup
