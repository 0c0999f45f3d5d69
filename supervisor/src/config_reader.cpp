#include "config_reader.hpp"

#include <algorithm>
#include <filesystem>

#include "units.hpp"
#include "variables.hpp"

namespace greensup {
namespace {

bool matches_later(const std::string& name, const std::vector<std::string>& later) {
    return std::any_of(later.begin(), later.end(), [&](const std::string& pattern) {
        return matches(pattern, name) || pattern.starts_with(name + ".");
    });
}

/// The first column at or after `place` where `text` stands in the source, counted in characters.
Place locate(const SourceText& source, Place place, std::string_view text) {
    const auto line = source.line(place.line);
    const auto found = line.find(text);
    if (text.empty() || found == std::string::npos) return place;
    const auto columns =
        std::count_if(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(found),
                      [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
    return {place.line, std::max(place.column, static_cast<unsigned>(columns) + 1)};
}

}  // namespace

void Reader::report(Place place, std::string code, std::string key, std::string message,
                    std::string hint) {
    mistakes_.push_back(source_.diagnostic(place, std::move(code), std::move(key),
                                           std::move(message), std::move(hint)));
}

bool Reader::is_wrong(const std::string& key) const {
    return std::any_of(mistakes_.begin(), mistakes_.end(),
                       [&](const Diagnostic& mistake) { return mistake.key == key; });
}

std::optional<std::string> Reader::expanded(const TomlNode& node, const std::string& key,
                                            bool keep_instance) {
    auto result = expand(node.text, environment_.variables, built_in_, keep_instance);
    for (auto& mistake : result.mistakes) {
        const auto end = node.text.find('}', mistake.at);
        const auto variable = std::string_view(node.text).substr(
            mistake.at, end == std::string::npos ? end : end + 1 - mistake.at);
        report(locate(source_, node.place, variable), "E012", key, std::move(mistake.message),
               std::move(mistake.hint));
    }
    if (!result.mistakes.empty()) return std::nullopt;
    return std::move(result.text);
}

std::string Reader::absolute(const std::string& path) const {
    auto result = (std::filesystem::path(directory_) / path).lexically_normal().string();
    if (result.size() > 1 && result.ends_with('/')) result.pop_back();
    return result;
}

std::optional<Place> Reader::written(const std::string& key) const {
    const auto found = written_.find(key);
    if (found == written_.end()) return std::nullopt;
    return found->second;
}

Places Reader::places() const {
    Places places{source_.file};
    for (const auto& [key, place] : written_) places.note(key, place, source_.line(place.line));
    return places;
}

void Field::wrong_type(const std::string& expected, std::string hint) const {
    fail("E003",
         "expected " + expected + ", got " + type_name(node_.type) + " (" + brief(node_) + ")",
         std::move(hint));
}

void Field::not_one_of(const std::vector<std::string>& known, const std::string& got) const {
    const auto meant = nearest(got, known);
    fail("E005", "must be one of " + join(known) + ", got \"" + got + "\"" +
                     (meant ? "; did you mean \"" + *meant + "\"?" : std::string()));
}

std::optional<std::string> Field::text(bool keep_instance) const {
    if (node_.type != TomlNode::Type::text) {
        wrong_type("string");
        return std::nullopt;
    }
    if (node_.text.find('\0') != std::string::npos) {
        fail("E004", "must not contain a zero character");
        return std::nullopt;
    }
    return reader_.expanded(node_, key_, keep_instance);
}

std::optional<std::vector<std::string>> Field::texts(bool keep_instance) const {
    if (node_.type != TomlNode::Type::array) {
        wrong_type("array of strings", node_.type == TomlNode::Type::text
                                           ? "write [\"" + node_.text + "\"]"
                                           : std::string());
        return std::nullopt;
    }
    std::vector<std::string> result;
    bool good = true;
    for (std::size_t i = 0; i < node_.items.size(); ++i) {
        const auto field = item(node_.items[i], "[" + std::to_string(i) + "]");
        auto one = field.text(keep_instance);
        reader_.note_written(field.key(), field.node().place);
        good = good && one.has_value();
        if (one) result.push_back(std::move(*one));
    }
    if (!good) return std::nullopt;
    return result;
}

bool check_name(Reader& reader, Place place, const std::string& key, const std::string& name) {
    const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    const bool good = !name.empty() && name.size() <= 32 && plain(name.front()) &&
                      std::all_of(name.begin(), name.end(),
                                  [&](char c) { return plain(c) || c == '_' || c == '-'; });
    if (!good)
        reader.report(place, "E004", key,
                      "must match [a-z0-9][a-z0-9_-]{0,31}, got \"" + name + "\"");
    return good;
}

std::string dotted(const std::string& path, const std::string& name) { return path + "." + name; }

bool is_private(std::string_view key) { return key.starts_with("x-"); }

void report_unknown(Reader& reader, const TomlEntry& entry, const std::string& path,
                    const std::string& name, const std::vector<std::string>& known,
                    const std::vector<std::string>& later,
                    const std::vector<std::pair<std::string, std::string>>& elsewhere) {
    const auto full = path.empty() ? name : path + "." + name;
    const auto moved = std::find_if(elsewhere.begin(), elsewhere.end(),
                                    [&](const auto& pair) { return pair.first == name; });
    if (moved != elsewhere.end()) {
        reader.report(entry.place, "E002", full, "unknown key", moved->second);
        return;
    }
    if (matches_later(name, later)) {
        reader.report(entry.place, "E015", full,
                      "known, but not supported by this version of greensup yet",
                      "remove it, or call it x-" + entry.key + " to keep it in the file unread");
        return;
    }
    // Compared as it was written and, inside a group, by its last part alone.
    const auto meant = nearest(name, known);
    reader.report(
        entry.place, "E002", full,
        meant ? "unknown key; did you mean \"" + *meant + "\"?" : std::string("unknown key"),
        meant ? std::string() : "known here: " + join(known));
}

}  // namespace greensup
