#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "support/gate.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::run_green_for_real;
using tests::settle;

TEST_CASE("thread event: set by a thread it wakes greenlets, and set by a greenlet threads",
          "[core][os]") {
    run_green_for_real([] {
        ThreadEvent to_hub;
        ThreadEvent to_thread;
        std::thread other{[&] {
            CHECK(to_thread.wait());
            CHECK(detail::Hub::current_or_null() == nullptr);  // it blocked
            to_hub.set();
        }};
        auto waiter = spawn([&] { return to_hub.wait(); });
        bool others_run = false;
        spawn([&] { others_run = true; });
        settle();
        CHECK(others_run);
        CHECK_FALSE(to_hub.is_set());
        to_thread.set();
        CHECK(waiter.get());
        CHECK(to_hub.wait());
        other.join();
    });
}

TEST_CASE("thread event: limits pass in hubs and in threads", "[core][os]") {
    run_green_for_real([] {
        ThreadEvent event;
        CHECK_FALSE(event.wait(Deadline::passed()));
        CHECK_FALSE(event.wait(1ms));
        std::thread{[&] {
            CHECK_FALSE(event.wait(Deadline::passed()));
            CHECK_FALSE(event.wait(1ms));
            CHECK_FALSE(event.wait(-1s));
        }}.join();
        bool refused = false;
        HubRef{}.post([&] {
            try {
                event.wait();
            } catch (const BlockingInHub&) {
                refused = true;
            }
        });
        settle();
        CHECK(refused);
        event.set();
        CHECK(event.wait(Deadline::passed()));
        event.clear();
        CHECK_FALSE(event.wait(Deadline::passed()));
    });
}

TEST_CASE("thread event: all who wait wake, also when it is cleared at once", "[core][os]") {
    run_green_for_real([] {
        ThreadEvent event;
        std::atomic<int> woken{0};
        std::atomic<int> waiting{0};
        const auto wait = [&] {
            ++waiting;
            if (event.wait(20s)) ++woken;
        };
        std::vector<std::thread> threads;
        Group group;
        for (int i = 0; i < 3; ++i) {
            threads.emplace_back(wait);
            threads.emplace_back([&] { green::spawn(wait).join(); });
            for (int k = 0; k < 30; ++k) group.spawn(wait);
        }
        settle();
        tests::until([&] { return waiting == 96; });
        // A thread is on its way from the count to the wait: those that come late find it set.
        std::thread setter{[&] {
            event.set();
            event.clear();
            event.set();
        }};
        group.join();
        for (auto& thread : threads) thread.join();
        setter.join();
        CHECK(woken == 96);
    });
}

TEST_CASE("thread event: those that wait when it is set pass though it is cleared at once",
          "[core][os]") {
    run_green_for_real([] {
        ThreadEvent event;
        int woken = 0;
        Group group;
        for (int i = 0; i < 10; ++i) group.spawn([&] { woken += event.wait(20s) ? 1 : 0; });
        settle();
        event.set();
        event.clear();
        group.join();
        CHECK(woken == 10);
        CHECK_FALSE(event.is_set());
    });
}

TEST_CASE("thread event: who leaves leaves nothing behind, wherever the news is", "[core][os]") {
    run_green_for_real([] {
        for (int when = 0; when < 3; ++when) {
            auto event = std::make_unique<ThreadEvent>();
            auto waiter = spawn([&] { event->wait(); });
            settle();
            CHECK(hub_figures().outside == 1);
            if (when > 0) event->set();
            if (when == 2) HubRef{}.post([&] { waiter.kill_soon(); });
            if (when < 2) waiter.kill();
            waiter.join();
            event.reset();  // what is still on its way finds nobody
            settle();
            CHECK(hub_figures().outside == 0);
        }
    });
}

TEST_CASE("thread result: the first to set it wins, and all get the same", "[core][os]") {
    run_green_for_real([] {
        ThreadAsyncResult<std::string> result;
        CHECK_FALSE(result.ready());
        CHECK_FALSE(result.try_get().has_value());
        CHECK_FALSE(result.get_for(1ms).has_value());
        CHECK_THROWS_AS(result.get(Deadline::passed()), Timeout);
        std::array<bool, 3> won{};
        std::thread setter{[&] {
            won = {result.set("first"), result.set("second"),
                   result.set_exception(std::make_exception_ptr(1))};
        }};
        CHECK(result.get() == "first");
        setter.join();
        CHECK(won == std::array{true, false, false});
        CHECK(result.ready());
        CHECK(result.try_get() == "first");
        CHECK(result.get_for(0s) == "first");
        std::thread{[&] { CHECK(result.get() == "first"); }}.join();

        ThreadAsyncResult<int> failure;
        bool broken = false;
        std::thread breaker{[&] {
            broken = failure.set_exception(std::make_exception_ptr(std::runtime_error("boom")));
        }};
        CHECK(failure.wait());
        CHECK_THROWS_WITH(failure.get(), "boom");
        CHECK_THROWS_WITH(failure.get(), "boom");
        breaker.join();
        CHECK(broken);
    });
}

TEST_CASE("thread result: of nothing but the fact", "[core][os]") {
    run_green_for_real([] {
        ThreadAsyncResult<void> done;
        CHECK_FALSE(done.wait(1ms));
        CHECK_THROWS_AS(done.get(1ms), Timeout);
        std::thread thread{[&] { CHECK(done.set()); }};
        done.get();
        thread.join();
        CHECK_FALSE(done.set());
        ThreadAsyncResult<void> failed;
        CHECK(failed.set_exception(std::make_exception_ptr(std::runtime_error("no"))));
        CHECK_THROWS_WITH(failed.get(), "no");
    });
}

TEST_CASE("thread result: it may go as soon as its waiter has it", "[core][os]") {
    run_green_for_real([] {
        for (int i = 0; i < 300; ++i) {
            auto result = std::make_unique<ThreadAsyncResult<int>>();
            std::thread setter{[&shared = *result, i] { shared.set(i); }};
            CHECK(result->get() == i);
            result.reset();
            setter.join();
        }
    });
}

TEST_CASE("thread event: it may go as soon as one who waited for several things has it",
          "[core][os]") {
    run_green_for_real([] {
        for (int i = 0; i < 300; ++i) {
            auto event = std::make_unique<ThreadEvent>();
            auto result = std::make_unique<ThreadAsyncResult<int>>();
            std::thread setter{[&shared = *event, &its_result = *result] {
                shared.set();
                its_result.set(1);
            }};
            if (i % 2 == 0) {
                CHECK(select(*event, after(20s)).index() == 0);
                CHECK(select(*result, after(20s)).index() == 0);
            } else {
                CHECK(green::wait({*event}).size() == 1);
                CHECK(green::wait({*result}).size() == 1);
            }
            event.reset();
            result.reset();
            setter.join();
        }
    });
}

TEST_CASE("thread event: who waits when it is destroyed gets an error, unless it was set before",
          "[core][os]") {
    run_green_for_real([] {
        const tests::Errors errors;
        auto event = std::make_unique<ThreadEvent>();
        auto result = std::make_unique<ThreadAsyncResult<int>>();
        auto waits = spawn([&] { event->wait(); });
        auto gets = spawn([&] { return result->get(1h); });
        auto selects = spawn([&] { return select(*event, *result, after(1h)).index(); });
        auto set = std::make_unique<WaitSet>();
        auto watches = spawn([&] {
            set->add(*event);
            return set->next();
        });
        const Link link = green::link(*event, [] { FAIL_CHECK("it was never set"); });
        settle();
        std::thread{[&] {
            event.reset();
            result.reset();
        }}.join();
        settle();
        CHECK_THROWS_AS(waits.get(), Closed);
        CHECK_THROWS_AS(gets.get(), Closed);
        CHECK_THROWS_AS(selects.get(), Closed);
        CHECK_THROWS_AS(watches.get(), Closed);
        CHECK(errors.count() == 4);
        set.reset();

        event = std::make_unique<ThreadEvent>();
        auto woken = spawn([&] { return event->wait(); });
        settle();
        event->set();
        event.reset();
        CHECK(woken.get());
    });
}

TEST_CASE("thread result: can be waited for together with other things", "[core][os]") {
    run_green_for_real([] {
        ThreadAsyncResult<int> one;
        ThreadEvent two;
        std::thread setter{[&] { one.set(1); }};
        ThreadAsyncResult<int>::Ready first{one};
        ThreadEvent::Ready second{two};
        detail::WaitNode* const nodes[] = {&second, &first};
        CHECK(detail::park(nodes, 20s));
        CHECK(first.fired());
        CHECK_FALSE(second.fired());
        setter.join();
    });
}
