#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/pool.hpp>
#include <green/queue.hpp>
#include <green/select.hpp>
#include <green/wait.hpp>

#include "support/map_inputs.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::after;
using tests::all_of;
using tests::Items;
using tests::run_green;
using tests::settle;
using tests::Steps;

TEST_CASE("imap: results come in the order of the input", "[core][imap]") {
    run_green([] {
        green::Pool pool{3};
        const std::vector<int> input{30, 10, 20};
        const auto begin = green::now();
        CHECK(all_of(pool.imap(after, input)) == std::vector{30, 10, 20});
        CHECK(green::now() - begin == 30ms);
        CHECK(all_of(pool.imap(after, std::vector<int>{})).empty());
        CHECK(pool.free_count() == 3);
    });
}

TEST_CASE("imap_unordered: results come in the order of completion", "[core][imap]") {
    run_green([] {
        green::Pool pool{3};
        CHECK(all_of(pool.imap_unordered(after, std::vector{30, 10, 20})) ==
              std::vector{10, 20, 30});
        green::Group group;
        CHECK(all_of(group.imap_unordered(after, std::vector{30, 10, 20})) ==
              std::vector{10, 20, 30});
        green::Pool narrow{1};
        CHECK(all_of(narrow.imap_unordered(after, std::vector{30, 10, 20})) ==
              std::vector{30, 10, 20});
    });
}

TEST_CASE("imap: an element's error is thrown in its place, and next goes on behind it",
          "[core][imap]") {
    const bool ordered = GENERATE(true, false);
    run_green([ordered] {
        const tests::Errors errors;
        green::Pool pool{2};
        const auto invert = [](int a) {
            green::sleep(std::chrono::milliseconds(a));
            if (a == 2) throw std::runtime_error("two");
            return -a;
        };
        const std::vector<int> input{1, 2, 3, 4};
        auto results = ordered ? pool.imap(invert, input) : pool.imap_unordered(invert, input);
        CHECK(results.next() == -1);
        CHECK_THROWS_WITH(results.next(), "two");
        CHECK(results.next() == -3);
        CHECK(results.next() == -4);
        CHECK(results.next() == std::nullopt);
        CHECK(results.next() == std::nullopt);
        CHECK(pool.join_or_raise());  // the failure was the reader's affair
    });
}

TEST_CASE("imap: range-for ends at the first error, and may be taken up again", "[core][imap]") {
    run_green([] {
        const tests::Errors errors;
        green::Pool pool{2};
        auto results = pool.imap(
            [](int a) {
                if (a == 2) throw std::runtime_error("two");
                return a;
            },
            std::vector{1, 2, 3});
        std::vector<int> read;
        const auto read_all = [&] {
            for (const int value : results) read.push_back(value);
        };
        CHECK_THROWS_WITH(read_all(), "two");
        CHECK(read == std::vector{1});
        read_all();
        CHECK(read == std::vector{1, 3});
    });
}

TEST_CASE("imap: elements and results are moved, never copied", "[core][imap]") {
    run_green([] {
        green::Pool pool{2};
        const auto same = [](std::unique_ptr<int> box) { return box; };
        std::vector<std::unique_ptr<int>> boxes;
        for (int i = 0; i < 5; ++i) boxes.push_back(std::make_unique<int>(i));
        int expected = 0;
        for (auto&& box : pool.imap(same, std::move(boxes))) {
            const std::unique_ptr<int> taken = std::move(box);
            CHECK(*taken == expected++);
        }
        CHECK(expected == 5);
        green::Queue<std::unique_ptr<int>> queue;
        queue.put(std::make_unique<int>(7));
        queue.close();
        Items<std::unique_ptr<int>> items{&queue};
        auto results = pool.imap_unordered(same, items);
        CHECK(**results.next() == 7);
        CHECK_FALSE(results.next());
    });
}

TEST_CASE("imap: maps can be put behind each other", "[core][imap]") {
    run_green([] {
        green::Pool first{2};
        green::Pool second{3};
        const auto increment = [](int a) {
            green::yield();
            return a + 1;
        };
        CHECK(all_of(second.imap(increment, first.imap(increment, std::views::iota(0, 5)))) ==
              std::vector{2, 3, 4, 5, 6});
        CHECK(second.map(increment, first.imap(increment, std::vector{1})) == std::vector{3});
    });
}

TEST_CASE("imap: calls without a value can be counted", "[core][imap]") {
    run_green([] {
        green::Pool pool{2};
        int sum = 0;
        int results = 0;
        for ([[maybe_unused]] auto&& done : pool.imap([&](int a) { sum += a; }, std::vector{1, 2}))
            ++results;
        CHECK(results == 2);
        CHECK(sum == 3);
    });
}

TEST_CASE("imap: it is lazy about an endless input", "[core][imap]") {
    const std::size_t maxsize = GENERATE(1u, 2u, 5u);
    const bool ordered = GENERATE(true, false);
    run_green([maxsize, ordered] {
        green::Pool pool{3};
        std::size_t begun = 0;
        std::size_t finished = 0;
        std::size_t read = 0;
        const auto count = [&](int a) {
            ++begun;
            green::yield();
            ++finished;
            return a;
        };
        auto results = ordered ? pool.imap(count, std::views::iota(0), maxsize)
                               : pool.imap_unordered(count, std::views::iota(0), maxsize);
        for (int i = 0; i < 20; ++i) {
            settle();
            CHECK(begun == read + maxsize);  // it stops there, and not before
            CHECK(finished == begun);
            CHECK(results.next() == i);
            ++read;
        }
    });
}

TEST_CASE("imap: without a bound, a pool begins twice its limit", "[core][imap]") {
    run_green([] {
        green::Pool pool{2};
        std::size_t begun = 0;
        const auto count = [&](int a) {
            ++begun;
            return a;
        };
        auto results = pool.imap(count, std::views::iota(0));
        settle();
        CHECK(begun == 4);
        CHECK(results.next() == 0);
        settle();
        CHECK(begun == 5);
        CHECK_THROWS_AS(pool.imap(count, std::views::iota(0), 0), green::UsageError);
    });
}

TEST_CASE("imap: the feeder in a plain group gives way", "[core][imap]") {
    run_green([] {
        green::Group group;
        int taken = 0;
        const Steps input{1000, [&](Steps::Step step, int) { taken += step == Steps::at_read; }};
        auto results = group.imap([](int a) { return a; }, input);
        green::yield();
        CHECK(taken > 0);
        CHECK(taken < 1000);
        CHECK(all_of(results).size() == 1000);
    });
}

TEST_CASE("imap: a finished result is there while the input waits", "[core][imap]") {
    run_green([] {
        green::Pool pool{1};
        green::Queue<int> queue;
        Items<int> items{&queue};
        auto results = pool.imap([](int a) { return a; }, items);
        queue.put(123);
        CHECK(results.next() == 123);
        CHECK(pool.free_count() == 1);  // waiting for input takes no room
        CHECK(pool.apply([] { return 1; }) == 1);
        CHECK_FALSE(results.next(1ms));
        CHECK_FALSE(results.at_end());
        green::spawn([&] {
            green::sleep(100ms);
            queue.put(456);
            green::sleep(100ms);
            queue.close();
        });
        CHECK(results.next() == 456);
        CHECK_FALSE(results.at_end());
        CHECK(results.next() == std::nullopt);
        CHECK(results.at_end());
    });
}

TEST_CASE("imap: the input may wait at any of its steps", "[core][imap]") {
    const bool ordered = GENERATE(true, false);
    run_green([ordered] {
        green::Pool pool{2};
        const Steps input{3, [](Steps::Step, int) { green::sleep(1ms); }};
        const auto same = [](int a) { return a; };
        CHECK(all_of(ordered ? pool.imap(same, input) : pool.imap_unordered(same, input)) ==
              std::vector{0, 1, 2});
        CHECK(pool.map(same, input) == std::vector{0, 1, 2});
    });
}

TEST_CASE("imap: an error of the input comes behind the results before it", "[core][imap]") {
    const auto where = GENERATE(Steps::at_begin, Steps::at_compare, Steps::at_read, Steps::at_next);
    const bool ordered = GENERATE(true, false);
    run_green([where, ordered] {
        const tests::Errors errors;
        green::Pool pool{2};
        const int place = where == Steps::at_begin ? 0 : 2;
        const Steps input{5, [=](Steps::Step step, int at) {
                              if (step == where && at == place) throw std::runtime_error("input");
                          }};
        const auto slow = [](int a) { return after(10 * (a + 1)) / 10 - 1; };
        auto results = ordered ? pool.imap(slow, input) : pool.imap_unordered(slow, input);
        for (int i = 0; i < place; ++i) CHECK(results.next() == i);
        CHECK_THROWS_WITH(results.next(), "input");
        CHECK(results.next() == std::nullopt);
        CHECK(pool.free_count() == 2);
    });
}

TEST_CASE("imap: its node fires for a result, an error and the end, and takes nothing",
          "[core][imap]") {
    run_green([] {
        const tests::Errors errors;
        green::Pool pool{1};
        const auto fail_for_2 = [](int a) {
            green::sleep(10ms);
            if (a == 2) throw std::runtime_error("two");
            return a;
        };
        auto results = pool.imap(fail_for_2, std::vector{1, 2});
        green::Event other;
        CHECK(green::wait({results}, {.deadline = 5ms}).empty());
        CHECK(green::select(results, other).index() == 0);
        CHECK(green::wait({results, results}).size() == 2);
        CHECK(results.next() == 1);
        CHECK(green::wait({results}, {.deadline = 5ms}).empty());
        CHECK(green::wait({results}).size() == 1);
        CHECK_THROWS_WITH(results.next(), "two");
        CHECK(green::wait({results}).size() == 1);
        CHECK_FALSE(results.at_end());
        CHECK_FALSE(results.next());
        CHECK(results.at_end());
        CHECK(green::wait({results}, {.deadline = green::Deadline::passed()}).size() == 1);
    });
}

TEST_CASE("imap: who waits for a result leaves no trace, and gets Closed when the stream goes",
          "[core][imap]") {
    run_green([] {
        green::Group group;
        green::Event go;
        const auto slow = [&](int a) {
            go.wait();
            return a;
        };
        {
            auto results = group.imap(slow, std::vector{1});
            green::Event other;
            other.set();
            CHECK(green::select(results, other).index() == 1);
            auto killed = green::spawn([&] { green::wait({results}); });
            green::sleep(1ms);
            CHECK(killed.kill());
            go.set();
            CHECK(results.next() == 1);
        }
        go.clear();
        const tests::Errors errors;
        auto results = std::make_unique<green::ResultStream<int>>(group.imap(slow, std::vector{1}));
        auto waiter = green::spawn([&] { green::wait({*results}); });
        green::sleep(1ms);
        results.reset();
        CHECK_THROWS_AS(waiter.get(), green::Closed);
    });
}
