// What all watchers have in common, on the virtual clock.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/select.hpp>
#include <green/wait.hpp>
#include <green/watcher.hpp>

#include "support/run_green.hpp"
#include "support/stopwatch.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;
using tests::Stopwatch;

// --- timers ---

TEST_CASE("watcher: needs a callback, and is started once", "[core][watcher]") {
    run_green([] {
        TimerWatcher timer{1ms};
        CHECK_THROWS_AS(timer.start(std::function<void()>{}), UsageError);
        CHECK_THROWS_AS(timer.start(TimerWatcher::Callback{}), UsageError);
        CHECK_FALSE(timer.active());
        CHECK_THROWS_AS(timer.set_callback([] {}), UsageError);
        CHECK_THROWS_AS(timer.feed(), UsageError);
        timer.start([] {});
        CHECK_THROWS_AS(timer.start([] {}), UsageError);
        CHECK_THROWS_AS(timer.set_callback(std::function<void()>{}), UsageError);
        CHECK(timer.active());
        timer.stop();
        timer.stop();
        CHECK_FALSE(timer.active());
    });
}

TEST_CASE("watcher: the highest priority runs first, equal ones in order", "[core][watcher]") {
    run_green([] {
        std::string log;
        std::vector<std::unique_ptr<TimerWatcher>> timers;
        for (const int priority : {0, -2, 2, 0, 1, 2, -1}) {
            auto& timer = timers.emplace_back(std::make_unique<TimerWatcher>(1ms));
            timer->set_priority(priority);
            const char name = static_cast<char>('a' + timers.size() - 1);
            timer->start([&log, name] { log += name; });
        }
        CHECK(hub_join());
        CHECK(log == "cfeadgb");
        CHECK_THROWS_AS(timers[0]->set_priority(3), UsageError);
        CHECK_THROWS_AS(timers[0]->set_priority(-3), UsageError);
        CHECK(timers[0]->priority() == 0);
    });
}

TEST_CASE("watcher: feed() makes it pending once, and a stop takes that back", "[core][watcher]") {
    run_green([] {
        int runs = 0;
        TimerWatcher timer{1h};
        timer.start([&] { ++runs; });
        timer.feed();
        timer.feed();
        CHECK(timer.pending());
        CHECK(hub_figures().pending == 1);
        CHECK(runs == 0);
        settle();
        CHECK(runs == 1);
        CHECK_FALSE(timer.pending());
        CHECK(timer.active());
        timer.feed();
        timer.stop();
        CHECK_FALSE(timer.pending());
        settle();
        CHECK(runs == 1);
    });
}

TEST_CASE("watcher: one that feeds itself keeps nobody from running", "[core][watcher]") {
    run_green([] {
        bool ran = false;
        TimerWatcher greedy{1h};
        greedy.start([&] { greedy.feed(); });
        greedy.feed();
        auto other = spawn([&] {
            sleep(1ms);
            ran = true;
        });
        for (int i = 0; i < 10; ++i) yield();
        greedy.stop();
        other.join();
        CHECK(ran);
    });
}

TEST_CASE("watcher: may be destroyed, and others stopped, in a callback", "[core][watcher]") {
    run_green([] {
        auto token = std::make_shared<int>(0);
        auto doomed = std::make_unique<TimerWatcher>(1ms, 1ms);
        TimerWatcher victim{1ms};
        victim.set_priority(-1);
        doomed->start([&, token] {
            doomed.reset();
            victim.stop();
            CHECK(token.use_count() == 2);  // what runs stays until it has returned
        });
        victim.start([] { FAIL("it was stopped"); });
        CHECK(hub_join());
        CHECK(doomed == nullptr);
        CHECK(token.use_count() == 1);
    });
}

TEST_CASE("watcher: a callback that is not needed any more is destroyed", "[core][watcher]") {
    run_green([] {
        auto token = std::make_shared<int>(0);
        TimerWatcher timer{1ms};
        timer.start([token] {});
        CHECK(token.use_count() == 2);
        SECTION("after the only firing") { CHECK(hub_join()); }
        SECTION("by stop") { timer.stop(); }
        SECTION("when another takes its place") {
            timer.set_callback([] {});
        }
        SECTION("when another takes its place in the middle of it") {
            timer.set_callback([token, &timer] {
                timer.set_callback([token] {});
                CHECK(token.use_count() == 3);
            });
            CHECK(hub_join());
        }
        CHECK(token.use_count() == 1);
    });
}

TEST_CASE("watcher: a callback that stops the watcher by its own destructor ends well",
          "[core][watcher]") {
    run_green([] {
        // The callback owns what owns the watcher.
        struct Owner {
            TimerWatcher timer{1ms, 1ms};
            int runs = 0;
        };
        auto owner = std::make_shared<Owner>();
        const std::weak_ptr<Owner> alive = owner;
        Owner& it = *owner;
        it.timer.start([owner = std::move(owner)] {
            if (++owner->runs == 2) owner->timer.stop();
        });
        CHECK_FALSE(alive.expired());
        CHECK(hub_join());
        CHECK(alive.expired());
    });
}

TEST_CASE("watcher: what a callback throws is reported, and the hub goes on", "[core][watcher]") {
    run_green([] {
        const tests::Errors errors;
        int runs = 0;
        TimerWatcher timer{1ms, 1ms};
        timer.start([&] {
            if (++runs == 3) timer.stop();
            if (runs == 1) sleep(1ms);
            throw std::runtime_error("boom");
        });
        CHECK(hub_join());
        CHECK(runs == 3);
        REQUIRE(errors.count() == 3);
        CHECK(errors.all[0].find("the callback of a timer") != std::string::npos);
        CHECK(errors.all[0].find("must not wait") != std::string::npos);
        CHECK(errors.all[2].find("boom") != std::string::npos);
    });
}

TEST_CASE("watcher: one that its callback destroys before it throws is reported",
          "[core][watcher]") {
    run_green([] {
        const tests::Errors errors;
        auto timer = std::make_unique<TimerWatcher>(1ms);
        timer->start([&] {
            timer.reset();
            throw std::runtime_error("boom");
        });
        CHECK(hub_join());
        REQUIRE(errors.count() == 1);
        CHECK(errors.all[0].find("boom") != std::string::npos);
    });
}

TEST_CASE("watcher: only one with ref keeps the hub alive", "[core][watcher]") {
    run_green([] {
        Event never;
        TimerWatcher timer{1ms, 1ms};
        int runs = 0;
        timer.set_ref(false);
        timer.start([&] { ++runs; });
        CHECK_THROWS_AS(never.wait(), LoopExit);
        CHECK(hub_join(1s));
        CHECK(runs == 0);

        timer.set_ref(true);  // also while it is active
        CHECK_FALSE(hub_join(10ms));
        CHECK(runs == 10);
        timer.set_ref(false);
        CHECK(hub_join(1s));
        timer.set_ref(true);
        timer.stop();
        CHECK(hub_join(1s));
        CHECK_THROWS_AS(never.wait(), LoopExit);
    });
}

TEST_CASE("watcher: the report says what is watched", "[core][watcher]") {
    run_green([] {
        TimerWatcher timer{1h};
        timer.set_ref(false);
        timer.start([] {});
        Event never;
        std::string text;
        try {
            never.wait();
        } catch (const LoopExit& exit) {
            text = exit.what();
        }
        CHECK(text.find("a watcher of a timer: active, does not keep the hub alive") !=
              std::string::npos);
    });
}

TEST_CASE("watcher: given to the hub it lives until it has stopped", "[core][watcher]") {
    struct Probe final : WatcherOf<Probe> {
        explicit Probe(std::shared_ptr<int> its_token)
            : WatcherOf{detail::WatcherKind::prepare, false}, token{std::move(its_token)} {}
        ~Probe() override { stop(); }
        void arm() override {}
        [[nodiscard]] std::string describe() const override { return "a probe"; }
        std::shared_ptr<int> token;
    };
    run_green([] {
        auto token = std::make_shared<int>(0);
        auto owned = std::make_unique<Probe>(token);
        Probe& probe = *owned;
        int runs = 0;
        probe.start([&](Probe& self) {
            if (++runs == 3) self.stop();
            CHECK(token.use_count() == 2);
        });
        detach(std::move(owned));
        for (int i = 0; i < 5; ++i) settle();
        CHECK(runs == 3);
        CHECK(token.use_count() == 1);
    });
}

TEST_CASE("watcher: given to the hub it lives until it ends", "[core][watcher]") {
    run_green([] {
        auto token = std::make_shared<int>(0);
        auto owned = std::make_unique<TimerWatcher>(1ms, 1ms);
        TimerWatcher& timer = *owned;
        CHECK_THROWS_AS(detach(nullptr), UsageError);
        CHECK_THROWS_AS(detach(std::make_unique<TimerWatcher>(1ms)), UsageError);
        timer.start([token, runs = 0](TimerWatcher& self) mutable {
            if (++runs == 3) self.stop();
        });
        detach(std::move(owned));
        SECTION("by itself") {
            sleep(2500us);
            CHECK(token.use_count() == 2);
            CHECK(hub_join());
        }
        SECTION("by others") {
            timer.stop();
            CHECK(token.use_count() == 1);  // the callback goes at once, the watcher soon
            settle();
        }
        SECTION("unless it is started again") {
            timer.stop();
            timer.start([token] {});
            settle();
            CHECK(token.use_count() == 2);
            timer.stop();
        }
        CHECK(token.use_count() == 1);
    });
}

TEST_CASE("watcher: ends with its hub", "[core][watcher]") {
    auto token = std::make_shared<int>(0);
    TimerWatcher outlives{1ms, 1ms};
    {
        green::detail::Hub hub{std::make_unique<tests::VirtualReactor>()};
        outlives.start([token] {});
        auto owned = std::make_unique<TimerWatcher>(1ms, 1ms);
        owned->start([token] {});
        detach(std::move(owned));
        CHECK(token.use_count() == 3);
    }
    CHECK(token.use_count() == 1);
    CHECK_FALSE(outlives.active());
    green::detail::Hub hub{std::make_unique<tests::VirtualReactor>()};
    int runs = 0;
    outlives.start([&] {
        ++runs;
        outlives.stop();
    });
    CHECK(hub_join());
    CHECK(runs == 1);
}

// --- greenlets that wait for watchers ---

TEST_CASE("watcher: a greenlet waits for one, which is started for that long", "[core][watcher]") {
    run_green([] {
        const Stopwatch elapsed;
        TimerWatcher timer{10ms};
        CHECK(timer.wait());
        CHECK(elapsed() == 10);
        CHECK_FALSE(timer.active());
        CHECK_FALSE(timer.wait(3ms));
        CHECK(elapsed() == 13);
        CHECK_FALSE(timer.active());

        // One that runs anyway is left running.
        int runs = 0;
        TimerWatcher beat{1ms, 1ms};
        beat.start([&] { ++runs; });
        CHECK(beat.wait());
        CHECK(runs == 1);
        CHECK(beat.active());
        CHECK_FALSE(beat.wait(0ms));
        CHECK(beat.active());
    });
}

TEST_CASE("watcher: a second greenlet that waits is refused, the first undisturbed",
          "[core][watcher]") {
    run_green([] {
        TimerWatcher timer{10ms};
        auto first = spawn([&] { return timer.wait(); });
        settle();
        CHECK_THROWS_AS(timer.wait(), ConcurrentUse);
        CHECK(first.get());
    });
}

TEST_CASE("watcher: who waits learns that it was stopped, destroyed or cancelled",
          "[core][watcher]") {
    run_green([] {
        auto timer = std::make_unique<TimerWatcher>(1h);
        const tests::Errors errors;
        auto waiter = spawn([&] { timer->wait(); });
        settle();
        SECTION("stopped") {
            timer->stop();
            CHECK_THROWS_AS(waiter.get(), Closed);
        }
        SECTION("destroyed") {
            timer.reset();
            CHECK_THROWS_AS(waiter.get(), Closed);
        }
        SECTION("cancelled") {
            timer->cancel_wait(std::make_exception_ptr(std::runtime_error("enough")));
            CHECK_FALSE(timer->active());
            CHECK_THROWS_WITH(waiter.get(), "enough");
            timer->cancel_wait(std::make_exception_ptr(std::runtime_error("nobody is there")));
        }
        SECTION("destroyed before it runs") {
            timer->feed();
            auto destroyer = spawn([&] { timer.reset(); });
            CHECK_THROWS_AS(waiter.get(), Closed);
            destroyer.join();
        }
        SECTION("killed") {
            waiter.kill();
            CHECK_FALSE(timer->active());
        }
    });
}

TEST_CASE("watcher: who waits for others too learns that it was stopped or cancelled",
          "[core][watcher]") {
    run_green([] {
        auto timer = std::make_unique<TimerWatcher>(1h);
        std::function<void()> end = [&] { timer->stop(); };
        SECTION("stopped") {}
        SECTION("destroyed") {
            end = [&] { timer.reset(); };
        }
        SECTION("cancelled") {
            end = [&] { timer->cancel_wait(std::make_exception_ptr(Closed("enough"))); };
        }
        auto& its = *timer;
        auto waits = spawn([&] { (void)wait({after(2h), its}); });
        settle();
        end();
        CHECK_THROWS_AS(waits.get(), Closed);

        TimerWatcher other{1h};
        auto selects = spawn([&] { return green::select(after(2h), other).index(); });
        settle();
        other.stop();
        CHECK_THROWS_AS(selects.get(), Closed);
    });
}

TEST_CASE("watcher: who was woken by one that has gone since has seen it", "[core][watcher]") {
    run_green([] {
        auto timer = std::make_unique<TimerWatcher>(1ms);
        auto destroyer = spawn([&] {
            sleep(1ms);
            timer.reset();
        });
        auto waiter = spawn([&] { return timer->wait(); });
        CHECK(waiter.get());
        CHECK(timer == nullptr);
        destroyer.join();
    });
}

TEST_CASE("watcher: waiting in a hub callback is refused", "[core][watcher]") {
    run_green([] {
        const tests::Errors errors;
        TimerWatcher other{1ms};
        TimerWatcher timer{1ms};
        timer.start([&] { other.wait(); });
        CHECK(hub_join());
        REQUIRE(errors.count() == 1);
        CHECK(errors.all[0].find("must not wait") != std::string::npos);
        CHECK_FALSE(other.active());
    });
}

TEST_CASE("watcher: is waited for beside other things", "[core][watcher]") {
    run_green([] {
        static_assert(Waitable<IoWatcher> && Waitable<TimerWatcher> && Waitable<AsyncWatcher>);
        TimerWatcher slow{20ms};
        TimerWatcher quick{10ms};
        AsyncWatcher called;
        auto sleeper = spawn([] { sleep(30ms); });
        called.send();
        CHECK(wait({slow, sleeper, quick, called}, {.deadline = 1h, .count = 2}) ==
              std::vector<std::size_t>{3, 2});
        CHECK_FALSE(slow.active());
        CHECK(hub_figures().watchers == 0);
        sleeper.kill();
    });
}

// --- calls from elsewhere ---
