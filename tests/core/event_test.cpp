#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>

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
