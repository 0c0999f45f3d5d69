// Pools: the cases C064 to C072.

#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/pool.hpp>
#include <green/queue.hpp>
#include <green/shield.hpp>
#include <green/timeout.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;

namespace {

template <class Results>
auto collect(Results&& results) {
    std::vector<typename std::remove_cvref_t<Results>::Value> all;
    for (auto&& result : results) all.push_back(result);
    return all;
}

double inverse(int x) {
    if (x == 0) throw std::domain_error("division by zero");
    return 1.0 / x;
}

/// What a generator gives that takes its time after its last item.
struct SlowToEnd {
    struct Iterator {
        using value_type = int;
        using difference_type = std::ptrdiff_t;
        int operator*() const { return at; }
        Iterator& operator++() {
            if (++at == last) green::sleep(200ms);
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const { return at == last; }
        int at = 0;
        int last = 0;
    };
    Iterator begin() const { return {0, count}; }
    std::default_sentinel_t end() const { return {}; }
    int count;
};

/// The items of a queue until it is closed.
struct Items {
    struct Iterator {
        using value_type = int;
        using difference_type = std::ptrdiff_t;
        int operator*() const { return value; }
        Iterator& operator++() {
            try {
                value = queue->get();
            } catch (const green::Closed&) {
                queue = nullptr;
            }
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const { return queue == nullptr; }
        green::Queue<int>* queue;
        int value = 0;
    };
    Iterator begin() const { return ++Iterator{queue}; }
    std::default_sentinel_t end() const { return {}; }
    green::Queue<int>* queue;
};

}  // namespace

TEST_CASE("C064: blocking spawn and join", "[conformance]") {
    run_green([] {
        const auto work = [] { green::sleep(100ms); };
        {
            green::Pool empty{1};
            const green::NoSwitch fence{"an empty pool"};
            CHECK(empty.join());
        }
        green::Pool pool{1};
        pool.spawn(work);
        CHECK(pool.size() == 1);
        const auto begin = green::now();
        pool.spawn(work);
        CHECK(green::now() - begin == 100ms);
        CHECK(pool.size() == 1);
        CHECK_FALSE(pool.join(10ms));
        CHECK(pool.join());
        CHECK(pool.size() == 0);
    });
}

TEST_CASE("C065: re-entrant apply", "[conformance]") {
    run_green([] {
        green::Pool pool{1};
        const auto increment = [](int x) { return x + 1; };
        CHECK(pool.apply([&] { return pool.apply(increment, 5); }) == 6);
        auto async = pool.apply_async(increment, 1);
        CHECK(async.get() == 2);
    });
}

TEST_CASE("C066: pool full", "[conformance]") {
    run_green([] {
        green::Pool pool{1};
        pool.spawn([] { green::sleep(1h); });
        auto other = green::spawn([] { green::sleep(1h); });
        auto fresh = green::deferred([] {});
        const auto took = [](auto&& action) {
            const auto begin = green::now();
            action();
            return green::now() - begin;
        };
        CHECK(took([&] { CHECK_FALSE(pool.add(other, green::Deadline::passed())); }) == 0ms);
        CHECK(took([&] { CHECK_FALSE(pool.add(other, 100ms)); }) == 100ms);
        CHECK(took([&] { CHECK_FALSE(pool.start(fresh, 100ms)); }) == 100ms);
        bool outer = false;
        CHECK(took([&] {
                  green::TimeoutScope limit{100ms};
                  try {
                      pool.add(other);
                  } catch (const green::Timeout& timeout) {
                      outer = limit.owns(timeout);
                  }
              }) == 100ms);
        CHECK(outer);
        CHECK(pool.size() == 1);
        CHECK(pool.free_count() == 0);
        CHECK_FALSE(pool.contains(other));
        other.kill();
    });
}

TEST_CASE("C069: lazy maps: errors and order", "[conformance]") {
    run_green([] {
        const tests::Errors errors;
        green::Pool one{1};
        for (const bool ordered : {true, false}) {
            const std::vector<int> input{1, 0, 2};
            auto results = ordered ? one.imap(inverse, input) : one.imap_unordered(inverse, input);
            CHECK(results.next() == 1.0);
            CHECK_THROWS_AS(results.next(), std::domain_error);
            CHECK(results.next() == 0.5);
            CHECK_FALSE(results.next());
        }
        const auto nap = [](int ms) {
            green::sleep(std::chrono::milliseconds(ms));
            return ms;
        };
        const std::vector<int> naps{1000, 100, 200};
        green::Pool three{3};
        CHECK(collect(three.imap_unordered(nap, naps)) == std::vector{100, 200, 1000});
        CHECK(collect(one.imap_unordered(nap, naps)) == naps);
    });
}

TEST_CASE("C071: input that blocks", "[conformance]") {
    run_green([] {
        green::Pool pool{2};
        for (const bool ordered : {true, false}) {
            green::Queue<int> queue;
            queue.put(123);
            green::spawn([&] {
                green::sleep(100ms);
                queue.close();
            });
            const auto same = [](int x) { return x; };
            const Items items{&queue};
            CHECK(collect(ordered ? pool.imap(same, items) : pool.imap_unordered(same, items)) ==
                  std::vector{123});

            const auto square = [](int x) { return x * x; };
            const SlowToEnd input{5};
            CHECK(
                collect(ordered ? pool.imap(square, input) : pool.imap_unordered(square, input)) ==
                std::vector{0, 1, 4, 9, 16});
        }
    });
}

TEST_CASE("C072: a slot survives bad reporting", "[conformance]") {
    run_green([] {
        int reports = 0;
        green::set_error_handler([&](const green::ErrorReport&) {
            ++reports;
            throw std::runtime_error("the sink is broken");
        });
        green::Pool pool{1};
        auto task = pool.spawn([] { throw std::runtime_error("boom"); });
        CHECK_THROWS_WITH(task.get(2s), "boom");
        green::yield();
        CHECK(reports == 1);
        CHECK(pool.free_count() == 1);
        const green::TimeoutScope limit{1s};
        CHECK(pool.apply([] { return 1; }) == 1);
        green::set_error_handler({});
    });
}
