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

TEST_CASE("queue: get returns items in the order of their put", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue;
        for (int i = 0; i < 5; ++i) queue.put(i);
        for (int i = 0; i < 5; ++i) CHECK(queue.get() == i);
        CHECK(queue.empty());
    });
}

TEST_CASE("queue: a full one makes its putters wait, first come first served", "[core][queue]") {
    run_green([] {
        green::Queue<std::string> queue{2};
        std::vector<std::string> log;
        green::spawn([&] {
            for (const char* item : {"a", "b", "c"}) {
                queue.put(item);
                log.emplace_back(item);
            }
        });
        green::yield();
        CHECK(log == std::vector<std::string>{"a", "b"});
        CHECK(queue.get() == "a");
        green::yield();
        CHECK(log == std::vector<std::string>{"a", "b", "c"});
        CHECK(queue.get() == "b");
        CHECK(queue.get() == "c");
    });
}

TEST_CASE("queue: a put that gives up leaves the item with its caller", "[core][queue]") {
    run_green([] {
        green::Queue<std::unique_ptr<int>> queue{1};
        queue.put(std::make_unique<int>(1));
        auto item = std::make_unique<int>(2);
        CHECK_FALSE(queue.put(std::move(item), 20ms));
        CHECK_FALSE(queue.try_put(std::move(item)));
        REQUIRE(item != nullptr);
        CHECK(*queue.get() == 1);
        CHECK_FALSE(queue.try_get().has_value());
        CHECK(queue.put(std::move(item)));
        CHECK(*queue.get() == 2);
    });
}

TEST_CASE("queue: of two waiting getters one gives up and the other gets the item",
          "[core][queue]") {
    run_green([] {
        green::Queue<std::string> queue;
        auto gives_up = green::spawn([&] { return queue.get_for(50ms).has_value(); });
        auto stays = green::spawn([&] { return queue.get(); });
        green::sleep(100ms);
        queue.put("hi");
        CHECK_FALSE(gives_up.get());
        CHECK(stays.get() == "hi");
    });
}

TEST_CASE("queue: an item handed to a getter that is killed goes to the front again",
          "[core][queue]") {
    run_green([] {
        green::Queue<int> queue;
        auto first = green::spawn([&] { queue.get(); });
        green::yield();
        queue.put(1);       // handed over
        queue.put(2);       // stored
        first.kill_soon();  // before it could run
        settle();
        CHECK(first.successful());
        CHECK(queue.get() == 1);
        CHECK(queue.get() == 2);
    });
}

TEST_CASE("queue: room promised to a putter that is killed goes to the next", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue{1};
        queue.put(0);
        auto first = green::spawn([&] { queue.put(1); });
        auto second = green::spawn([&] { queue.put(2); });
        green::yield();
        CHECK(queue.get() == 0);
        first.kill_soon();
        settle();
        CHECK(second.ready());
        CHECK(queue.get() == 2);
        CHECK(queue.empty());
    });
}

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

TEST_CASE("queue: hub callbacks may put and get without waiting", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue{1};
        auto getter = green::spawn([&] { return queue.get(); });
        green::yield();
        const green::HubRef hub;
        hub.post([&] { CHECK(queue.try_put(10)); });
        CHECK(getter.get() == 10);

        queue.put(5);
        auto putter = green::spawn([&] { queue.put(6); });
        green::yield();
        std::vector<int> got;
        for (int turn = 0; turn < 3; ++turn) {
            hub.post([&] { got.push_back(queue.try_get().value_or(-1)); });
            settle();
        }
        CHECK(got == std::vector{5, 6, -1});
        CHECK(putter.ready());
    });
}

TEST_CASE("queue: no room is a mistake at construction", "[core][queue]") {
    CHECK_THROWS_AS(green::Queue<int>{0}, green::UsageError);
}
