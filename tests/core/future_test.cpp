#include <future>
#include <stdexcept>
#include <thread>

#include <catch2/catch.hpp>

#include <green/future.hpp>
#include <green/green.hpp>

#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::run_green_for_real;

TEST_CASE("future: its value comes to the greenlet that waits, and others run meanwhile",
          "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        std::promise<int> promise;
        auto waiter = spawn([&] { return await(promise.get_future(), pool); });
        auto setter = spawn([&] {
            tests::settle();
            promise.set_value(4);  // only a hub that goes on can do this
        });
        CHECK(waiter.get() == 4);
        setter.join();
        std::promise<void> done;
        std::thread other{[&] { done.set_value(); }};
        await(done.get_future());
        other.join();
    });
}

TEST_CASE("future: one that is ready costs no thread", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        std::promise<int> promise;
        promise.set_value(4);
        CHECK(await(promise.get_future(), pool) == 4);
        CHECK(pool.size() == 0);
        CHECK_THROWS_AS(await(std::future<int>{}, pool), UsageError);
    });
}

TEST_CASE("future: its error comes too, and a deferred one is run in the thread", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        auto failing =
            std::async(std::launch::async, []() -> int { throw std::runtime_error("boom"); });
        CHECK_THROWS_WITH(await(std::move(failing), pool), "boom");
        auto deferred =
            std::async(std::launch::deferred, [] { return std::this_thread::get_id(); });
        CHECK(await(std::move(deferred), pool) != std::this_thread::get_id());
    });
}

TEST_CASE("future: who is killed while he waits takes the thread with him", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        std::promise<int> never;
        auto waiter = spawn([&] { return await(never.get_future(), pool); });
        tests::settle();
        waiter.kill();
        CHECK(pool.apply([] { return 1; }) == 1);
    });
}
