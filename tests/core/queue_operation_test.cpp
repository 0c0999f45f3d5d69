// Queues among several things that are waited for at once.
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/queue.hpp>
#include <green/timeout.hpp>

#include "support/one_of.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("queue: of several operations one is done and the others leave no trace",
          "[core][queue]") {
    run_green([] {
        green::Queue<int> a;
        green::Queue<int> b;
        green::Queue<int> full{1, {0}};
        int item = 7;
        auto winner = green::spawn([&] {
            auto from_a = green::recv(a);
            auto from_b = green::recv(b);
            auto to_full = green::send(full, item);
            const std::size_t won =
                tests::one_of(green::Deadline::never(), from_a, from_b, to_full);
            CHECK(won == 1);
            return from_b.take();
        });
        settle();
        b.put(2);
        a.put(1);
        CHECK(full.get() == 0);
        CHECK(a.size() == 1);
        CHECK_FALSE(full.full());
        CHECK(winner.get() == 2);
        CHECK(item == 7);
        CHECK(a.get() == 1);
        CHECK(full.empty());
        CHECK(a.waiting_getters() + b.waiting_getters() + full.waiting_putters() == 0);
    });
}

TEST_CASE("queue: an operation that can be done at once is, and claims nothing before",
          "[core][queue]") {
    run_green([] {
        green::Queue<int> queue{1, {5}};
        int item = 6;
        {
            auto to = green::send(queue, item);
            auto from = green::recv(queue);
            REQUIRE(tests::one_of(green::Deadline::never(), to, from) == 1);
            CHECK(from.take() == 5);
            REQUIRE(tests::one_of(green::Deadline::never(), from, to) == 1);
            CHECK(queue.try_put(1));  // not taken yet: nothing was promised
            CHECK(queue.get() == 1);
            to.take();
        }
        CHECK(queue.get() == 6);
        auto from = green::recv(queue);
        CHECK(tests::one_of(green::Deadline::passed(), from) == tests::none);
    });
}

TEST_CASE("queue: a send that is killed with its room gives it to the next", "[core][queue]") {
    run_green([] {
        green::Queue<std::string> queue{1, {"a"}};
        std::string item = "mine";
        auto killed = green::spawn([&] {
            auto to = green::send(queue, item);
            tests::one_of(green::Deadline::never(), to);
        });
        auto next = green::spawn([&] { queue.put("b"); });
        settle();
        CHECK(queue.get() == "a");
        killed.kill_soon();
        settle();
        CHECK(next.ready());
        CHECK(item == "mine");
        CHECK(queue.get() == "b");
    });
}

TEST_CASE("queue: an operation on a closed one fires and throws when it is taken",
          "[core][queue]") {
    run_green([] {
        green::Queue<std::string> queue{1, {"left"}};
        std::string item = "mine";
        auto to = green::send(queue, item);
        auto closer = green::spawn([&] { queue.close(); });
        CHECK(tests::one_of(green::Deadline::never(), to) == 0);
        CHECK_THROWS_AS(to.take(), green::Closed);
        CHECK(item == "mine");
        auto from = green::recv(queue);
        CHECK(tests::one_of(green::Deadline::never(), from) == 0);
        CHECK(from.take() == "left");
        CHECK(tests::one_of(green::Deadline::never(), from) == 0);
        CHECK_THROWS_AS(from.take(), green::Closed);
    });
}

TEST_CASE("queue: ready means that an item can be had, or that it has ended", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue;
        auto getter = green::spawn([&] { return queue.get(); });
        auto waits = green::spawn([&] {
            green::Queue<int>::Ready ready{queue};
            CHECK_FALSE(green::detail::park(ready, 5ms));
            CHECK(green::detail::park(ready, green::Deadline::never()));
            CHECK(*queue.try_peek() == 2);
            CHECK(green::detail::park(ready, green::Deadline::never()));
            CHECK(queue.get() == 2);
            CHECK(green::detail::park(ready, green::Deadline::never()));
            return queue.closed();
        });
        green::sleep(10ms);
        queue.put(1);
        CHECK(getter.get() == 1);
        CHECK_FALSE(waits.ready());
        queue.put(2);
        settle();
        CHECK_FALSE(waits.ready());
        queue.close();
        CHECK(waits.get());
    });
}
