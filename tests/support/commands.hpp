#pragma once
// Child processes of tests.

#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/process.hpp>
#include <green/sys.hpp>

#include "support/faults.hpp"
#include "support/pipe.hpp"
#include "support/run_green.hpp"

namespace tests {

/// All that comes out of it until every writer is gone.
inline std::string read_all(green::Fd& from) {
    std::string text;
    char block[4096];
    for (;;) {
        from.wait_readable();
        const green::sys::Outcome got = green::sys::read(from.number(), block, sizeof(block));
        if (got.would_block()) continue;
        green::sys::must(got, "read");
        if (got.value == 0) return text;
        text.append(block, got.as_size());
    }
}

inline green::Command shell(const std::string& script) {
    return {.argv = {"/bin/sh", "-c", script}};
}

/// Starts a cat from one pipe into another, and leaves us the other ends.
inline green::Process start_cat(Pipe& in, Pipe& out) {
    green::Process cat =
        green::Process::start({.argv = {"/bin/cat"},
                               .descriptors = {{in.reader.number(), STDIN_FILENO},
                                               {out.writer.number(), STDOUT_FILENO}}});
    in.reader.close();
    out.writer.close();
    return cat;
}

/// Starts it with a pipe as its standard output and reads that to the end.
inline std::string output_of(green::Command command) {
    Pipe out;
    command.descriptors.push_back({out.writer.number(), STDOUT_FILENO});
    green::Process process = green::Process::start(command);
    out.writer.close();
    std::string text = read_all(out.reader);
    CHECK(process.join()->text() == "exited with 0");
    return text;
}

/// The failure of a start that must fail.
inline green::SpawnError failure_of(const green::Command& command) {
    try {
        (void)green::Process::start(command);
    } catch (const green::SpawnError& error) {
        return error;
    }
    FAIL("it started");
    throw std::logic_error("not reached");
}

inline bool no_children() {
    siginfo_t info{};
    return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 && errno == ECHILD;
}

/// Lets the reapers work until they are done.
inline void until_reaped() {
    while (green::hub_figures().greenlets > 0) green::yield();
}

/// In the real world, and afterwards no child, greenlet or descriptor may be left.
inline void run_and_reap(const std::function<void()>& body) {
    run_green_for_real([&] {
        green::Process first = green::Process::start({.argv = {"/bin/sleep", "1000"}});
        // What is made once is made now.
        (void)green::wait({first}, {.deadline = std::chrono::milliseconds(1)});
        (void)first.signal(SIGKILL);
        (void)first.join();
        const std::size_t descriptors = open_descriptors();
        body();
        until_reaped();
        CHECK(no_children());
        CHECK(open_descriptors() == descriptors);
    });
}

}  // namespace tests
