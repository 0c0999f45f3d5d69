// The lines of the control socket: docs/reference/control-socket.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "diagnostic.hpp"
#include "refusal.hpp"

namespace greensup {

/// The longest request that is read.
inline constexpr std::size_t longest_request = 1 << 20;

struct Request {
    std::string id;  // as it stood there, in JSON; empty when there was none
    std::string verb;
    bool wait = true;   // reload: answer when it is done
    bool fast = false;  // shutdown
};

/// Reads one line. Nothing if it is no request; then `error` says why.
std::optional<Request> parse_request(std::string_view line, std::string& error);
std::string to_line(const Request& request);

/// An answer, or what is known of it.
struct Answer {
    bool ok = true;
    Code code = Code::ok;
    std::string error;  // its id: "config-invalid"
    std::string message;
    std::string hint;
    std::string plan;
    std::uint64_t generation = 0;
    Diagnostics mistakes;
};
std::string to_line(const Answer& answer, std::string_view id);
/// Puts the id into a document of one line, such as to_json_text(Status) makes.
std::string with_id(std::string document, std::string_view id);
/// Nothing if it is no such document. Of the mistakes it knows all but the source line.
std::optional<Answer> parse_answer(std::string_view line);

/// The id of an error: "config-invalid".
std::string_view error_id(Code code);

}  // namespace greensup
