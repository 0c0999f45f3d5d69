// What becomes of lines for which there is no room just now.

#include <algorithm>
#include <csignal>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/green.hpp>
#include <green/log.hpp>
#include <green/simulation.hpp>
#include <green/sys.hpp>

#include "core/log_lines.hpp"
#include "loop/ev_reactor.hpp"
#include "sched/hub.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::check_complete;
using tests::Ends;
using tests::fill;
using tests::lines_of;
using tests::make_pipe;
using tests::make_sockets;
using tests::make_terminal;
using tests::matches;
using tests::Redirected;
using tests::run_green_for_real;
using tests::take;

TEST_CASE("log: what nobody reads fills the memory it may have, then is counted", "[core][os]") {
    const auto make = GENERATE(
        as<Ends (*)()>{}, [] { return make_pipe(0); }, [] { return make_pipe(); }, &make_sockets,
        &make_terminal);
    const auto capacity = GENERATE(as<std::size_t>{}, 1024 * 1024, 4096);
    Ends ends = make();
    sys::must(sys::fcntl(ends.reader.number(), F_SETFL, O_NONBLOCK), "fcntl");
    const auto flags = sys::fcntl(ends.writer.number(), F_GETFL).value;
    const Redirected redirected{ends.writer};
    log::set_capacity(capacity);

    std::uint64_t count = fill();  // returns, so nothing blocked
    // A terminal may have taken some more a little later.
    while (log::figures().waiting + 100 <= capacity) log::info("filling", {{"number", count++}});
    CHECK(log::figures().waiting <= capacity);
    CHECK(log::figures().waiting + 100 > capacity);
    log::info("filling", {{"number", count}});
    CHECK_FALSE(log::flush(Deadline::passed()));
    CHECK(sys::fcntl(ends.writer.number(), F_GETFL).value == flags);

    std::string text = take(ends.reader);
    while (!log::flush(Deadline::passed())) text += take(ends.reader);
    log::info("filling", {{"number", count + 1}});
    text += take(ends.reader);
    text.erase(std::remove(text.begin(), text.end(), '\r'), text.end());  // the terminal's
    CHECK(log::figures().waiting == 0);
    check_complete(lines_of(text), count + 2);
}

TEST_CASE("log: one that cannot be opened again is asked first", "[core][os]") {
    const Ends pipe = make_pipe(0);
    sys::must(sys::fcntl(pipe.reader.number(), F_SETFL, O_NONBLOCK), "fcntl");
    std::optional<tests::FailNth> refused{std::in_place, 0U, EACCES, sys::Call::open};
    const Redirected redirected{pipe.writer};
    CHECK(refused->fired());
    refused.reset();
    const std::uint64_t count = fill();
    std::string text = take(pipe.reader);
    while (!log::flush(Deadline::passed())) text += take(pipe.reader);
    text += take(pipe.reader);
    check_complete(lines_of(text), count);
}

TEST_CASE("log: the hub writes the rest as soon as there is room", "[core][os]") {
    const Ends ends = GENERATE(0, 1) == 0 ? make_pipe() : make_sockets();
    run_green_for_real([&] {
        const Redirected redirected{ends.writer};
        const std::uint64_t count = fill();
        CHECK(log::figures().waiting > 0);
        CHECK(hub_figures().greenlets == 1);
        CHECK(hub_figures().outside == 0);  // nothing worth staying alive for
        Fd reader{sys::dup(ends.reader.number()).as_int()};
        std::string text;
        while (log::figures().waiting > 0) {
            reader.wait_readable();
            text += take(reader);
            yield();
        }
        text += take(reader);
        check_complete(lines_of(text), count);
        while (hub_figures().greenlets > 0) yield();
    });
}

TEST_CASE("log: a deadline of who logged does not stop the hub's writing", "[core][os]") {
    const Ends pipe = make_pipe();
    run_green_for_real([&] {
        const tests::Errors errors;
        const Redirected redirected{pipe.writer};
        {
            const DeadlineScope limit{1ms};
            (void)fill();
        }
        sleep(5ms);
        CHECK(hub_figures().greenlets == 1);
        Fd reader{sys::dup(pipe.reader.number()).as_int()};
        {
            const TimeoutScope hang{10s};
            while (log::figures().waiting > 0) {
                reader.wait_readable();
                (void)take(reader);
                yield();
            }
        }
        while (hub_figures().greenlets > 0) yield();
        CHECK(errors.all.empty());
    });
}

TEST_CASE("log: lines that wait neither keep a hub alive nor outlast it", "[core][os]") {
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    const std::size_t descriptors = tests::open_descriptors();
    {
        detail::Hub hub{detail::make_ev_reactor()};
        (void)fill();
        Event never;
        CHECK_THROWS_AS(never.wait(), LoopExit);
    }
    CHECK(tests::open_descriptors() == descriptors);
    detail::Hub hub{detail::make_ev_reactor()};  // the next one's greenlet takes the seat
    log::info("next");
    Fd reader{sys::dup(pipe.reader.number()).as_int()};
    while (log::figures().waiting > 0) {
        reader.wait_readable();
        (void)take(reader);
    }
}

TEST_CASE("log: a real reader that is late changes nothing in a simulation", "[core][os]") {
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    const auto run = [] {
        Simulation world{7};
        std::size_t errors = 0;
        std::uint64_t id = 0;
        world.run([&] {
            set_error_handler([&](const ErrorReport&) {
                if (++errors < 100) log::error("greenlet.failed");
            });
            log::info("hello");
            yield();
            auto next = spawn([] {});
            id = next.id();
            next.join();
            sleep(1s);
        });
        CHECK(errors == 0);
        return std::pair{id, world.fingerprint()};
    };
    const auto with_room = run();
    (void)fill();
    CHECK(run() == with_room);
    CHECK(log::figures().waiting > 0);
    (void)take(pipe.reader);
    log::info("room");
    while (log::figures().waiting > 0) {
        (void)take(pipe.reader);
        (void)log::flush(Deadline::passed());
    }
}

TEST_CASE("log: a hub that cannot wait for room leaves it to the next line", "[core][os]") {
    struct Full final : detail::VirtualReactor {
        int watch(int, std::uint32_t) noexcept override { return ENOSPC; }
    };
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    detail::Hub hub{std::make_unique<Full>()};
    const tests::Errors errors;
    (void)fill();
    while (hub_figures().greenlets > 0) yield();
    CHECK(errors.all.empty());
    const std::size_t waiting = log::figures().waiting;
    CHECK(waiting > 0);
    (void)take(pipe.reader);
    log::info("room");
    CHECK(log::figures().waiting < waiting);
    while (hub_figures().greenlets > 0) yield();
}

TEST_CASE("log: a file takes everything, and another sink what waits", "[core][os]") {
    const tests::TempDir directory;
    const Ends pipe = make_pipe();
    const Redirected redirected{pipe.writer};
    const std::uint64_t count = fill();
    const std::string begin = take(pipe.reader);
    const Fd file{sys::open((directory / "log").c_str(), O_RDWR | O_CREAT, 0600).as_int()};
    log::set_descriptor(file.number());
    CHECK(log::figures().waiting == 0);
    sys::must(::lseek(file.number(), 0, SEEK_SET) == 0 ? sys::Outcome{} : sys::Outcome{-1, errno},
              "lseek");
    check_complete(lines_of(begin + take(file)), count);
}

TEST_CASE("log: a sink that nobody will ever read neither ends the process nor holds memory",
          "[core][os]") {
    Ends ends = GENERATE(0, 1) == 0 ? make_pipe() : make_sockets();
    const Redirected redirected{ends.writer};
    log::info("read");
    ends.reader.close();
    const std::uint64_t dropped = log::figures().dropped;
    log::info("lost");  // no SIGPIPE
    log::info("lost");
    CHECK(log::figures().waiting == 0);
    CHECK(log::figures().dropped >= dropped + 2);
    sigset_t pending{};
    ::sigpending(&pending);
    CHECK(sigismember(&pending, SIGPIPE) == 0);

    const Ends next = make_pipe();
    log::set_descriptor(next.writer.number());
    log::info("heard");
    const auto lines = lines_of(take(next.reader));
    REQUIRE_FALSE(lines.empty());
    CHECK(lines.front().find("warning log.dropped lines=") != std::string::npos);
    CHECK(lines.back().ends_with("info heard"));

    log::set_descriptor(987);  // not open at all
    log::info("lost");
    CHECK(log::figures().waiting == 0);
}

TEST_CASE("log: lines of several threads are whole", "[core][os]") {
    const tests::TempDir directory;
    const Fd file{sys::open((directory / "log").c_str(), O_RDWR | O_CREAT, 0600).as_int()};
    const Redirected redirected{file};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([t] {
            for (int i = 100; i < 600; ++i) log::info("said", {{"thread", t}, {"number", i}});
        });
    }
    for (auto& thread : threads) thread.join();
    REQUIRE(::lseek(file.number(), 0, SEEK_SET) == 0);
    const auto lines = lines_of(take(file));
    CHECK(lines.size() == 2000);
    CHECK(std::all_of(lines.begin(), lines.end(), [](const auto& it) {
        return matches(it, "####-##-##T##:##:##.###Z info said thread=# number=###");
    }));
}
