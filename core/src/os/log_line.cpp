#include "os/log_line.hpp"

#include <cmath>
#include <ctime>
#include <iterator>
#include <type_traits>

#include <fmt/format.h>

namespace green::log::detail {
namespace {

constexpr std::size_t longest_value = 8192;
constexpr char32_t invalid = 0xFFFFFFFF;

const char* name(Level level) noexcept {
    switch (level) {
        case Level::debug:
            return "debug";
        case Level::info:
            return "info";
        case Level::warning:
            return "warning";
        case Level::error:
            return "error";
        case Level::off:
            break;
    }
    return "off";
}

bool continues(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Takes the next character off the text; an invalid byte is taken alone.
char32_t next_character(std::string_view& text) noexcept {
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t size = first < 0x80   ? 1
                             : first < 0xC2 ? 0
                             : first < 0xE0 ? 2
                             : first < 0xF0 ? 3
                             : first < 0xF5 ? 4
                                            : 0;
    char32_t character = size <= 1 ? first : first & (0xFFU >> (size + 1));
    bool valid = size > 0 && size <= text.size();
    for (std::size_t i = 1; valid && i < size; ++i) {
        valid = continues(text[i]);
        character = character << 6 | (static_cast<unsigned char>(text[i]) & 0x3FU);
    }
    const bool overlong = (size == 3 && character < 0x800) || (size == 4 && character < 0x10000);
    const bool surrogate = character >= 0xD800 && character < 0xE000;
    if (!valid || overlong || surrogate || character > 0x10FFFF) {
        text.remove_prefix(1);
        return invalid;
    }
    text.remove_prefix(size);
    return character;
}

// Controls of both sets, line separators, and what turns the direction of the text around it.
bool harmful(char32_t it) noexcept {
    return it < 0x20 || (it >= 0x7F && it < 0xA0) || (it >= 0x200B && it <= 0x200F) ||
           (it >= 0x2028 && it <= 0x202E) || (it >= 0x2060 && it <= 0x206F) || it == 0xFEFF;
}

void append_harmful(std::string& into, char32_t it, Format format) {
    const auto code = static_cast<unsigned int>(it);
    switch (it) {
        case U'\n':
            into += "\\n";
            return;
        case U'\r':
            into += "\\r";
            return;
        case U'\t':
            into += "\\t";
            return;
        default:
            break;
    }
    if (format == Format::logfmt && code < 0x80) {
        fmt::format_to(std::back_inserter(into), "\\x{:02x}", code);
    } else {
        fmt::format_to(std::back_inserter(into), "\\u{:04x}", code);
    }
}

void append_escaped(std::string& into, std::string_view text, Format format) {
    while (!text.empty()) {
        const std::string_view before = text;
        const char32_t it = next_character(text);
        const std::string_view bytes = before.substr(0, before.size() - text.size());
        if (it == invalid) {
            if (format == Format::json) {
                into += "\\ufffd";
            } else {
                fmt::format_to(std::back_inserter(into), "\\x{:02x}",
                               static_cast<unsigned char>(bytes.front()));
            }
        } else if (harmful(it)) {
            append_harmful(into, it, format);
        } else {
            if (it == U'"' || it == U'\\') into += '\\';
            into += bytes;
        }
    }
}

bool plain(std::string_view text) noexcept {
    if (text.empty()) return false;
    while (!text.empty()) {
        const char32_t it = next_character(text);
        if (it == invalid || harmful(it) || it == U' ' || it == U'"' || it == U'=' || it == U'\\')
            return false;
    }
    return true;
}

void append_text(std::string& into, std::string_view text, Format format) {
    if (format == Format::logfmt && text.size() <= longest_value && plain(text)) {
        into += text;
        return;
    }
    std::size_t shown = text.size();
    if (shown > longest_value) {
        shown = longest_value;
        while (shown > 0 && continues(text[shown])) --shown;
    }
    into += '"';
    append_escaped(into, text.substr(0, shown), format);
    if (shown < text.size()) {
        fmt::format_to(std::back_inserter(into), "...+{} bytes", text.size() - shown);
    }
    into += '"';
}

void append_value(std::string& into, const Value& value, Format format) {
    const auto append = [&](const auto& it) {
        using T = std::decay_t<decltype(it)>;
        if constexpr (std::is_same_v<T, std::string_view>) {
            append_text(into, it, format);
        } else if constexpr (std::is_same_v<T, double>) {
            // JSON has no word for what is not a number.
            const bool quoted = format == Format::json && !std::isfinite(it);
            if (quoted) into += '"';
            fmt::format_to(std::back_inserter(into), "{}", it);
            if (quoted) into += '"';
        } else {
            fmt::format_to(std::back_inserter(into), "{}", it);
        }
    };
    std::visit(append, value.kinds());
}

void append_key(std::string& into, std::string_view key) {
    for (const char it : key) {
        const bool fine = (it >= 'a' && it <= 'z') || (it >= 'A' && it <= 'Z') ||
                          (it >= '0' && it <= '9') || it == '_' || it == '.' || it == '-' ||
                          it == '/';
        into += fine ? it : '_';
    }
}

void append_time(std::string& into, std::chrono::system_clock::time_point time) {
    const auto since = time.time_since_epoch();
    const auto whole = std::chrono::floor<std::chrono::seconds>(since);
    const auto part = std::chrono::floor<std::chrono::milliseconds>(since - whole);
    const std::time_t seconds = whole.count();
    std::tm date{};
    gmtime_r(&seconds, &date);
    fmt::format_to(std::back_inserter(into), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                   date.tm_year + 1900, date.tm_mon + 1, date.tm_mday, date.tm_hour, date.tm_min,
                   date.tm_sec, part.count());
}

}  // namespace

void append_fields(std::string& into, Format format, Fields fields) {
    for (const Field& field : fields) {
        into += format == Format::json ? ",\"" : " ";
        append_key(into, field.key);
        into += format == Format::json ? "\":" : "=";
        append_value(into, field.value, format);
    }
}

void append_line(std::string& into, const Head& head, const OwnFields& own, Fields fields) {
    const bool json = head.format == Format::json;
    if (json) into += "{\"time\":\"";
    append_time(into, head.time);
    into += json ? "\",\"level\":\"" : " ";
    into += name(head.level);
    into += json ? "\",\"event\":" : " ";
    append_text(into, head.event, head.format);
    into += json ? own.json : own.logfmt;
    append_fields(into, head.format, fields);
    into += json ? "}\n" : "\n";
}

}  // namespace green::log::detail
