// The codecs of numbers with and without units.
#include "config_codecs.hpp"

#include <algorithm>
#include <cstdio>

#include "units.hpp"

namespace greensup {
namespace {

using Type = TomlNode::Type;

std::string range(const std::string& least, const std::string& most, const std::string& word) {
    return "must be " + least + ".." + most + (word.empty() ? "" : " or \"" + word + "\"");
}

std::string plain(double value) {
    char buffer[32];
    static_cast<void>(std::snprintf(buffer, sizeof buffer, "%.15g", value));
    return buffer;
}

/// "5 sec" -> "5s": what a duration with a blank or a long unit was probably meant to be.
std::string duration_hint(const std::string& text) {
    std::string tight;
    for (const char c : text)
        if (c != ' ') tight += c;
    for (const auto* longer :
         {"seconds", "second", "secs", "sec", "minutes", "minute", "mins", "min", "hours", "hour"})
        if (tight.ends_with(longer))
            tight.resize(tight.size() - std::string_view(longer).size() + 1);
    return parse_duration(tight) ? "write \"" + tight + "\"" : std::string();
}

}  // namespace

std::optional<Duration> DurationCodec::read(const Field& field) const {
    const std::string examples = may_be_off ? R"(write "500ms", "5s", "2m", "1h30m" or "off")"
                                            : R"(write "500ms", "5s", "2m" or "1h30m")";
    const auto& node = field.node();
    if (node.type == Type::integer || node.type == Type::number) {
        field.wrong_type("duration", "write the unit too: \"" + brief(node) + "s\" or \"" +
                                         brief(node) + "ms\"");
        return std::nullopt;
    }
    if (node.type != Type::text) {
        field.wrong_type("duration", examples);
        return std::nullopt;
    }
    const auto text = field.text();
    if (!text) return std::nullopt;
    const auto value = parse_duration(*text);
    if (!value) {
        field.fail("E006", "not a duration: \"" + *text + "\" (" + examples + ")",
                   duration_hint(*text));
        return std::nullopt;
    }
    if (*text == "off" ? may_be_off : (*value >= least && *value <= most)) return value;
    field.fail("E004", range(to_text(least), to_text(most), may_be_off ? "off" : "") + ", got \"" +
                           *text + "\"");
    return std::nullopt;
}

std::string DurationCodec::show(Duration value) const {
    return value == Duration::zero() && may_be_off ? "off" : to_text(value);
}

std::optional<int> IntegerCodec::read(const Field& field) const {
    const auto& node = field.node();
    if (node.type == Type::text && !word.empty()) {
        const auto text = field.text();
        if (text && *text != word) field.not_one_of({word}, *text);
        return text && *text == word ? std::optional(0) : std::nullopt;
    }
    if (node.type != Type::integer) {
        field.wrong_type(type + (word.empty() ? "" : " or \"" + word + "\""));
        return std::nullopt;
    }
    if (node.integer >= least && node.integer <= most) return static_cast<int>(node.integer);
    field.fail("E004",
               range(std::to_string(least), std::to_string(most), word) + ", got " + brief(node));
    return std::nullopt;
}

std::string IntegerCodec::show(int value) const {
    return value == 0 && !word.empty() ? word : std::to_string(value);
}

std::optional<std::uint64_t> AmountOfMessagesCodec::read(const Field& field) const {
    const auto& node = field.node();
    if (node.type != Type::integer) {
        field.wrong_type(type);
        return std::nullopt;
    }
    const auto value = static_cast<std::uint64_t>(node.integer);
    if (node.integer >= 0 && value >= least && value <= most) return value;
    field.fail("E004",
               range(std::to_string(least), std::to_string(most), "") + ", got " + brief(node));
    return std::nullopt;
}

std::optional<std::uint64_t> SizeCodec::read(const Field& field) const {
    const auto& node = field.node();
    if (node.type != Type::text) {
        field.wrong_type("size", "write \"64KiB\", \"10MB\" or \"1GiB\"");
        return std::nullopt;
    }
    const auto text = field.text();
    if (!text) return std::nullopt;
    const auto value = parse_size(*text);
    if (!value) {
        field.fail("E006", "not a size: \"" + *text + "\" (write \"64KiB\", \"10MB\" or \"1GiB\")");
        return std::nullopt;
    }
    if (*value >= least && *value <= most) return value;
    field.fail("E004", range(size_text(least), size_text(most), "") + ", got \"" + *text + "\"");
    return std::nullopt;
}

std::string SizeCodec::show(std::uint64_t value) const { return size_text(value); }

std::optional<double> NumberCodec::read(const Field& field) const {
    const auto& node = field.node();
    if (node.type != Type::number && node.type != Type::integer) {
        field.wrong_type(type);
        return std::nullopt;
    }
    const auto value = node.type == Type::number ? node.number : static_cast<double>(node.integer);
    if (value >= least && value <= most) return value;  // false for nan
    field.fail("E004", range(plain(least), plain(most), "") + ", got " + brief(node));
    return std::nullopt;
}

std::string NumberCodec::show(double value) const { return plain(value); }

std::optional<double> PercentCodec::read(const Field& field) const {
    const auto& node = field.node();
    if (node.type != Type::text) {
        field.wrong_type("percent", "write \"20%\"");
        return std::nullopt;
    }
    const auto text = field.text();
    if (!text) return std::nullopt;
    const auto value = parse_percent(*text);
    if (!value) {
        field.fail("E006", "not a percentage: \"" + *text + "\" (write \"20%\")");
        return std::nullopt;
    }
    if (*value <= most) return value;
    field.fail("E004", range("0%", percent_text(most), "") + ", got \"" + *text + "\"");
    return std::nullopt;
}

std::string PercentCodec::show(double value) const { return percent_text(value); }

std::optional<Amount> AmountCodec::read(const Field& field) const {
    const auto& node = field.node();
    if (node.type == Type::text) {
        const auto value = PercentCodec{100, "percent"}.read(field);
        if (!value) return std::nullopt;
        if (*value > 0) return Amount{*value, true};
    } else if (node.type != Type::integer) {
        field.wrong_type(type);
        return std::nullopt;
    } else if (node.integer >= 1 && node.integer <= most) {
        return Amount{static_cast<double>(node.integer), false};
    }
    field.fail("E004",
               range("1", std::to_string(most), "") + " or more than 0%, got " + brief(node));
    return std::nullopt;
}

std::string AmountCodec::show(const Amount& value) const {
    return value.percent ? percent_text(value.value) : plain(value.value);
}

namespace {

/// "auto", "auto/2", "auto*2" on a machine with `cpus`; never below one.
std::optional<std::int64_t> automatic(std::string_view text, std::int64_t cpus, std::int64_t most) {
    if (text == "auto") return cpus;
    const bool divides = text.starts_with("auto/");
    if (!divides && !text.starts_with("auto*")) return std::nullopt;
    const auto factor = parse_integer(text.substr(5)).value_or(0);
    if (factor < 1 || factor > most) return std::nullopt;
    return divides ? std::max<std::int64_t>(1, cpus / factor) : cpus * factor;
}

}  // namespace

std::optional<int> CountCodec::read(const Field& field) const {
    const auto& node = field.node();
    const auto limits = range("0", std::to_string(most), "auto");
    std::optional<std::int64_t> count;
    if (node.type == Type::integer) {
        count = node.integer;
    } else if (node.type == Type::text) {
        const auto text = field.text();
        if (!text) return std::nullopt;
        count = automatic(*text, std::max(field.reader().environment().cpus, 1), most);
        const bool had_variable = *text != node.text;  // count = "${WEB_WORKERS:-2}"
        if (!count && had_variable) count = parse_integer(*text);
        if (!count) {
            field.fail("E004", limits + ", got \"" + *text + "\"",
                       "write a number, \"auto\", \"auto/2\" or \"auto*2\"");
            return std::nullopt;
        }
    } else if (node.type != Type::number) {
        field.wrong_type(type);
        return std::nullopt;
    }
    if (count && *count >= 0 && *count <= most) return static_cast<int>(*count);
    field.fail("E004", limits + ", got " + (count ? std::to_string(*count) : brief(node)));
    return std::nullopt;
}

}  // namespace greensup
