// The queues whose order is not that of the puts.
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/queue.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

namespace {

struct Job {
    int rank;
    std::string name;
    friend bool operator<(const Job& a, const Job& b) { return a.rank < b.rank; }
};

struct LowerPointee {
    bool operator()(const std::unique_ptr<int>& a, const std::unique_ptr<int>& b) const {
        return *a < *b;
    }
};

template <class Queue>
auto drained(Queue& queue) {
    std::vector<typename Queue::Item> items;
    while (auto item = queue.try_get()) items.push_back(std::move(*item));
    return items;
}

}  // namespace

TEST_CASE("priority queue: the lowest comes first", "[core][queue]") {
    run_green([] {
        green::PriorityQueue<int> queue;
        std::mt19937 random{1};
        std::vector<int> items;
        for (int i = 0; i < 200; ++i) items.push_back(static_cast<int>(random() % 50));
        for (const int item : items) queue.put(item);
        CHECK(queue.peek() == 0);
        std::sort(items.begin(), items.end());
        CHECK(drained(queue) == items);
    });
}

TEST_CASE("priority queue: equal ones keep the order in which they came", "[core][queue]") {
    run_green([] {
        green::PriorityQueue<Job> queue;
        for (int i = 0; i < 40; ++i) queue.put(Job{i % 2, std::to_string(i)});
        bool in_order = true;
        for (int rank : {0, 1}) {
            for (int i = rank; i < 40; i += 2) in_order &= queue.get().name == std::to_string(i);
        }
        CHECK(in_order);
    });
}

TEST_CASE("priority queue: the order can be given, items need only be movable", "[core][queue]") {
    run_green([] {
        green::PriorityQueue<int, std::greater<>> highest{green::Queue<int>::unbounded, {2, 3, 1}};
        CHECK(drained(highest) == std::vector{3, 2, 1});
        green::PriorityQueue<std::unique_ptr<int>, LowerPointee> queue;
        for (int i : {2, 3, 1}) queue.put(std::make_unique<int>(i));
        CHECK(**queue.try_peek() == 1);
        for (int i : {1, 2, 3}) CHECK(*queue.get() == i);
    });
}

TEST_CASE("priority queue: a getter takes the lowest there is when it runs", "[core][queue]") {
    run_green([] {
        green::PriorityQueue<int> queue;
        auto first = green::spawn([&] { return queue.get(); });
        auto second = green::spawn([&] { return queue.get(); });
        settle();
        queue.put(5);
        queue.put(1);
        queue.put(3);
        CHECK(queue.size() == 1);
        CHECK(first.get() == 1);
        CHECK(second.get() == 3);
        CHECK(queue.get() == 5);
    });
}

TEST_CASE("priority queue: a killed getter changes no order", "[core][queue]") {
    run_green([] {
        green::PriorityQueue<Job> queue;
        auto first = green::spawn([&] { queue.get(); });
        auto second = green::spawn([&] { queue.get(); });
        settle();
        for (const char* name : {"a", "b", "c"}) queue.put(Job{1, name});
        first.kill_soon();
        second.kill_soon();
        settle();
        for (const char* name : {"a", "b", "c"}) CHECK(queue.get().name == name);
    });
}

TEST_CASE("priority queue: a bounded one makes putters wait; order is of what is in it",
          "[core][queue]") {
    run_green([] {
        green::PriorityQueue<int> queue{2};
        queue.put(5);
        queue.put(6);
        auto putter = green::spawn([&] { return queue.put(1); });
        settle();
        CHECK_FALSE(putter.ready());
        CHECK_FALSE(queue.try_put(0));
        CHECK(queue.get() == 5);
        CHECK(putter.get());
        CHECK(drained(queue) == std::vector{1, 6});
    });
}

TEST_CASE("lifo queue: the newest comes first", "[core][queue]") {
    run_green([] {
        green::LifoQueue<int> queue{3, {1, 2}};
        queue.put(3);
        CHECK(queue.full());
        CHECK(queue.peek() == 3);
        CHECK(queue.get() == 3);
        queue.put(4);
        CHECK(drained(queue) == std::vector{4, 2, 1});
    });
}

TEST_CASE("lifo queue: a killed getter changes no order", "[core][queue]") {
    run_green([] {
        green::LifoQueue<std::string> queue;
        auto first = green::spawn([&] { queue.get(); });
        auto second = green::spawn([&] { queue.get(); });
        settle();
        for (const char* item : {"a", "b", "c"}) queue.put(item);
        first.kill_soon();
        second.kill_soon();
        settle();
        CHECK(drained(queue) == std::vector<std::string>{"c", "b", "a"});
    });
}

TEST_CASE("lifo queue: closing gives what is left, or drops it", "[core][queue]") {
    run_green([] {
        green::LifoQueue<int> left{3, {1, 2}};
        left.close();
        std::vector<int> items;
        for (const int item : left) items.push_back(item);
        CHECK(items == std::vector{2, 1});
        green::PriorityQueue<int> dropped{3, {1, 2}};
        dropped.close_now();
        CHECK_FALSE(dropped.next().has_value());
    });
}
