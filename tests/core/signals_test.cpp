#include <cerrno>
#include <csignal>
#include <initializer_list>
#include <memory>
#include <optional>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/select.hpp>
#include <green/signals.hpp>
#include <green/sys.hpp>
#include <green/wait.hpp>

#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("signals: come in order, several of one as one", "[core][signals]") {
    run_green([](tests::VirtualReactor& world) {
        green::SignalSet signals{SIGHUP, SIGTERM};
        CHECK_FALSE(signals.next(10ms).has_value());
        for (const int number : {SIGTERM, SIGHUP, SIGTERM, SIGUSR1}) world.raise(number);
        green::yield();
        settle();
        CHECK(signals.next() == SIGTERM);
        CHECK(signals.next() == SIGHUP);
        CHECK_FALSE(signals.next(10ms).has_value());
    });
}

TEST_CASE("signals: a handler runs in a greenlet of its own each time, until it is gone",
          "[core][signals]") {
    run_green([](tests::VirtualReactor& world) {
        int runs = 0;
        {
            const green::SignalHandler handler{SIGUSR1, [&] {
                                                   green::sleep(1ms);
                                                   ++runs;
                                               }};
            for (int i = 1; i <= 2; ++i) {
                world.raise(SIGUSR1);
                green::sleep(5ms);
                CHECK(runs == i);
            }
            CHECK(world.watched_signals() == 1);
        }
        CHECK(world.watched_signals() == 0);
    });
}

TEST_CASE("signals: a handler keeps the hub alive when it is told to", "[core][signals]") {
    run_green([](tests::VirtualReactor& world) {
        bool ran = false;
        green::SignalHandler handler{SIGUSR1, [&] { ran = true; }};
        CHECK(green::hub_join());
        handler.set_ref(true);
        CHECK_FALSE(green::hub_join(1ms));
        world.raise(SIGUSR1);
        CHECK_FALSE(green::hub_join(1ms));
        CHECK(ran);
    });
}

TEST_CASE("signals: one that cannot be caught is refused", "[core][signals]") {
    run_green([] {
        CHECK_THROWS_AS(green::SignalSet{SIGKILL}, std::system_error);
        CHECK_THROWS_AS((green::SignalHandler{SIGUSR1, {}}), green::UsageError);
    });
}

TEST_CASE("signals: a real one wakes a sleeping hub", "[core][signals]") {
    tests::run_green_for_real([] {
        green::SignalSet signals{SIGUSR1};
        signals.set_ref(true);
        REQUIRE(::raise(SIGUSR1) == 0);
        CHECK(signals.next() == SIGUSR1);
    });
}

TEST_CASE("signals: a hub in which only a signal could happen is deadlocked, unless told otherwise",
          "[core][signals]") {
    run_green([] {
        green::SignalSet signals{SIGUSR1};
        CHECK_THROWS_AS(signals.next(), green::LoopExit);
    });
}

TEST_CASE(
    "signals: a set can be waited for beside other things, by any number, and keeps its signal",
    "[core][signals]") {
    run_green([](tests::VirtualReactor& world) {
        green::SignalSet signals{SIGHUP};
        green::Event stopped;
        CHECK(green::wait({signals}, {.deadline = 10ms}).empty());
        auto looker = green::spawn([&] { return green::select(signals, stopped).index(); });
        auto taker = green::spawn([&] { return signals.next(); });
        auto other = green::spawn([&] { return green::wait({signals, stopped}, {.count = 1}); });
        green::sleep(1ms);
        world.raise(SIGHUP);
        green::sleep(1ms);
        CHECK(looker.get() == 0);
        CHECK(taker.get() == SIGHUP);
        CHECK(other.get() == std::vector<std::size_t>{0});
        stopped.set();
        CHECK(green::select(signals, stopped).index() == 1);  // leaves nothing there
        world.raise(SIGHUP);
        green::sleep(1ms);
        CHECK(green::select(signals, stopped).index() == 0);
        CHECK(signals.next(green::Deadline::passed()) == SIGHUP);
    });
}

TEST_CASE("signals: one that somebody else was quicker to take is waited for again",
          "[core][signals]") {
    run_green([](tests::VirtualReactor& world) {
        green::SignalSet signals{SIGHUP, SIGTERM};
        auto waiter = green::spawn([&] { return signals.next(); });
        green::yield();
        world.raise(SIGHUP);
        // When the hub has looked outside main stands in front of the waiter.
        while (green::wait({signals}, {.deadline = green::Deadline::passed()}).empty())
            green::yield();
        CHECK(signals.next() == SIGHUP);
        green::sleep(1ms);
        CHECK_FALSE(waiter.ready());
        world.raise(SIGTERM);
        green::sleep(1ms);
        CHECK(waiter.get() == SIGTERM);
    });
}

TEST_CASE("signals: who is killed leaves no trace, and who waits when the set goes gets an error",
          "[core][signals]") {
    run_green([](tests::VirtualReactor& world) {
        auto signals = std::make_unique<green::SignalSet>(std::initializer_list<int>{SIGHUP});
        auto taker = green::spawn([&] { (void)signals->next(); });
        auto looker = green::spawn([&] { green::wait({*signals}); });
        green::yield();
        CHECK_THROWS_AS(signals->next(1ms), green::ConcurrentUse);
        CHECK(taker.kill());
        CHECK(looker.kill());
        taker = green::spawn([&] { (void)signals->next(); });
        green::yield();
        world.raise(SIGHUP);
        green::sleep(1ms);
        CHECK(taker.successful());

        const tests::Errors errors;
        taker = green::spawn([&] { (void)signals->next(); });
        looker = green::spawn([&] { green::wait({*signals}); });
        green::yield();
        signals.reset();
        CHECK_THROWS_AS(taker.get(), green::Closed);
        CHECK_THROWS_AS(looker.get(), green::Closed);
    });
}

TEST_CASE("signals: waiting for a set beside others keeps the hub alive when it has ref",
          "[core][signals]") {
    run_green([](tests::VirtualReactor& world) {
        green::SignalSet signals{SIGHUP};
        auto background = green::spawn([&] { green::wait({signals}); });
        green::yield();
        CHECK(green::hub_join());
        background.kill();
        signals.set_ref(true);
        auto waiter = green::spawn([&] { green::wait({signals}); });
        green::yield();
        CHECK_FALSE(green::hub_join(1ms));
        world.raise(SIGHUP);
        CHECK(green::hub_join());
        CHECK(waiter.ready());
    });
}

TEST_CASE("signals: a loop takes one after the other", "[core][signals]") {
    run_green([](tests::VirtualReactor& world) {
        green::SignalSet signals{SIGHUP, SIGTERM};
        std::vector<int> seen;
        auto loop = green::spawn([&] {
            for (const int signal : signals) seen.push_back(signal);
        });
        green::yield();
        for (const int signal : {SIGTERM, SIGHUP}) {
            world.raise(signal);
            green::sleep(1ms);
        }
        loop.kill();
        CHECK(seen == std::vector{SIGTERM, SIGHUP});
    });
}

namespace {

using Handler = void (*)(int);

/// What the process does with the signal now.
Handler disposition(int signal) {
    struct sigaction now {};
    REQUIRE(::sigaction(signal, nullptr, &now) == 0);
    return now.sa_handler;
}

void own_handler(int) {}

}  // namespace

TEST_CASE("signals: one that is watched no more is treated as before", "[core][signals]") {
    const Handler before = GENERATE(as<Handler>{}, SIG_IGN, own_handler, SIG_DFL);
    std::signal(SIGUSR2, before);
    std::optional<green::SignalSet> outlives;
    tests::run_green_for_real([&] {
        {
            green::SignalSet first{SIGUSR2};
            const green::SignalSet second{SIGUSR2};
            REQUIRE(disposition(SIGUSR2) != before);
            REQUIRE(::raise(SIGUSR2) == 0);
            CHECK(first.next(10s) == SIGUSR2);
        }
        CHECK(disposition(SIGUSR2) == before);
        outlives.emplace({SIGUSR2});
        REQUIRE(disposition(SIGUSR2) != before);
    });
    CHECK(disposition(SIGUSR2) == before);
    outlives.reset();
    CHECK(disposition(SIGUSR2) == before);
    std::signal(SIGUSR2, SIG_DFL);
}

TEST_CASE("signals: one that cannot be watched can be later", "[core][signals]") {
    tests::run_green_for_real([] {
        {
            const tests::FailNth failure{0, EINVAL, green::sys::Call::sigaction};
            CHECK_THROWS_AS(green::SignalSet{SIGUSR2}, std::system_error);
            CHECK(failure.fired());
        }
        green::SignalSet signals{SIGUSR2};
        REQUIRE(::raise(SIGUSR2) == 0);
        CHECK(signals.next(10s) == SIGUSR2);
    });
}
