#pragma once
// Where tests of the log have it write to, and what they find there.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/log.hpp>
#include <green/sys.hpp>

#include "os/log_line.hpp"

namespace tests {

struct Ends {
    green::Fd reader;
    green::Fd writer;
};

inline Ends make_pipe(int flags = O_NONBLOCK) {
    int ends[2];
    green::sys::must(green::sys::pipe2(ends, flags), "pipe2");
    return {green::Fd{ends[0]}, green::Fd{ends[1]}};
}

inline Ends make_sockets() {
    int ends[2];
    green::sys::must(green::sys::socketpair(AF_UNIX, SOCK_STREAM, ends), "socketpair");
    // The writer's end is shared with others: it must work without O_NONBLOCK and stay so.
    green::sys::must(green::sys::fcntl(ends[1], F_SETFL, 0), "fcntl");
    return {green::Fd{ends[0]}, green::Fd{ends[1]}};
}

inline Ends make_terminal() {
    green::Fd master{::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK)};
    REQUIRE(master.is_open());
    REQUIRE(::grantpt(master.number()) == 0);
    REQUIRE(::unlockpt(master.number()) == 0);
    green::Fd slave{green::sys::open(::ptsname(master.number()), O_RDWR | O_NOCTTY).as_int()};
    return {std::move(master), std::move(slave)};
}

/// What is there to be read now.
inline std::string take(const green::Fd& from) {
    std::string text;
    char block[4096];
    for (;;) {
        const ssize_t got = ::read(from.number(), block, sizeof(block));  // past the injector
        if (got <= 0) return text;
        text.append(block, static_cast<std::size_t>(got));
    }
}

inline std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = text.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
        lines.push_back(text.substr(begin, end - begin));
    }
    CHECK(begin == text.size());  // no half line
    return lines;
}

/// Logs into `to` while it lives.
class Redirected {
 public:
    explicit Redirected(const green::Fd& to) { green::log::set_descriptor(to.number()); }
    Redirected(const Redirected&) = delete;
    Redirected& operator=(const Redirected&) = delete;
    ~Redirected() {
        const green::Fd nowhere{green::sys::open("/dev/null", O_WRONLY).as_int()};
        green::log::set_descriptor(nowhere.number());  // what waits is of no interest
        green::log::set_descriptor(STDERR_FILENO);
        green::log::set_level(green::log::Level::info);
        green::log::set_format(green::log::Format::logfmt);
        green::log::set_fields({});
        green::log::set_capacity(std::size_t{1024} * 1024);
    }
};

inline std::string line(std::string_view event, std::initializer_list<green::log::Field> fields,
                        green::log::Format format = green::log::Format::logfmt) {
    std::string text;
    const std::chrono::system_clock::time_point time{std::chrono::milliseconds(1'795'166'062'113)};
    green::log::detail::append_line(text, {format, time, green::log::Level::info, event}, {},
                                    {fields.begin(), fields.size()});
    return text;
}

/// Logs numbered lines until one is dropped; returns how many were logged.
inline std::uint64_t fill() {
    const std::uint64_t before = green::log::figures().dropped;
    std::uint64_t count = 0;
    while (green::log::figures().dropped == before)
        green::log::info("filling", {{"number", count++}});
    return count;
}

/// In the pattern '#' stands for a digit.
inline bool matches(std::string_view text, std::string_view pattern) {
    return std::equal(
        text.begin(), text.end(), pattern.begin(), pattern.end(),
        [](char it, char like) { return like == '#' ? it >= '0' && it <= '9' : it == like; });
}

/// The number at the end of a line of which all but the time and the number is known.
inline std::optional<std::uint64_t> number_in(const std::string& line, const std::string& known) {
    constexpr std::size_t time_size = 24;
    if (line.size() <= time_size || line.compare(time_size, known.size(), known) != 0)
        return std::nullopt;
    const std::string number = line.substr(time_size + known.size());
    if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos)
        return std::nullopt;
    return std::stoull(number);
}

/// Checks that the lines 0..count were logged, but for those that a line says are missing.
inline void check_complete(const std::vector<std::string>& lines, std::uint64_t count) {
    std::uint64_t next = 0;
    for (const std::string& it : lines) {
        if (const auto number = number_in(it, " info filling number=")) {
            if (*number != next) FAIL("expected " << next << ", not " << it);
            ++next;
        } else if (const auto dropped = number_in(it, " warning log.dropped lines=")) {
            next += *dropped;
        } else {
            FAIL("a strange line: " << it);
        }
    }
    CHECK(next == count);
}

}  // namespace tests
