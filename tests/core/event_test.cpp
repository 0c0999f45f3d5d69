#include <array>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/process.hpp>

#include "support/roles.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("event: set then clear wakes all who waited, with true", "[core][event]") {
    const std::size_t waiters = GENERATE(1u, 100u, 1000u);
    run_green([&] {
        green::Event event;
        std::size_t woken = 0;
        for (std::size_t i = 0; i < waiters; ++i) green::spawn([&] { woken += event.wait(); });
        green::yield();
        CHECK(event.waiting() == waiters);
        event.set();
        event.clear();
        CHECK(woken == 0);
        settle();
        CHECK(woken == waiters);
        CHECK_FALSE(event.wait(10ms));
        CHECK(event.waiting() == 0);
    });
}

TEST_CASE("event: a wait on a set event does not switch", "[core][event]") {
    run_green([] {
        green::Event event;
        event.set();
        bool ran = false;
        green::spawn([&] { ran = true; });
        CHECK(event.wait());
        CHECK_FALSE(ran);
        settle();
    });
}

TEST_CASE("event: waiters run in the order in which they came", "[core][event]") {
    run_green([] {
        green::Event event;
        std::vector<int> order;
        for (int i = 0; i < 5; ++i) {
            green::spawn([&, i] {
                event.wait();
                order.push_back(i);
            });
        }
        green::yield();
        event.set();
        settle();
        CHECK(order == std::vector{0, 1, 2, 3, 4});
    });
}

TEST_CASE("event: a killed waiter leaves no trace", "[core][event]") {
    run_green([] {
        green::Event event;
        auto waiter = green::spawn([&] { event.wait(); });
        green::yield();
        CHECK(waiter.kill());
        CHECK(event.waiting() == 0);
        event.set();
    });
}

TEST_CASE("async result: the first to set it wins and all get it", "[core][event]") {
    run_green([] {
        green::AsyncResult<int> result;
        auto waiter = green::spawn([&] { return result.get(); });
        CHECK_FALSE(result.try_get().has_value());
        CHECK_FALSE(result.get_for(10ms).has_value());
        CHECK_THROWS_AS(result.get(green::Deadline{10ms}), green::Timeout);
        CHECK(result.set(5));
        CHECK_FALSE(result.set(6));
        CHECK_FALSE(result.set_exception(std::make_exception_ptr(1)));
        CHECK(waiter.get() == 5);
        CHECK(result.get() == 5);
    });
}

TEST_CASE("async result: an error is rethrown by get and not by wait", "[core][event]") {
    run_green([] {
        green::AsyncResult<int> result;
        auto waiter = green::spawn([&] {
            try {
                result.get();
            } catch (const std::runtime_error& error) {
                return std::string(error.what());
            }
            return std::string();
        });
        green::yield();
        result.set_exception(std::make_exception_ptr(std::runtime_error("boom")));
        CHECK(result.wait());
        CHECK(waiter.get() == "boom");
        CHECK_THROWS_AS(result.get(), std::runtime_error);
    });
}

TEST_CASE("event: its node fires when the flag is set, and at once when it is", "[core][event]") {
    run_green([] {
        green::Event first;
        green::Event second;
        auto chooser = green::spawn([&] {
            green::Event::Ready a{first};
            green::Event::Ready b{second};
            const std::array<green::detail::WaitNode*, 2> both{&a, &b};
            CHECK(green::detail::park(both, green::Deadline::never()));
            return a.fired() ? 1 : 2;
        });
        green::yield();
        second.set();
        CHECK(chooser.get() == 2);
        CHECK(first.waiting() == 0);
        green::Event::Ready node{second};
        CHECK(green::detail::park(node, green::Deadline::passed()));
    });
}

TEST_CASE("event: who waits when it is destroyed gets an error", "[core][event]") {
    run_green([] {
        const tests::Errors errors;
        auto event = std::make_unique<green::Event>();
        auto waiter = green::spawn([&] { event->wait(); });
        auto told = green::spawn([&] { return event->wait(1s); });
        green::yield();
        event.reset();
        settle();
        CHECK_THROWS_AS(waiter.get(), green::Closed);
        CHECK_THROWS_AS(told.get(), green::Closed);
        CHECK(errors.count() == 2);

        event = std::make_unique<green::Event>();
        auto woken = green::spawn([&] { return event->wait(); });
        green::yield();
        event->set();
        event.reset();  // it was set before it went
        CHECK(woken.get());
    });
}

TEST_CASE("async result: of nothing but the fact", "[core][event]") {
    run_green([] {
        green::AsyncResult<void> done;
        auto waiter = green::spawn([&] { done.get(); });
        CHECK_THROWS_AS(done.get(10ms), green::Timeout);
        CHECK_FALSE(done.ready());
        CHECK(done.set());
        CHECK_FALSE(done.set());
        CHECK_FALSE(done.set_exception(std::make_exception_ptr(1)));
        waiter.get();
        done.get(green::Deadline::passed());

        green::AsyncResult<void> failed;
        CHECK(failed.set_exception(std::make_exception_ptr(std::runtime_error("boom"))));
        CHECK_FALSE(failed.set());
        CHECK(failed.wait());
        CHECK_THROWS_AS(failed.get(), std::runtime_error);
    });
}

TEST_CASE("async result: its node fires for a value and for an error", "[core][event]") {
    run_green([] {
        green::AsyncResult<std::unique_ptr<int>> value;
        green::AsyncResult<void> error;
        auto both = green::spawn([&] {
            green::AsyncResult<std::unique_ptr<int>>::Ready a{value};
            green::AsyncResult<void>::Ready b{error};
            return green::detail::park(a, green::Deadline::never()) &&
                   green::detail::park(b, green::Deadline::never());
        });
        green::yield();
        CHECK_THAT(green::hub_report(), Catch::Contains("waits on a result"));
        value.set(std::make_unique<int>(7));
        green::yield();
        error.set_exception(std::make_exception_ptr(1));
        CHECK(both.get());
        CHECK(*value.get() == 7);
    });
}

#ifndef NDEBUG
// The wait is one hub's, the call another thread's.
GREEN_TEST_ROLE(foreign_thread_sets_event) {
    green::Event event;
    green::spawn([&] { event.wait(); });
    green::yield();
    std::fclose(stderr);
    std::thread{[&] { event.set(); }}.join();
    return 0;
}

TEST_CASE("event: a thread that sets another's event is stopped in debug builds", "[core][event]") {
    tests::run_green_for_real([] {
        auto child =
            green::Process::start({.argv = {tests::self(), "--role=foreign_thread_sets_event"}});
        CHECK(child.join()->text().find("SIGABRT") != std::string::npos);
    });
}
#endif

TEST_CASE("event: who is past his limit when it is set learns of it, though it has gone since",
          "[core][event]") {
    for (const bool cleared : {false, true}) {
        run_green([&] {
            auto event = std::make_unique<green::Event>();
            // Runs when the limit has woken the waiter, and before that one.
            auto setter = green::spawn([&] {
                green::sleep(10ms);
                event->set();
                if (cleared) event->clear();
                event.reset();
            });
            auto waiter = green::spawn([&its = *event] { return its.wait(10ms); });
            CHECK(waiter.get());
            setter.join();
        });
    }
}

TEST_CASE("event: a result that comes in the turn of a limit is there for who waited",
          "[core][event]") {
    run_green([] {
        green::AsyncResult<int> result;
        // Runs when the limit has woken the waiters, and before them.
        auto setter = green::spawn([&] {
            green::sleep(10ms);
            result.set(7);
        });
        auto waiter = green::spawn([&] { return result.wait(10ms); });
        auto getter = green::spawn([&] { return result.get_for(10ms); });
        CHECK(waiter.get());
        CHECK(getter.get() == 7);
        setter.join();
    });
}
