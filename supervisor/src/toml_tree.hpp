// A TOML document as plain values that know their places: toml++ stays inside toml_tree.cpp, which
// keeps the other files quick to compile and lets the reader of keys not care where text came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "diagnostic.hpp"

namespace greensup {

struct TomlEntry;

struct TomlNode {
    enum class Type { text, integer, number, boolean, date, array, table };
    Type type = Type::table;
    Place place;
    std::string text;
    std::int64_t integer = 0;
    double number = 0;
    bool boolean = false;
    std::vector<TomlNode> items;     // of an array
    std::vector<TomlEntry> entries;  // of a table, in the order of the file

    [[nodiscard]] const TomlEntry* find(std::string_view key) const;
};

struct TomlEntry {
    std::string key;
    Place place;
    TomlNode value;
};

/// "integer", "table", …; as the error messages say it.
std::string type_name(TomlNode::Type type);

/// The value as the user wrote it, roughly and cut short: for "got integer (3)".
std::string brief(const TomlNode& node);

/// The text of a file and what a Diagnostic takes from it.
struct SourceText {
    std::string file;
    std::vector<std::string> lines;

    SourceText(std::string filename, std::string_view text);
    [[nodiscard]] std::string line(unsigned number) const;  // from 1; empty beyond the end
    [[nodiscard]] Diagnostic diagnostic(Place place, std::string code, std::string key,
                                        std::string message, std::string hint) const;
};

struct TomlDocument {
    TomlNode root;
    Diagnostics mistakes;  // E001 and E013

    /// Lines were skipped to get past a syntax error: what seems to be missing may have stood
    /// there.
    [[nodiscard]] bool damaged() const { return !mistakes.empty(); }
};

/// Parses `source`. A syntax error does not end the reading: the statement it stands in is left
/// out (if that is a table's header, the table with it) and the rest is read, so that all
/// mistakes of a file can be reported at once.
TomlDocument parse_toml(const SourceText& source);

}  // namespace greensup
