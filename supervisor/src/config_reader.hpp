// Walks a TOML tree along a schema and collects every mistake on the way.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config.hpp"
#include "config_schema.hpp"
#include "toml_tree.hpp"

namespace greensup {

/// The state of reading one file: its text, what ${…} stands for, the mistakes so far.
class Reader {
 public:
    Reader(const SourceText& source, const Environment& environment, std::string directory)
        : source_(source), environment_(environment), directory_(std::move(directory)) {}

    void report(Place place, std::string code, std::string key, std::string message,
                std::string hint = {});

    /// Expands variables in a string value; nothing after having reported mistakes.
    std::optional<std::string> expanded(const TomlNode& node, const std::string& key,
                                        bool keep_instance);

    /// Makes a path absolute and tidy; relative ones start at the file's directory.
    [[nodiscard]] std::string absolute(const std::string& path) const;

    void set_built_in(const std::string& name, std::string value) {
        built_in_[name] = std::move(value);
    }
    void drop_built_in(const std::string& name) { built_in_.erase(name); }

    /// Where a key was written; nothing if it has its default. For checks across keys.
    [[nodiscard]] std::optional<Place> written(const std::string& key) const;
    /// Something that was written there was reported already: what it has is not what was meant.
    [[nodiscard]] bool is_wrong(const std::string& key) const;
    void note_written(const std::string& key, Place place) { written_[key] = place; }
    /// All of those.
    [[nodiscard]] Places places() const;

    [[nodiscard]] const Environment& environment() const { return environment_; }
    [[nodiscard]] const std::string& directory() const { return directory_; }
    [[nodiscard]] const SourceText& source() const { return source_; }
    [[nodiscard]] Diagnostics& mistakes() { return mistakes_; }

 private:
    const SourceText& source_;
    const Environment& environment_;
    std::string directory_;
    std::map<std::string, std::string> built_in_;
    std::map<std::string, Place> written_;
    Diagnostics mistakes_;
};

/// One value on its way into the configuration.
class Field {
 public:
    Field(Reader& reader, const TomlNode& node, std::string key)
        : reader_(reader), node_(node), key_(std::move(key)) {}

    [[nodiscard]] const TomlNode& node() const { return node_; }
    [[nodiscard]] const std::string& key() const { return key_; }
    [[nodiscard]] Reader& reader() const { return reader_; }
    [[nodiscard]] Field item(const TomlNode& node, const std::string& suffix) const {
        return {reader_, node, key_ + suffix};
    }

    void fail(std::string code, std::string message, std::string hint = {}) const {
        reader_.report(node_.place, std::move(code), key_, std::move(message), std::move(hint));
    }
    /// E003 "expected TYPE, got TYPE (VALUE)"
    void wrong_type(const std::string& expected, std::string hint = {}) const;
    /// E005 "must be one of A, B, C, got "X"; did you mean "A"?"
    void not_one_of(const std::vector<std::string>& known, const std::string& got) const;

    /// The string with its variables expanded; nothing after having said why not.
    [[nodiscard]] std::optional<std::string> text(bool keep_instance = false) const;
    /// The strings of an array of strings.
    [[nodiscard]] std::optional<std::vector<std::string>> texts(bool keep_instance = false) const;

 private:
    Reader& reader_;
    const TomlNode& node_;
    std::string key_;
};

/// The name, if `name` may name a section of its kind; reports E004 otherwise.
bool check_name(Reader& reader, Place place, const std::string& key, const std::string& name);

/// "path.name"
std::string dotted(const std::string& path, const std::string& name);

/// True for "x-…": free for the user, never read.
bool is_private(std::string_view key);

/// Reports a key that no row has: known for later, known elsewhere, or a typing mistake.
void report_unknown(Reader& reader, const TomlEntry& entry, const std::string& path,
                    const std::string& name, const std::vector<std::string>& known,
                    const std::vector<std::string>& later,
                    const std::vector<std::pair<std::string, std::string>>& elsewhere);

/// Reads all entries of `table` into `section`; `path` is the section's name in messages
/// ("workers.web"), `group` the dotted part of the key so far ("" or "backoff.").
template <class Section>
void read_entries(Reader& reader, const Schema<Section>& schema, const TomlNode& table,
                  const std::string& path, const std::string& group, Section& section) {
    std::vector<std::string> known;
    for (const auto& key : schema.keys) known.push_back(key.name);
    for (const auto& entry : table.entries) {
        if (is_private(entry.key)) continue;
        const auto name = group + entry.key;
        const Key<Section>* row = nullptr;
        bool is_group = false;
        for (const auto& key : schema.keys) {
            if (key.name == name) row = &key;
            is_group = is_group || key.name.starts_with(dotted(name, ""));
        }
        const Field field(reader, entry.value, dotted(path, name));
        if (row != nullptr) {
            reader.note_written(field.key(), entry.value.place);
            row->read(field, section);
        } else if (is_group && entry.value.type == TomlNode::Type::table) {
            read_entries(reader, schema, entry.value, path, name + ".", section);
        } else if (is_group) {
            field.wrong_type("table");
        } else {
            report_unknown(reader, entry, path, name, known, schema.later, schema.elsewhere);
        }
    }
}

/// Reads a whole section and reports the required keys that it lacks.
template <class Section>
void read_section(Reader& reader, const Schema<Section>& schema, const TomlEntry& entry,
                  const std::string& path, Section& section) {
    if (entry.value.type != TomlNode::Type::table) {
        Field(reader, entry.value, path).wrong_type("table");
        return;
    }
    reader.note_written(path, entry.place);
    read_entries(reader, schema, entry.value, path, "", section);
    for (const auto& key : schema.keys)
        if (!key.must.empty() && !reader.written(path + "." + key.name))
            reader.report(entry.place, "E010", path + "." + key.name, "required", key.must);
}

}  // namespace greensup
