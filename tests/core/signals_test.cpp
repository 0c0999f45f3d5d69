#include <csignal>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/signals.hpp>

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
        handler.keep_alive();
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
        signals.keep_alive();
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
