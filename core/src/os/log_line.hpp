#pragma once
// An event as a line of text. Pure: no clock, no descriptor.

#include <chrono>
#include <string>

#include <green/log.hpp>

namespace green::log::detail {

/// Fields that stand in every line, made once for each format.
struct OwnFields {
    std::string logfmt;
    std::string json;
};

struct Head {
    Format format;
    std::chrono::system_clock::time_point time;
    Level level;
    std::string_view event;
};

/// Appends the line, with its newline. Nothing in it can move a terminal's cursor, end the line or
/// turn its direction: such characters are escaped, in logfmt as \n, \x1b or \u202e.
void append_line(std::string& into, const Head& head, const OwnFields& own, Fields fields);
/// Appends the fields alone, each with the separator before it.
void append_fields(std::string& into, Format format, Fields fields);

}  // namespace green::log::detail
