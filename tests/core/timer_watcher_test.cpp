// Timer watchers, on the virtual clock.

#include <vector>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/watcher.hpp>

#include "support/run_green.hpp"
#include "support/stopwatch.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::run_green;
using tests::Stopwatch;

TEST_CASE("timer watcher: fires once, then is not active any more", "[core][watcher]") {
    run_green([] {
        const Stopwatch elapsed;
        std::vector<int> fired;
        TimerWatcher timer{5ms};
        CHECK_FALSE(timer.active());
        timer.start([&](TimerWatcher& self) {
            CHECK_FALSE(self.active());
            CHECK_FALSE(self.pending());
            fired.push_back(elapsed());
        });
        CHECK(timer.active());
        CHECK(hub_figures().watchers == 1);
        CHECK(hub_join());
        CHECK(fired == std::vector<int>{5});
        timer.start([&] { fired.push_back(elapsed()); });
        CHECK(hub_join());
        CHECK(fired == std::vector<int>{5, 10});
    });
}

TEST_CASE("timer watcher: repeats until it is stopped", "[core][watcher]") {
    run_green([] {
        const Stopwatch elapsed;
        std::vector<int> fired;
        TimerWatcher timer{1ms, 10ms};
        timer.start([&] {
            fired.push_back(elapsed());
            if (fired.size() == 3) timer.stop();
        });
        CHECK(hub_join());
        CHECK(fired == std::vector<int>{1, 11, 21});
    });
}

TEST_CASE("timer watcher: a late hub skips beats, queues none and keeps the beat",
          "[core][watcher]") {
    run_green([](tests::VirtualReactor& world) {
        const Stopwatch elapsed;
        std::vector<int> fired;
        TimerWatcher timer{10ms, 10ms};
        timer.start([&] {
            fired.push_back(elapsed());
            if (fired.size() == 1) world.advance(35ms);  // a slow callback
            if (fired.size() == 4) timer.stop();
        });
        CHECK(hub_join());
        // Due at 20 it fires at 45, once; 30 and 40 are left out.
        CHECK(fired == std::vector<int>{10, 45, 50, 60});
    });
}

TEST_CASE("timer watcher: starts from the time at which it is started", "[core][watcher]") {
    run_green([](tests::VirtualReactor& world) {
        const Stopwatch elapsed;
        int fired = 0;
        TimerWatcher first{1ms};
        TimerWatcher second{10ms};
        first.start([&] {
            world.advance(20ms);  // the turn's own time is stale by now
            second.start([&] { fired = elapsed(); });
        });
        CHECK(hub_join());
        CHECK(fired == 31);
    });
}

TEST_CASE("timer watcher: again() moves the next firing", "[core][watcher]") {
    run_green([] {
        const Stopwatch elapsed;
        std::vector<int> fired;
        TimerWatcher idle{0ms, 10ms};
        CHECK_THROWS_AS(idle.again(), UsageError);
        idle.again([&] { fired.push_back(elapsed()); });
        for (int i = 0; i < 3; ++i) {
            sleep(6ms);
            idle.again();
        }
        CHECK(fired.empty());
        idle.set_repeat(20ms);
        sleep(20ms);  // at 28, and from there every 20
        CHECK(fired == std::vector<int>{28});
        CHECK(idle.active());
        idle.set_repeat(0ms);
        idle.again();
        CHECK_FALSE(idle.active());

        // In its own callback it may have stopped before.
        int runs = 0;
        TimerWatcher other{1ms, 1ms};
        other.start([&] {
            if (++runs == 3) return other.stop();
            other.stop();
            other.again();
        });
        CHECK(hub_join());
        CHECK(runs == 3);
    });
}

TEST_CASE("timer watcher: what makes no sense is refused", "[core][watcher]") {
    run_green([] {
        CHECK_THROWS_AS((TimerWatcher{1ms, -1ms}), UsageError);
        TimerWatcher timer{-1ms};
        CHECK_THROWS_AS(timer.set_repeat(-1ms), UsageError);
        timer.start([] {});
        CHECK_THROWS_AS(timer.set(1ms, 1ms), UsageError);
        CHECK(hub_join());
        timer.set(1ms, 1ms);
        TimerWatcher never{Duration::max(), Duration::max()};
        never.start([] { FAIL("the end of time"); });
        CHECK_FALSE(hub_join(1h));
    });
}

// --- the common API ---
