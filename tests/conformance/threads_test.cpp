#include <stdexcept>
#include <thread>
#include <vector>

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

        std::vector<ThreadTask<int>> squares;
        const auto map_squares = [&] {
            for (int item = 0;; ++item) {
                if (item == 2) throw std::runtime_error("no more input");
                squares.push_back(pool.spawn([item] { return item * item; }));
            }
        };
        CHECK_THROWS_WITH(map_squares(), "no more input");
        REQUIRE(squares.size() == 2);
        CHECK(squares[1].get() == 1);
        CHECK(pool.apply([] { return 2; }) == 2);
        ticker.kill();
    });
}
