// Functions in threads that can be asked to stop.

#include <atomic>
#include <memory>
#include <optional>
#include <semaphore>
#include <stop_token>
#include <thread>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "support/gate.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::Gate;
using tests::run_green_for_real;

namespace {

/// A function that runs until it is asked to stop.
struct Patient {
    std::binary_semaphore entered{0};
    std::binary_semaphore left{0};
    auto function() {
        return [this](const std::stop_token& stop) {
            std::binary_semaphore asked{0};
            const std::stop_callback callback{stop, [&asked] { asked.release(); }};
            entered.release();
            asked.acquire();
            left.release();
            return 5;
        };
    }
};

}  // namespace

TEST_CASE("thread stop: a function that takes a token can be asked to stop", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Patient patient;
        auto task = pool.spawn(patient.function());
        patient.entered.acquire();
        CHECK_FALSE(task.ready());
        CHECK(task.request_stop());
        CHECK(task.get() == 5);
        CHECK_FALSE(task.request_stop());
    });
}

TEST_CASE("thread stop: one that is asked before it begins, begins knowing it", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Gate gate;
        auto busy = pool.spawn([&gate] { gate.pass(); });
        auto task = pool.spawn([](std::stop_token stop) { return stop.stop_requested(); });
        task.request_stop();
        gate.open.release();
        CHECK(task.get());
    });
}

TEST_CASE("thread stop: one that takes no token cannot be asked", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Gate gate;
        auto task = pool.spawn([&gate] {
            gate.pass();
            return 1;
        });
        gate.entered.acquire();
        CHECK_FALSE(task.request_stop());
        gate.open.release();
        CHECK(task.get() == 1);
    });
}

TEST_CASE("thread stop: a kill or a limit of who waits in apply asks", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Patient patient;
        auto waiter = spawn([&] { return pool.apply(patient.function()); });
        tests::settle();
        patient.entered.acquire();
        waiter.kill();
        patient.left.acquire();
        CHECK_FALSE(with_timeout(1ms, [&] { return pool.apply(patient.function()); }).has_value());
        patient.left.acquire();
        CHECK(pool.apply([](std::stop_token stop) { return !stop.stop_requested(); }));
    });
}

TEST_CASE("thread stop: the last handle that goes asks, unless it was detached", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Patient patient;
        {
            std::optional<ThreadTask<int>> task = pool.spawn(patient.function());
            const auto copy = *task;
            patient.entered.acquire();
            task.reset();
            CHECK_FALSE(patient.left.try_acquire());
            CHECK_FALSE(copy.ready());
        }
        patient.left.acquire();

        Gate gate;
        std::atomic<bool> asked{true};
        {
            auto task = pool.spawn([&](std::stop_token stop) {
                gate.pass();
                asked = stop.stop_requested();
            });
            task.detach();
        }
        gate.entered.acquire();
        gate.open.release();
        CHECK(pool.join());
        CHECK_FALSE(asked);
    });
}

TEST_CASE("thread stop: the end of the pool asks", "[core][os]") {
    run_green_for_real([] {
        Patient patient;
        auto pool = std::make_unique<ThreadPool>(1);
        auto task = pool->spawn(patient.function());
        patient.entered.acquire();
        pool.reset();
        CHECK(task.get() == 5);
    });
}

TEST_CASE("thread stop: what is applied in the same thread hears what its caller hears",
          "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Patient patient;
        auto task = pool.spawn([&](std::stop_token) { return pool.apply(patient.function()); });
        patient.entered.acquire();
        task.request_stop();
        CHECK(task.get() == 5);
        // A caller that cannot be asked has nothing to hand on.
        CHECK(pool.apply([&] {
            return pool.apply([](std::stop_token stop) { return !stop.stop_possible(); });
        }));
    });
}
