#include <ranges>
#include <stdexcept>
#include <thread>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::run_green_for_real;

TEST_CASE("C048: a result of another thread wakes a hub that sleeps, and the reverse",
          "[conformance]") {
    run_green_for_real([] {
        // Many times: the hub is about to sleep, sleeps, or has not thought of it yet.
        for (int i = 0; i < 200; ++i) {
            const bool limited = i % 2 == 0;
            ThreadAsyncResult<int> there;
            ThreadAsyncResult<int> back;
            std::thread other{[&, i] {
                const int got = limited ? there.get(Deadline{20s}) : there.get();
                back.set(got + i);
            }};
            auto waiter = spawn([&] { return limited ? back.get(Deadline{20s}) : back.get(); });
            auto setter = spawn([&] { there.set(5); });
            CHECK(waiter.get() == 5 + i);
            setter.join();
            other.join();
        }
    });
}

TEST_CASE("C074: errors come back from threads", "[conformance]") {
    run_green_for_real([] {
        ThreadPool pool{2};
        int ticks = 0;
        auto ticker = spawn([&] {
            for (;;) {
                ++ticks;
                sleep(1ms);
            }
        });
        ThreadEvent ticked;
        auto watcher = spawn([&] {
            while (ticks < 3) yield();
            ticked.set();
        });
        CHECK_THROWS_WITH(pool.apply([&]() -> int {
            ticked.wait();  // other greenlets run meanwhile, or this never ends
            throw std::runtime_error("boom");
        }),
                          "boom");
        watcher.join();
        CHECK(pool.apply([] { return 1; }) == 1);

        auto input = std::views::iota(0) | std::views::transform([](int item) {
                         if (item == 2) throw std::runtime_error("no more input");
                         return item;
                     });
        CHECK_THROWS_WITH(pool.map([](int item) { return item * item; }, input), "no more input");
        CHECK(pool.apply([] { return 2; }) == 2);
        ticker.kill();
    });
}
