// The only file that includes toml++.
#include "toml_tree.hpp"

#include <algorithm>
#include <sstream>

#include <toml++/toml.h>

#include "toml_statements.hpp"
#include "units.hpp"

namespace greensup {
namespace {

constexpr std::size_t most_syntax_errors = 20;
constexpr std::size_t brief_length = 40;

Place place_of(const toml::source_region& region) {
    return {region.begin.line, region.begin.column};
}

TomlNode convert(const toml::node& node);

void convert_table(const toml::table& table, TomlNode& into) {
    for (auto&& [key, value] : table)
        into.entries.push_back({std::string(key.str()), place_of(key.source()), convert(value)});
    std::stable_sort(into.entries.begin(), into.entries.end(),
                     [](const TomlEntry& a, const TomlEntry& b) { return a.place < b.place; });
}

TomlNode convert(const toml::node& node) {
    TomlNode result;
    result.place = place_of(node.source());
    using Type = TomlNode::Type;
    if (const auto* table = node.as_table()) {
        convert_table(*table, result);
    } else if (const auto* array = node.as_array()) {
        result.type = Type::array;
        for (auto&& item : *array) result.items.push_back(convert(item));
    } else if (const auto* text = node.as_string()) {
        result.type = Type::text, result.text = text->get();
    } else if (const auto* integer = node.as_integer()) {
        result.type = Type::integer, result.integer = integer->get();
    } else if (const auto* number = node.as_floating_point()) {
        result.type = Type::number, result.number = number->get();
    } else if (const auto* boolean = node.as_boolean()) {
        result.type = Type::boolean, result.boolean = boolean->get();
    } else {
        result.type = Type::date;
    }
    return result;
}

/// "Error while parsing array: expected X, saw '\n'" -> "expected X, saw the end of the line (in
/// the array)"
std::string reworded(std::string text) {
    constexpr std::string_view lead = "Error while parsing ";
    if (text.starts_with(lead)) {
        const auto colon = text.find(": ");
        if (colon != std::string::npos) {
            const auto what = text.substr(lead.size(), colon - lead.size());
            text = text.substr(colon + 2) + " (in the " + what + ")";
        }
    }
    // toml++ shows what it saw as an escape, or as it is.
    for (const std::string_view line_end : {"'\\n'", "'\n'", "\n"})
        if (const auto at = text.find(line_end); at != std::string::npos)
            text.replace(at, line_end.size(), "the end of the line");
    return text;
}

Diagnostic mistake(const SourceText& source, const toml::parse_error& error) {
    const auto place = place_of(error.source());
    const std::string text(error.description());
    if (text.find("cannot redefine") != std::string::npos) {
        const auto quote = text.find('\'');
        const auto key = text.substr(quote + 1, text.rfind('\'') - quote - 1);
        const auto earlier = earlier_definition(source.lines, place.line);
        const auto where =
            earlier == 0 ? std::string("already defined")
                         : "already defined at " + source.file + ":" + std::to_string(earlier);
        const auto indent = source.line(place.line).find_first_not_of(" \t");
        return source.diagnostic({place.line, static_cast<unsigned>(indent) + 1}, "E013", key,
                                 where, "remove one of the two");
    }
    const auto open = open_bracket(source.lines, place.line);
    if (open.line == 0)
        return source.diagnostic(place, "E001", "", "syntax: " + reworded(text), "");
    // What toml++ says of a new statement inside a bracket is about the statement; the bracket is
    // to blame.
    const auto opened = "the bracket that was opened on line " + std::to_string(open.line);
    const bool next_statement = lines_to_skip(source.lines, place.line).last < place.line;
    return source.diagnostic(place, "E001", "",
                             next_statement ? "syntax: expected a comma or the end of " + opened
                                            : "syntax: " + reworded(text) + "; inside " + opened,
                             "");
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    return text;
}

}  // namespace

const TomlEntry* TomlNode::find(std::string_view key) const {
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [&](const TomlEntry& e) { return e.key == key; });
    return found == entries.end() ? nullptr : &*found;
}

std::string type_name(TomlNode::Type type) {
    switch (type) {
        case TomlNode::Type::text:
            return "string";
        case TomlNode::Type::integer:
            return "integer";
        case TomlNode::Type::number:
            return "number";
        case TomlNode::Type::boolean:
            return "boolean";
        case TomlNode::Type::date:
            return "date or time";
        case TomlNode::Type::array:
            return "array";
        case TomlNode::Type::table:
            return "table";
    }
    return "value";
}

std::string brief(const TomlNode& node) {
    std::string text;
    switch (node.type) {
        case TomlNode::Type::text:
            text = '"' + node.text + '"';
            break;
        case TomlNode::Type::integer:
            text = std::to_string(node.integer);
            break;
        case TomlNode::Type::number: {
            std::ostringstream out;
            out << node.number;
            text = out.str();
            break;
        }
        case TomlNode::Type::boolean:
            text = node.boolean ? "true" : "false";
            break;
        case TomlNode::Type::date:
            text = "…";
            break;
        case TomlNode::Type::array:
            text = "[" + std::to_string(node.items.size()) + " items]";
            break;
        case TomlNode::Type::table:
            text = "{" + std::to_string(node.entries.size()) + " keys}";
            break;
    }
    if (text.size() <= brief_length) return text;
    auto cut = brief_length;  // not in the middle of a UTF-8 sequence
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) --cut;
    return text.substr(0, cut) + "…";
}

SourceText::SourceText(std::string filename, std::string_view text) : file(std::move(filename)) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    while (!text.empty()) {
        const auto end = text.find('\n');
        auto part = text.substr(0, end);
        if (part.ends_with('\r')) part.remove_suffix(1);
        lines.emplace_back(part);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
}

std::string SourceText::line(unsigned number) const {
    return number == 0 || number > lines.size() ? std::string() : lines[number - 1];
}

Diagnostic SourceText::diagnostic(Place place, std::string code, std::string key,
                                  std::string message, std::string hint) const {
    return {file,
            place,
            std::move(code),
            std::move(key),
            std::move(message),
            std::move(hint),
            line(place.line)};
}

TomlDocument parse_toml(const SourceText& source) {
    TomlDocument document;
    auto lines = source.lines;
    while (true) {
        try {
            const auto table = toml::parse(std::string_view(joined(lines)));
            convert_table(table, document.root);
            return document;
        } catch (const toml::parse_error& error) {
            document.mistakes.push_back(mistake(source, error));
            const auto [first, last] = lines_to_skip(lines, error.source().begin.line);
            // Every round removes text, so this ends; the limit is for files that are not TOML at
            // all.
            bool removed = false;
            for (auto number = first; number <= last && number <= lines.size(); ++number) {
                removed = removed || !lines[number - 1].empty();
                lines[number - 1].clear();
            }
            if (!removed || document.mistakes.size() >= most_syntax_errors) return document;
        }
    }
}

}  // namespace greensup
