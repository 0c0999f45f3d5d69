// How values of each type are read from TOML, checked, and shown again.
//
// A codec has `type` (what people call it), `read` (the value, or nothing after having reported
// why not) and `show` (text that is equal exactly when the values are).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config.hpp"
#include "config_reader.hpp"

namespace greensup {

struct DurationCodec {
    Duration least;
    Duration most;
    bool may_be_off = false;
    std::string type = "duration";
    [[nodiscard]] std::optional<Duration> read(const Field& field) const;
    [[nodiscard]] std::string show(Duration value) const;
};

struct IntegerCodec {
    std::int64_t least;
    std::int64_t most;
    std::string word;  // a word that stands for zero: "off", "auto"; empty if there is none
    std::string type = "integer";
    [[nodiscard]] std::optional<int> read(const Field& field) const;
    [[nodiscard]] std::string show(int value) const;
};

struct AmountOfMessagesCodec {
    std::uint64_t least;
    std::uint64_t most;
    std::string type = "integer";
    [[nodiscard]] std::optional<std::uint64_t> read(const Field& field) const;
    [[nodiscard]] std::string show(std::uint64_t value) const { return std::to_string(value); }
};

struct SizeCodec {
    std::uint64_t least;
    std::uint64_t most;
    std::string type = "size";
    [[nodiscard]] std::optional<std::uint64_t> read(const Field& field) const;
    [[nodiscard]] std::string show(std::uint64_t value) const;
};

struct NumberCodec {
    double least;
    double most;
    std::string type = "number";
    [[nodiscard]] std::optional<double> read(const Field& field) const;
    [[nodiscard]] std::string show(double value) const;
};

struct PercentCodec {
    double most;
    std::string type = "percent";
    [[nodiscard]] std::optional<double> read(const Field& field) const;
    [[nodiscard]] std::string show(double value) const;
};

struct AmountCodec {
    int most;
    std::string type = "integer or percent";
    [[nodiscard]] std::optional<Amount> read(const Field& field) const;
    [[nodiscard]] std::string show(const Amount& value) const;
};

/// Reads a word of a fixed list; `later` are words that the design knows and we do not yet.
std::optional<std::size_t> read_choice(const Field& field, const std::vector<std::string>& words,
                                       const std::vector<std::string>& later);

template <class Enum>
struct ChoiceCodec {
    std::vector<std::pair<std::string, Enum>> words;
    std::vector<std::string> later;
    std::string type = "string";
    [[nodiscard]] std::optional<Enum> read(const Field& field) const {
        std::vector<std::string> names;
        for (const auto& [name, value] : words) names.push_back(name);
        const auto index = read_choice(field, names, later);
        if (!index) return std::nullopt;
        return words[*index].second;
    }
    [[nodiscard]] std::string show(Enum value) const {
        for (const auto& [name, candidate] : words)
            if (candidate == value) return name;
        return "?";
    }
};

struct TextCodec {
    std::string type = "string";
    [[nodiscard]] std::optional<std::string> read(const Field& field) const;
    [[nodiscard]] std::string show(const std::string& value) const { return value; }
};

struct NameCodec {
    std::string type = "string";
    [[nodiscard]] std::optional<std::string> read(const Field& field) const;
    [[nodiscard]] std::string show(const std::string& value) const { return value; }
};

struct PathCodec {
    bool keep_instance = false;
    std::size_t longest = 4095;
    std::string type = "path";
    [[nodiscard]] std::optional<std::string> read(const Field& field) const;
    [[nodiscard]] std::string show(const std::string& value) const { return value; }
};

struct TextsCodec {
    std::string type = "array of strings";
    [[nodiscard]] std::optional<std::vector<std::string>> read(const Field& field) const;
    [[nodiscard]] std::string show(const std::vector<std::string>& value) const;
};

struct CommandCodec {
    std::string type = "array of strings, or string";
    [[nodiscard]] std::optional<std::vector<std::string>> read(const Field& field) const;
    [[nodiscard]] std::string show(const std::vector<std::string>& value) const;
};

struct VariablesCodec {
    std::string type = "table of strings";
    [[nodiscard]] std::optional<std::map<std::string, std::string>> read(const Field& field) const;
    [[nodiscard]] std::string show(const std::map<std::string, std::string>& value) const;
};

/// An integer, "auto", "auto/N" or "auto*N".
struct CountCodec {
    int most;
    std::string type = "integer or \"auto\"";
    [[nodiscard]] std::optional<int> read(const Field& field) const;
    [[nodiscard]] std::string show(int value) const { return std::to_string(value); }
};

struct SignalCodec {
    std::string type = "string";
    [[nodiscard]] std::optional<int> read(const Field& field) const;
    [[nodiscard]] std::string show(int value) const;
};

/// Exit codes and signal names.
struct CodesCodec {
    std::string type = "array of integers and signal names";
    [[nodiscard]] std::optional<std::vector<std::string>> read(const Field& field) const;
    [[nodiscard]] std::string show(const std::vector<std::string>& value) const;
};

struct ModeCodec {
    std::string type = "string";
    [[nodiscard]] std::optional<int> read(const Field& field) const;
    [[nodiscard]] std::string show(int value) const;
};

struct EndpointCodec {
    std::string type = "string";
    [[nodiscard]] std::optional<Endpoint> read(const Field& field) const;
    [[nodiscard]] std::string show(const Endpoint& value) const { return to_text(value); }
};

}  // namespace greensup
