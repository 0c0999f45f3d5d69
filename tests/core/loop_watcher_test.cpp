// Watchers of the hub's own turns, of other threads and of signals, on the virtual clock.

#include <csignal>
#include <regex>
#include <string>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/wait.hpp>
#include <green/watcher.hpp>

#include "support/run_green.hpp"
#include "support/stopwatch.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;
using tests::Stopwatch;

TEST_CASE("async watcher: several calls come as one", "[core][watcher]") {
    run_green([] {
        int runs = 0;
        AsyncWatcher async;
        async.start([&] { ++runs; });
        for (int i = 0; i < 10; ++i) async.send();
        CHECK(async.pending());
        settle();
        CHECK(runs == 1);
        CHECK_FALSE(async.pending());
        settle();
        CHECK(runs == 1);
        async.send();
        settle();
        CHECK(runs == 2);
    });
}

TEST_CASE("async watcher: what nobody has seen is kept for who listens next", "[core][watcher]") {
    run_green([] {
        AsyncWatcher async;
        async.send();
        CHECK(async.pending());
        CHECK(async.wait());
        CHECK_FALSE(async.pending());
        CHECK_FALSE(async.wait(1ms));

        async.send();
        int runs = 0;
        async.start([&] { ++runs; });
        settle();
        CHECK(runs == 1);
        async.stop();

        // It was told to one who was killed before it could see.
        auto waiter = spawn([&] { async.wait(); });
        settle();
        async.send();
        TimerWatcher soon{0ms};
        soon.set_priority(-1);
        soon.start([&] { waiter.kill_soon(); });
        waiter.join();
        CHECK(async.wait(0ms));
        CHECK_FALSE(async.wait(0ms));
    });
}

TEST_CASE("async watcher: a call during the callback makes it run again", "[core][watcher]") {
    run_green([] {
        int runs = 0;
        AsyncWatcher async;
        async.start([&] {
            if (++runs < 3) async.send();
        });
        async.send();
        while (async.pending()) settle();
        CHECK(runs == 3);
    });
}

// --- the hub's own turns ---

TEST_CASE("prepare and check watchers: run around each look outside", "[core][watcher]") {
    run_green([](tests::VirtualReactor& world) {
        std::string log;
        PrepareWatcher prepare;
        CheckWatcher check;
        SignalWatcher signal{SIGUSR1};
        const Stopwatch elapsed;
        prepare.start([&] { log += "p" + std::to_string(elapsed()); });
        check.start([&] { log += "c" + std::to_string(elapsed()); });
        signal.start([&] { log += "s"; });
        CHECK_FALSE(prepare.ref());
        CHECK_FALSE(check.ref());
        CHECK_FALSE(signal.ref());
        CHECK(world.watched_signals() == 1);
        world.raise(SIGUSR1);
        sleep(7ms);
        INFO(log);
        // How often it looks is its own affair.
        CHECK(std::regex_match(log, std::regex{"p0sc0(p[0-9]c[0-9])*p[0-9]c7"}));
        prepare.stop();
        check.stop();
        const std::string before = log;
        sleep(1ms);
        CHECK(log == before);
    });
}

TEST_CASE("prepare watcher: what it makes ready runs before the hub sleeps", "[core][watcher]") {
    run_green([] {
        const Stopwatch elapsed;
        Event event;
        PrepareWatcher prepare;
        prepare.start([&] {
            prepare.stop();
            event.set();
        });
        CHECK(event.wait(1h));
        CHECK(elapsed() == 0);
    });
}

TEST_CASE("idle watcher: runs while there is nothing else to do", "[core][watcher]") {
    run_green([] {
        std::string log;
        IdleWatcher high;
        IdleWatcher low;
        high.set_priority(1);
        high.start([&] {
            log += 'h';
            if (log.size() > 3) high.stop();
        });
        low.start([&] {
            log += 'l';
            low.stop();
        });
        auto busy = spawn([&] {
            for (int i = 0; i < 300; ++i) yield();  // longer than the hub's patience
            CHECK(log.empty());
        });
        busy.join();
        CHECK(hub_join());
        CHECK(log == "hhhhl");
    });
}

TEST_CASE("idle watcher: gives way to what is pending with its priority", "[core][watcher]") {
    run_green([] {
        std::string log;
        IdleWatcher idle;
        TimerWatcher fed{1h};
        int left = 3;
        fed.start([&] {
            log += 'f';
            if (--left > 0) fed.feed();
        });
        fed.feed();
        idle.start([&] {
            log += 'i';
            idle.stop();
        });
        SECTION("of the same") {
            settle();
            while (idle.active()) settle();
            CHECK(log == "fffi");
        }
        SECTION("but not to one with less") {
            idle.stop();
            idle.set_priority(1);
            idle.start([&] {
                log += 'i';
                idle.stop();
            });
            settle();
            while (left > 0) settle();
            CHECK(log == "ifff");
        }
    });
}

TEST_CASE("idle watcher: without ref it does not keep the hub alive", "[core][watcher]") {
    run_green([] {
        IdleWatcher idle;
        idle.set_ref(false);
        idle.start([] {});
        CHECK(hub_join());
        Event never;
        CHECK_THROWS_AS(never.wait(), LoopExit);
    });
}

// --- signals ---

TEST_CASE("signal watcher: runs for each delivery, several as one", "[core][watcher]") {
    run_green([](tests::VirtualReactor& world) {
        int runs = 0;
        SignalWatcher signal{SIGUSR1};
        CHECK(signal.signal() == SIGUSR1);
        CHECK(world.watched_signals() == 0);
        signal.start([&] { ++runs; });
        world.raise(SIGUSR1);
        world.raise(SIGUSR1);
        world.raise(SIGUSR2);
        settle();
        CHECK(runs == 1);
        signal.stop();
        CHECK(world.watched_signals() == 0);
        CHECK_THROWS_AS(SignalWatcher{0}, std::system_error);
        CHECK_THROWS_AS(SignalWatcher{65}, std::system_error);
        CHECK_THROWS_AS(SignalWatcher{SIGKILL}, std::system_error);
    });
}
