// How long there is something that a hub has to live for.

#include <exception>
#include <stdexcept>
#include <string>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/select.hpp>
#include <green/timeout.hpp>
#include <green/watcher.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("hub: join waits until nothing can happen any more", "[core][hub]") {
    run_green([] {
        CHECK(green::hub_join());
        CHECK(green::hub_join(green::Deadline::passed()));
        const green::TimePoint begin = green::now();
        int ended = 0;
        green::Event never;
        auto stuck = green::spawn([&] { never.wait(); });
        auto sleeper = green::spawn([&] {
            green::sleep(5ms);
            green::spawn([&] {
                green::sleep(5ms);
                ++ended;
            });
            ++ended;
        });
        CHECK_FALSE(green::hub_join(green::Deadline::passed()));
        CHECK_FALSE(green::hub_join(2ms));
        CHECK(green::now() - begin == 2ms);
        CHECK(green::hub_join(1h));
        CHECK(ended == 2);
        CHECK(green::now() - begin == 10ms);
        CHECK_FALSE(stuck.ready());
        CHECK(green::hub_join());
        // The hub is as usable as before.
        never.set();
        CHECK(green::hub_join());
        CHECK(stuck.ready());
    });
}

TEST_CASE("hub: join waits for what was posted and for watchers, not for its own limit",
          "[core][hub]") {
    run_green([] {
        const green::TimePoint begin = green::now();
        bool posted = false;
        green::HubRef{}.post([&] { posted = true; });
        CHECK(green::hub_join(1h));
        CHECK(posted);
        CHECK(green::now() == begin);
        green::TimerWatcher timer{3ms};
        timer.start([] {});
        CHECK(green::hub_join(1h));
        CHECK(green::now() - begin == 3ms);
        CHECK(green::hub_figures().timers == 0);
    });
}

TEST_CASE("hub: a sleep, a time and a scope without ref do not keep it alive", "[core][hub]") {
    run_green([] {
        const green::TimePoint begin = green::now();
        auto sleeper = green::spawn([] { green::sleep(1h, {.ref = false}); });
        auto until = green::spawn([&] { green::sleep_until(begin + 1h, {.ref = false}); });
        auto waiter = green::spawn([] { green::select(green::after(1h, {.ref = false})); });
        green::Event never;
        auto limited = green::spawn([&] {
            const green::TimeoutScope scope{1h, {.ref = false}};
            never.wait();
        });
        auto own_error = green::spawn([&] {
            const green::TimeoutScope scope{
                1h, std::make_exception_ptr(std::runtime_error("late")), {.ref = false}};
            never.wait();
        });
        CHECK(green::hub_join());
        CHECK(green::now() == begin);
        CHECK_THROWS_AS(never.wait(), green::LoopExit);
        CHECK_THROWS_AS(green::sleep(1h, {.ref = false}), green::LoopExit);
        CHECK(green::hub_figures().timers == 5);
        // Where something else does, they go on.
        const tests::Errors errors;
        green::sleep(1h);
        CHECK(sleeper.ready());
        CHECK(until.ready());
        CHECK(waiter.ready());
        CHECK_THROWS_AS(limited.get(), green::Timeout);
        CHECK_THROWS_WITH(own_error.get(), "late");
    });
}

TEST_CASE("hub: join is for main, and can be interrupted", "[core][hub]") {
    run_green([] {
        const tests::Errors errors;
        auto other = green::spawn([] { green::hub_join(); });
        CHECK_THROWS_AS(other.get(), green::UsageError);
        green::HubRef{}.post([] { green::hub_join(); });
        settle();
        REQUIRE(errors.count() == 2);
        CHECK(errors.all[1].find("must not wait") != std::string::npos);

        auto main = green::current();
        auto killer = green::spawn([main] {
            green::sleep(1ms);
            main.kill_soon(std::make_exception_ptr(std::runtime_error("enough")));
            green::sleep(1ms);
        });
        CHECK_THROWS_WITH(green::hub_join(), "enough");
        CHECK(green::hub_join());  // the seat is free again
        CHECK(killer.ready());
    });
}
