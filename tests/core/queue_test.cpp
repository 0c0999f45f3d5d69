#include <functional>
#include <memory>
#include <string>
#include <utility>
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
    CHECK_THROWS_AS((green::Queue<int>{2, {1, 2, 3}}), green::UsageError);
}

TEST_CASE("queue: begins with the items it is given", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue{3, {1, 2, 3}};
        CHECK(queue.full());
        CHECK(queue.get() == 1);
        CHECK(queue.get() == 2);
        CHECK(queue.get() == 3);
    });
}

TEST_CASE("queue: keeps the order while its buffer grows and goes round", "[core][queue]") {
    run_green([] {
        green::Queue<std::unique_ptr<int>> queue;
        int put = 0;
        int got = 0;
        bool in_order = true;
        for (int round = 1; round < 50; ++round) {
            for (int i = 0; i < round; ++i) queue.put(std::make_unique<int>(put++));
            for (int i = 0; i < round / 2; ++i) in_order &= *queue.get() == got++;
        }
        CHECK(queue.size() == static_cast<std::size_t>(put - got));
        while (const auto item = queue.try_get()) in_order &= **item == got++;
        CHECK(in_order);
        CHECK(got == put);
    });
}

TEST_CASE("queue: items left in it are destroyed with it", "[core][queue]") {
    run_green([] {
        auto item = std::make_shared<int>(1);
        {
            green::Queue<std::shared_ptr<int>> queue;
            for (int i = 0; i < 20; ++i) queue.put(item);
            for (int i = 0; i < 5; ++i) CHECK(queue.get() == item);
            CHECK(item.use_count() == 16);
        }
        CHECK(item.use_count() == 1);
    });
}

TEST_CASE("queue: who was woken by one that goes before he runs gets Closed", "[core][queue]") {
    run_green([] {
        auto queue = std::make_unique<green::Queue<int>>(1);
        auto& its = *queue;
        SECTION("a getter") {
            auto getter = green::spawn([&] { return its.get(); });
            auto peeker = green::spawn([&] { return its.peek(); });
            settle();
            its.put(1);
            SECTION("while it was open") {}
            SECTION("after a hard end") { its.close_now(); }
            queue.reset();
            CHECK_THROWS_AS(getter.get(), green::Closed);
            CHECK_THROWS_AS(peeker.get(), green::Closed);
        }
        SECTION("a putter") {
            its.put(1);
            auto putter = green::spawn([&] { its.put(2); });
            settle();
            CHECK(its.get() == 1);
            SECTION("while it was open") {}
            SECTION("after its end") { its.close(); }
            queue.reset();
            CHECK_THROWS_AS(putter.get(), green::Closed);
        }
        SECTION("one that is killed") {
            auto getter = green::spawn([&] { its.get(); });
            settle();
            its.put(1);
            getter.kill_soon();
            queue.reset();
            settle();
            CHECK(getter.ready());
        }
    });
}

TEST_CASE("queue: who was told of its end needs it no more", "[core][queue]") {
    run_green([] {
        auto queue = std::make_unique<green::Queue<int>>(1);
        auto& its = *queue;
        auto loop = green::spawn([&] {
            for (const int item : its) FAIL("got " << item);
            return true;
        });
        auto getter = green::spawn([&] { its.get(); });
        auto killed = green::spawn([&] { its.get(); });
        settle();
        its.close();
        killed.kill_soon();
        queue.reset();
        CHECK(loop.get());
        CHECK_THROWS_AS(getter.get(), green::Closed);

        queue = std::make_unique<green::Queue<int>>(1);
        auto& full = *queue;
        full.put(1);
        auto putter = green::spawn([&] { full.put(2); });
        settle();
        full.close();
        queue.reset();
        CHECK_THROWS_AS(putter.get(), green::Closed);
    });
}

namespace {

/// Does something when it is destroyed, but not when it was moved from.
struct LastWill {
    explicit LastWill(std::function<void()> what) : will{std::move(what)} {}
    LastWill(LastWill&& other) noexcept : will{std::exchange(other.will, {})} {}
    LastWill& operator=(LastWill&& other) noexcept {
        std::swap(will, other.will);
        return *this;
    }
    ~LastWill() {
        if (will) will();
    }
    bool operator<(const LastWill&) const { return false; }
    std::function<void()> will;
};

}  // namespace

TEMPLATE_TEST_CASE("queue: an item that is dropped may come back to it", "[core][queue]",
                   green::Queue<LastWill>, green::LifoQueue<LastWill>,
                   green::PriorityQueue<LastWill>) {
    run_green([] {
        TestType queue;
        int dropped = 0;
        for (int i = 0; i < 20; ++i) {
            queue.put(LastWill{[&] {
                ++dropped;
                queue.close_now();
            }});
        }
        queue.close_now();
        CHECK(dropped == 20);
        CHECK(queue.empty());
    });
}

TEST_CASE("queue: what killed getters were promised keeps its order", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue;
        auto first = green::spawn([&] { queue.get(); });
        auto second = green::spawn([&] { queue.get(); });
        green::yield();
        for (int i = 1; i <= 3; ++i) queue.put(i);
        first.kill_soon();
        second.kill_soon();
        settle();
        CHECK(queue.size() == 3);
        for (int i = 1; i <= 3; ++i) CHECK(queue.get() == i);
    });
}

TEST_CASE("queue: who comes when an item is promised does not overtake", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue;
        auto waited = green::spawn([&] { return queue.get(); });
        green::yield();
        queue.put(1);
        CHECK(queue.empty());
        CHECK_FALSE(queue.try_get().has_value());
        CHECK(queue.try_peek() == nullptr);
        queue.put(2);
        CHECK(queue.size() == 1);
        CHECK(*queue.try_peek() == 2);
        CHECK(queue.get() == 2);
        CHECK(waited.get() == 1);
    });
}

TEST_CASE("queue: a promised item takes up no room", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue{1};
        auto getter = green::spawn([&] { return queue.get(); });
        green::yield();
        CHECK(queue.try_put(1));
        CHECK_FALSE(queue.full());
        CHECK(queue.try_put(2));
        CHECK(queue.full());
        CHECK_FALSE(queue.try_put(3));
        CHECK(getter.get() == 1);
        CHECK(queue.get() == 2);
    });
}

TEST_CASE("queue: an item that comes back may be one too many for a while", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue{1};
        auto getter = green::spawn([&] { queue.get(); });
        green::yield();
        queue.put(1);
        queue.put(2);
        auto putter = green::spawn([&] { queue.put(3); });
        getter.kill_soon();
        settle();
        CHECK(queue.size() == 2);
        CHECK_FALSE(putter.ready());
        CHECK(queue.get() == 1);
        settle();
        CHECK_FALSE(putter.ready());
        CHECK(queue.get() == 2);
        CHECK(queue.get() == 3);
    });
}

TEST_CASE("queue: room is for the putter that has waited, not for who comes", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue{1};
        queue.put(1);
        auto putter = green::spawn([&] { queue.put(2); });
        green::yield();
        CHECK(queue.get() == 1);
        CHECK(queue.full());
        CHECK_FALSE(queue.try_put(9));
        settle();
        CHECK(putter.ready());
        CHECK(queue.get() == 2);
    });
}

TEST_CASE("queue: more capacity wakes putters, less leaves what is there", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue{1};
        queue.put(0);
        std::vector<int> done;
        for (int i = 1; i <= 3; ++i) {
            green::spawn([&, i] {
                queue.put(i);
                done.push_back(i);
            });
        }
        settle();
        queue.set_capacity(3);
        CHECK(queue.capacity() == 3);
        settle();
        CHECK(done == std::vector{1, 2});
        CHECK(queue.waiting_putters() == 1);

        queue.set_capacity(1);
        CHECK(queue.size() == 3);
        CHECK(queue.get() == 0);
        CHECK(queue.get() == 1);
        settle();
        CHECK(done == std::vector{1, 2});
        CHECK(queue.get() == 2);
        settle();
        CHECK(done == std::vector{1, 2, 3});
        CHECK(queue.get() == 3);
        CHECK_THROWS_AS(queue.set_capacity(0), green::UsageError);
        CHECK(queue.capacity() == 1);
    });
}

TEST_CASE("queue: a limit that was made before is what is left of it, and a scope may be one",
          "[core][queue]") {
    run_green([] {
        green::Queue<int> queue;
        const auto begin = green::now();
        const green::Deadline limit{10ms};
        green::sleep(4ms);
        CHECK_FALSE(queue.get_for(limit));
        CHECK(green::now() - begin == 10ms);
        CHECK(queue.peek_for(limit) == nullptr);
        CHECK(green::now() - begin == 10ms);
        const green::TimeoutScope scope{5ms};
        try {
            (void)queue.get_for(scope);
            FAIL("the scope's limit was not the call's");
        } catch (const green::Timeout& timeout) {
            CHECK(scope.owns(timeout));
        }
        CHECK(queue.waiting_getters() == 0);
    });
}

TEST_CASE("queue: next gives nothing at the end or when its time is over", "[core][queue]") {
    run_green([] {
        green::Queue<int> queue;
        CHECK_FALSE(queue.next(5ms).has_value());
        queue.put(1);
        CHECK(queue.next() == 1);
        auto waits = green::spawn([&] { return queue.next().has_value(); });
        green::yield();
        queue.close();
        CHECK_FALSE(waits.get());
        CHECK_FALSE(queue.next().has_value());
    });
}
