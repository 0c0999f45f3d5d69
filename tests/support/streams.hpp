#pragma once
// What tests of streams need again and again.

#include <string>
#include <system_error>
#include <utility>

#include <green/socket.hpp>

namespace tests {

/// The errno with which a call fails, 0 if it does not.
int error_of(const auto& call) {
    try {
        call();
    } catch (const std::system_error& error) {
        return error.code().value();
    }
    return 0;
}

/// Everything up to the end.
std::string read_all(green::Stream& stream);
/// So many bytes, or fewer when the end comes before.
std::string read_exactly(green::Stream& stream, std::size_t size);
/// A client and its server.
std::pair<green::Stream, green::Stream> tcp_pair(const char* at = "127.0.0.1:0");

}  // namespace tests
