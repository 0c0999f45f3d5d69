// The log in a forked child.

#include <cstdlib>
#include <optional>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/green.hpp>
#include <green/log.hpp>
#include <green/process.hpp>
#include <green/sys.hpp>

#include "core/log_lines.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::check_complete;
using tests::Ends;
using tests::fill;
using tests::lines_of;
using tests::make_pipe;
using tests::Redirected;
using tests::run_green_for_real;
using tests::take;

TEST_CASE("log: a forked child does not repeat what its parent has yet to write", "[core][os]") {
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    (void)fill();
    CHECK(log::figures().waiting > 0);
    const pid_t child = ::fork();
    if (child == 0) ::_exit(log::figures().waiting == 0 ? 0 : 1);
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(log::figures().waiting > 0);
}

TEST_CASE("log: a forked child that keeps the log's descriptor writes all that it says",
          "[core][os]") {
    const bool exits = GENERATE(false, true);
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    run_green_for_real([&] {
        // More than the pipe holds: what is left when it ends goes then.
        constexpr int lines = 1600;
        Process child = fork_process(
            [exits] {
                for (int i = 0; i < lines; ++i) log::info("filling", {{"number", i}});
                if (exits) std::exit(0);
            },
            {.descriptors = {{pipe.writer.number()}}});
        Fd reader{sys::dup(pipe.reader.number()).as_int()};
        std::string text;
        while (!child.poll()) {
            (void)reader.wait_readable(1ms);
            text += take(reader);
        }
        text += take(reader);
        CHECK(child.poll()->success());
        CHECK(text.size() > 70'000);
        check_complete(lines_of(text), lines);
    });
}

TEST_CASE("log: a forked child that does not keep the log's descriptor writes to standard error",
          "[core][os]") {
    const Ends parents = make_pipe();
    const Ends error = make_pipe();
    const Redirected redirected{parents.writer};
    log::info("parent");
    run_green_for_real([&] {
        const int number = parents.writer.number();
        Process child = fork_process(
            [&] {
                ::dup2(error.writer.number(), STDERR_FILENO);
                const Ends own = make_pipe();
                std::vector<Fd> more;  // one of all these has the number of the parent's pipe
                while (!sys::fcntl(number, F_GETFD).ok())
                    more.emplace_back(sys::dup(own.writer.number()).as_int());
                log::info("child");
                return take(own.reader).empty() ? 0 : 1;
            },
            {.descriptors = {{error.writer.number()}}});
        CHECK(child.join()->success());
    });
    CHECK(take(error.reader).ends_with(" info child\n"));
    CHECK(take(parents.reader).ends_with(" info parent\n"));
}

TEST_CASE("log: a forked child does not write into what has got the number of the log's descriptor",
          "[core][os]") {
    const Ends parents = make_pipe();
    const Ends error = make_pipe();
    const Ends others = make_pipe();
    std::optional<Fd> lent{sys::dup(parents.writer.number()).as_int()};
    const Redirected redirected{*lent};
    const int number = lent->number();
    lent.reset();
    const Fd given{sys::fcntl(others.writer.number(), F_DUPFD_CLOEXEC, number).as_int()};
    REQUIRE(given.number() == number);
    log::info("parent");
    run_green_for_real([&] {
        Process child = fork_process(
            [&] {
                ::dup2(error.writer.number(), STDERR_FILENO);
                log::info("child");
            },
            {.descriptors = {{error.writer.number(), number}}});
        CHECK(child.join()->success());
    });
    CHECK(take(others.reader).empty());
    CHECK(take(error.reader).ends_with(" info child\n"));
    CHECK(take(parents.reader).ends_with(" info parent\n"));
}
