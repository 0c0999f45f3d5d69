#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/thread_pool.hpp>

#include "support/faults.hpp"
#include "support/gate.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::Gate;
using tests::run_green_for_real;

TEST_CASE("thread pool: a map calls the function in threads and keeps the order of the input",
          "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{3};
        std::vector<int> input(100);
        std::iota(input.begin(), input.end(), 0);
        const auto me = std::this_thread::get_id();
        const auto square = [me](int item) {
            return std::this_thread::get_id() == me ? -1 : item * item;
        };
        const std::vector<int> squares = pool.map(square, input);
        REQUIRE(squares.size() == 100);
        for (int i = 0; i < 100; ++i) CHECK(squares[static_cast<std::size_t>(i)] == i * i);
        std::atomic<int> sum{0};
        pool.map([&sum](int item) { sum += item; }, input);
        CHECK(sum == 4950);
        CHECK(pool.map(square, std::vector<int>{}).empty());

        int next = 0;
        for (const int value : pool.imap(square, input)) {
            CHECK(value == next * next);
            ++next;
        }
        CHECK(next == 100);
        std::vector<int> unordered;
        for (const int value : pool.imap_unordered(square, input)) unordered.push_back(value);
        std::sort(unordered.begin(), unordered.end());
        CHECK(unordered == squares);
        CHECK_THROWS_AS(pool.imap(square, input, 0), UsageError);
        CHECK(hub_figures().greenlets == 0);
    });
}

TEST_CASE("thread pool: a map keeps all threads busy, and a lazy one begins no more than it may",
          "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{2};
        std::array<Gate, 2> gates;
        auto both = spawn([&] {
            pool.map([&gates](std::size_t which) { gates.at(which).pass(); },
                     std::vector<std::size_t>{0, 1});
        });
        tests::settle();
        for (Gate& gate : gates) gate.entered.acquire();  // both are in there at the same time
        for (Gate& gate : gates) gate.open.release();
        both.join();

        int read = 0;
        auto input = std::views::iota(0, 100) | std::views::transform([&read](int i) {
                         ++read;
                         return i;
                     });
        auto results = pool.imap([](int item) { return item; }, input, 3);
        CHECK(results.next() == 0);
        green::wait({results});
        for (int i = 0; i < 100; ++i) tests::settle();
        CHECK(read <= 5);
        CHECK(results.next() == 1);
    });
}

TEST_CASE("thread pool: the first error of a map is thrown, and asks the other calls to stop",
          "[core][os]") {
    run_green_for_real([] {
        const tests::Errors errors;
        ThreadPool pool{2};
        std::atomic<bool> asked{false};
        const auto fail_for_2 = [&asked](int item, std::stop_token stop) {
            if (item == 2) throw std::runtime_error("two");
            while (!stop.stop_requested()) std::this_thread::yield();
            asked = true;
            return item;
        };
        CHECK_THROWS_WITH(pool.map(fail_for_2, std::vector{1, 2, 3, 4}), "two");
        pool.join();
        CHECK(asked);

        const auto fail_for_odd = [](int item) {
            if (item % 2 == 1) throw std::runtime_error("odd");
            return item;
        };
        auto results = pool.imap(fail_for_odd, std::vector{0, 1, 2});
        CHECK(results.next() == 0);
        CHECK_THROWS_WITH(results.next(), "odd");
        CHECK(results.next() == 2);
        CHECK_FALSE(results.next());

        auto killed = spawn([&] { pool.map(fail_for_2, std::vector{1, 3}); });
        tests::settle();
        CHECK(killed.kill());
        pool.join();
        CHECK(hub_figures().greenlets == 0);
    });
}

TEST_CASE("thread pool: what a dropped map has begun keeps its function and its element",
          "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Gate gate;
        std::atomic<int> seen{0};
        {
            auto function = [&gate, &seen,
                             by = std::make_shared<int>(10)](const std::shared_ptr<int>& item) {
                gate.pass();
                seen = *item * *by;
            };
            std::vector<std::shared_ptr<int>> input{std::make_shared<int>(7)};
            auto results = pool.imap(std::move(function), std::move(input));
            tests::settle();
            gate.entered.acquire();
        }
        CHECK(hub_figures().greenlets == 0);
        gate.open.release();
        pool.join();
        CHECK(seen == 70);
    });
}

TEST_CASE("thread pool: a map goes on without its pool, and is told", "[core][os]") {
    const bool lazy = GENERATE(false, true);
    CAPTURE(lazy);
    run_green_for_real([&] {
        const tests::Errors errors;
        auto pool = std::make_unique<ThreadPool>(1);
        std::array<Gate, 2> gates;
        const auto function = [&gates](std::size_t which) { gates.at(which).pass(); };
        std::size_t done = 0;
        auto maps = spawn([&] {
            const std::vector<std::size_t> input{0, 1, 0};
            if (!lazy) {
                pool->map(function, input);
                return;
            }
            for (auto results = pool->imap(function, input, 2); results.next();) ++done;
        });
        tests::settle();
        pool->set_max_threads(2);
        for (Gate& gate : gates) gate.entered.acquire();
        for (Gate& gate : gates) gate.open.release();
        pool.reset();  // all that has begun ends well, and then comes the third
        maps.join();
        CHECK_THROWS_AS(maps.get(), Closed);
        CHECK(done == (lazy ? 2 : 0));
    });
}

TEST_CASE("thread pool: a map in one of its own threads runs there", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        const auto inside = pool.apply([&pool] {
            return pool.map(
                [](int item) {
                    return std::pair{item, std::this_thread::get_id()};
                },
                std::vector{1, 2});
        });
        REQUIRE(inside.size() == 2);
        CHECK(inside[1].first == 2);
        CHECK(inside[0].second == inside[1].second);
        CHECK(inside[0].second != std::this_thread::get_id());
        pool.apply([&pool] {
            CHECK_THROWS_AS(pool.imap([](int item) { return item; }, std::vector{1}), UsageError);
        });
    });
}
