#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include <catch2/catch.hpp>

#include <green/condition.hpp>
#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/lock.hpp>
#include <green/mutex.hpp>
#include <green/queue.hpp>
#include <green/select.hpp>
#include <green/thread_event.hpp>
#include <green/timeout.hpp>
#include <green/watcher.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("timeout: appears at the suspension point, after its time, and knows whose it is",
          "[core][timeout]") {
    run_green([] {
        const auto start = green::now();
        green::TimeoutScope mine{10ms};
        const green::TimeoutScope other{1h};
        std::optional<green::Timeout> caught;
        try {
            green::sleep(1h);
        } catch (const green::Timeout& timeout) {
            caught = timeout;
        }
        REQUIRE(caught.has_value());
        CHECK(mine.owns(*caught));
        CHECK_FALSE(other.owns(*caught));
        CHECK(green::now() - start == 10ms);
        green::sleep(1s);  // once only
    });
}

TEST_CASE("timeout: is no std::exception", "[core][timeout]") {
    run_green([] {
        const auto value = green::with_timeout(10ms, [] {
            try {
                green::sleep(1h);
            } catch (const std::exception&) {
                return 1;
            }
            return 2;
        });
        CHECK_FALSE(value.has_value());
    });
}

TEST_CASE("timeout: leaving the scope in time cancels it", "[core][timeout]") {
    run_green([] {
        { const green::TimeoutScope scope{10ms}; }
        green::sleep(50ms);
        CHECK(green::hub_figures().timers == 0);
    });
}

TEST_CASE("timeout: with_timeout gives the value, or nothing, and lets foreign ones through",
          "[core][timeout]") {
    run_green([] {
        CHECK(green::with_timeout(100ms, [] { return 3; }) == 3);
        CHECK_FALSE(green::with_timeout(10ms, [] { green::sleep(1h); }));
        CHECK(green::with_timeout(10ms, [] {}));
        bool inner_returned = false;
        CHECK_FALSE(green::with_timeout(10ms, [&] {
            (void)green::with_timeout(1h, [] { green::sleep(2h); });
            inner_returned = true;
        }));
        CHECK_FALSE(inner_returned);
    });
}

TEST_CASE("timeout: of two that pass together the outermost is thrown", "[core][timeout]") {
    run_green([] {
        const auto deadline = green::Deadline{10ms};
        const green::TimeoutScope outer{deadline};
        bool outer_was_thrown = false;
        try {
            const green::TimeoutScope inner{deadline};
            green::sleep(1h);
        } catch (const green::Timeout& timeout) {
            outer_was_thrown = outer.owns(timeout);
        }
        CHECK(outer_was_thrown);
        green::sleep(1s);
    });
}

TEST_CASE("timeout: an event that came first wins over a limit that passes before its waiter runs",
          "[core][timeout]") {
    run_green([] {
        struct SetsEvent : green::detail::Timer {
            green::Event event;
        } first;
        const auto when = green::Deadline{10ms};
        green::detail::start_timer(first, when.when(), [](green::detail::Timer& timer) noexcept {
            static_cast<SetsEvent&>(timer).event.set();
        });
        const green::TimeoutScope scope{when};  // due in the same turn, after the event
        CHECK(first.event.wait());
        CHECK(scope.expired());
        bool appeared_at_the_next_wait = false;
        try {
            green::sleep(1ms);
        } catch (const green::Timeout& timeout) {
            appeared_at_the_next_wait = scope.owns(timeout);
        }
        CHECK(appeared_at_the_next_wait);
    });
}

TEST_CASE("timeout: a yield loop cannot starve it", "[core][timeout]") {
    tests::run_green_for_real([] {
        CHECK_FALSE(green::with_timeout(10ms, [] {
            for (;;) green::yield();
        }));
    });
}

TEST_CASE("timeout: one that is taken back before its greenlet runs ends no wait",
          "[core][timeout]") {
    run_green([] {
        std::optional<green::TimeoutScope> scope;
        green::Event event;
        green::Mutex mutex;
        green::Condition condition;
        std::function<void()> meanwhile = [] {};
        // Runs when the limit has woken its greenlet, and before that one.
        auto other = green::spawn([&] {
            green::sleep(10ms);
            REQUIRE(scope->expired());
            meanwhile();
            scope->restart(1h);
        });
        const green::TimePoint begin = green::now();
        const auto waits = [&](auto call) {
            return green::spawn([&scope, call] {
                scope.emplace(10ms);
                const auto result = call();
                scope.reset();
                return result;
            });
        };
        SECTION("a wait") {
            auto waiter = waits([&] { return event.wait(); });
            green::sleep(20ms);
            CHECK_FALSE(waiter.ready());
            event.set();
            CHECK(waiter.get());
        }
        SECTION("a wait with a limit of its own") {
            auto waiter = waits([&] { return event.wait(30ms); });
            CHECK_FALSE(waiter.get());
            CHECK(green::now() - begin == 30ms);
        }
        SECTION("a sleep") {
            auto sleeper = waits([&] {
                green::sleep(30ms);
                return green::now() - begin;
            });
            CHECK(sleeper.get() == 30ms);
        }
        SECTION("what happened meanwhile counts") {
            meanwhile = [&] {
                event.set();
                event.clear();
            };
            auto waiter = waits([&] { return event.wait(); });
            CHECK(waiter.get());
            CHECK(green::now() - begin == 10ms);
        }
        SECTION("a notification that found nobody counts") {
            meanwhile = [&] { condition.notify_one(); };
            auto waiter = waits([&] {
                std::unique_lock lock{mutex};
                return condition.wait(lock);
            });
            CHECK(waiter.get());
            CHECK(green::now() - begin == 10ms);
        }
        SECTION("of several things that happened the first one counts") {
            green::Event later;
            meanwhile = [&] {
                event.set();
                later.set();
            };
            auto waiter = waits([&] { return green::select(event, later).index(); });
            CHECK(waiter.get() == 0);
        }
        SECTION("a watcher that has come to its end meanwhile counts") {
            green::TimerWatcher timer{10ms};
            auto waiter = waits([&] { return timer.wait(); });
            CHECK(waiter.get());
            CHECK(green::now() - begin == 10ms);
        }
        SECTION("what another thread could have set counts") {
            green::ThreadEvent shared;
            meanwhile = [&] {
                shared.set();
                shared.clear();
            };
            auto waiter = waits([&] { return shared.wait(); });
            CHECK(waiter.get());
            CHECK(green::now() - begin == 10ms);
        }
        SECTION("a source that passed it over and has gone tells so") {
            auto queue = std::make_unique<green::Queue<int>>();
            auto& its = *queue;
            meanwhile = [&] {
                its.put(1);
                queue.reset();
            };
            auto waiter = waits([&] {
                try {
                    return its.get();
                } catch (const green::Closed&) {
                    return -1;
                }
            });
            CHECK(waiter.get() == -1);
        }
        other.join();
    });
}
