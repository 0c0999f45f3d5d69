// How queues end, and how one looks at items without taking them.
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/queue.hpp>
#include <green/timeout.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("queue: a closed one refuses puts, gives what is left, then says so", "[core][queue]") {
    run_green([] {
        const tests::Errors errors;
        green::Queue<int> queue{1};
        auto empty_handed = green::spawn([&] { return queue.get() + queue.get(); });
        queue.put(1);
        green::yield();
        queue.put(5);
        green::yield();
        auto putter = green::spawn([&] {
            queue.put(6);
            queue.put(7);
        });
        green::yield();
        queue.close();
        CHECK_THROWS_AS(putter.get(), green::Closed);
        CHECK_THROWS_AS(queue.put(8), green::Closed);
        CHECK(empty_handed.get() == 6);
        CHECK(queue.get() == 6);
        CHECK_THROWS_AS(queue.get(), green::Closed);
        CHECK_THROWS_AS(queue.try_get(), green::Closed);
    });
}

TEST_CASE("queue: closing wakes getters of an empty one", "[core][queue]") {
    run_green([] {
        const tests::Errors errors;
        green::Queue<int> queue;
        auto getter = green::spawn([&] { return queue.get(); });
        green::yield();
        queue.close();
        CHECK_THROWS_AS(getter.get(), green::Closed);
    });
}

TEST_CASE("queue: close_now drops what is left and wakes all with Closed", "[core][queue]") {
    run_green([] {
        const tests::Errors errors;
        auto item = std::make_shared<int>(1);
        green::Queue<std::shared_ptr<int>> queue{1};
        queue.put(item);
        auto putter = green::spawn([&, item]() mutable { queue.put(std::move(item)); });
        settle();
        queue.close_now();
        CHECK(queue.empty());
        CHECK_THROWS_AS(queue.get(), green::Closed);
        CHECK_THROWS_AS(putter.get(), green::Closed);

        green::Queue<int> empty;
        auto getter = green::spawn([&] { return empty.get(); });
        settle();
        empty.close_now();
        CHECK_THROWS_AS(getter.get(), green::Closed);
    });
}

TEST_CASE("queue: close_now drops also what a woken getter was about to take", "[core][queue]") {
    run_green([] {
        const tests::Errors errors;
        green::Queue<int> queue;
        auto getter = green::spawn([&] { return queue.get(); });
        auto killed = green::spawn([&] { return queue.get(); });
        settle();
        queue.put(1);
        queue.put(2);
        queue.close_now();
        killed.kill_soon();
        CHECK_THROWS_AS(getter.get(), green::Closed);
        settle();
        CHECK(queue.size() == 0);
    });
}

TEST_CASE("queue: what comes back to a closed one goes to a getter that still waits",
          "[core][queue]") {
    run_green([] {
        const tests::Errors errors;
        green::Queue<int> queue;
        auto first = green::spawn([&] { return queue.get(); });
        auto second = green::spawn([&] { return queue.get(); });
        auto third = green::spawn([&] { return queue.get(); });
        settle();
        queue.put(1);
        queue.close();
        first.kill_soon();
        CHECK(second.get() == 1);
        CHECK_THROWS_AS(third.get(), green::Closed);
    });
}

TEST_CASE("queue: a loop over it ends when it is closed and empty", "[core][queue]") {
    run_green([] {
        green::Queue<std::unique_ptr<int>> queue;
        auto sum = green::spawn([&] {
            int total = 0;
            for (auto item : queue) total += *item;
            return total;
        });
        for (int i = 1; i <= 3; ++i) {
            queue.put(std::make_unique<int>(i));
            settle();
        }
        queue.put(std::make_unique<int>(4));
        queue.put(std::make_unique<int>(5));
        queue.close();
        CHECK(sum.get() == 15);
    });
}

TEST_CASE("queue: peek leaves the item, and the room it takes", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue{1};
        CHECK(queue.try_peek() == nullptr);
        CHECK(queue.peek_for(5ms) == nullptr);
        CHECK_THROWS_AS(queue.peek(5ms), green::Timeout);
        queue.put(1);
        CHECK(queue.peek() == 1);
        CHECK(*queue.peek_for(5ms) == 1);
        CHECK(*queue.try_peek() == 1);
        CHECK(queue.full());
        CHECK_FALSE(queue.put(2, 5ms));
        CHECK(queue.get() == 1);
    });
}

TEST_CASE("queue: all who peek see an item, and then the getter takes it", "[core][queue]") {
    const bool getter_first = GENERATE(true, false);
    run_green([getter_first] {
        green::Queue<std::string> queue;
        std::vector<std::string> log;
        const auto get = [&] { log.push_back("got " + queue.get()); };
        const auto peek = [&] { log.push_back("saw " + queue.peek()); };
        if (getter_first) green::spawn(get);
        green::spawn(peek);
        green::spawn(peek);
        if (!getter_first) green::spawn(get);
        settle();
        queue.put("it");
        settle();
        CHECK(log == std::vector<std::string>{"saw it", "saw it", "got it"});
        CHECK(queue.empty());
    });
}

TEST_CASE("queue: who peeks waits on when somebody who did not wait was quicker", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue;
        auto looks = green::spawn([&] { return queue.peek(); });
        auto in_time = green::spawn([&] { return queue.peek_for(10ms) == nullptr; });
        green::yield();
        queue.put(1);
        CHECK(queue.get() == 1);
        settle();
        CHECK_FALSE(looks.ready());
        CHECK(queue.waiting_lookers() == 2);
        CHECK(in_time.get());
        queue.put(2);
        CHECK(looks.get() == 2);
        CHECK(queue.get() == 2);
    });
}

TEST_CASE("queue: a closed one refuses peeks when it is empty", "[core][queue]") {
    run_green([] {
        const tests::Errors errors;
        green::Queue<int> queue;
        auto looks = green::spawn([&] { return queue.peek(); });
        green::yield();
        queue.close();
        CHECK_THROWS_AS(looks.get(), green::Closed);
        CHECK_THROWS_AS(queue.try_peek(), green::Closed);
        CHECK_THROWS_AS(queue.peek_for(1ms), green::Closed);

        green::Queue<int> filled;
        filled.put(1);
        filled.close();
        CHECK(filled.peek() == 1);
        CHECK(*filled.try_peek() == 1);
    });
}
