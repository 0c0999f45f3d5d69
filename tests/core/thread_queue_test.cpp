#include <atomic>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "loop/ev_reactor.hpp"
#include "support/gate.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::run_green_for_real;
using tests::settle;
using tests::until;

TEST_CASE("thread queue: items come in order, and no more than there is room for", "[core][os]") {
    run_green_for_real([] {
        ThreadQueue<int> queue{2};
        CHECK(queue.empty());
        CHECK(queue.put(1));
        CHECK(queue.try_put(2));
        CHECK_FALSE(queue.try_put(3));
        CHECK_FALSE(queue.put(3, Deadline::passed()));
        CHECK_FALSE(queue.put(3, 1ms));
        CHECK(queue.size() == 2);
        auto putter = spawn([&] { return queue.put(3); });
        settle();
        CHECK(queue.waiting_putters() == 1);
        CHECK(queue.get() == 1);
        CHECK(putter.get());
        CHECK(queue.try_get() == 2);
        CHECK(queue.get_for(1ms) == 3);
        CHECK_FALSE(queue.try_get().has_value());
        CHECK_FALSE(queue.get_for(1ms).has_value());
        CHECK_THROWS_AS(queue.get(Deadline::passed()), Timeout);
        CHECK_THROWS_AS(ThreadQueue<int>{0}, UsageError);
        CHECK(ThreadQueue<int>{std::numeric_limits<std::size_t>::max()}.try_put(1));
    });
}

TEST_CASE("thread queue: from a hub to a thread and back", "[core][os]") {
    run_green_for_real([] {
        ThreadQueue<std::unique_ptr<int>> there{3};
        ThreadQueue<std::unique_ptr<int>> back{3};
        bool had_hub = true;
        std::thread other{[&] {
            try {
                for (;;) back.put(there.get());
            } catch (const Closed&) {
                back.close();
            }
            had_hub = detail::Hub::current_or_null() != nullptr;
        }};
        constexpr int items = 1000;
        auto putter = spawn([&] {
            for (int i = 0; i < items; ++i) there.put(std::make_unique<int>(i));
            there.close();
        });
        for (int i = 0; i < items; ++i) CHECK(*back.get() == i);
        CHECK_THROWS_AS(back.get(), Closed);
        putter.join();
        other.join();
        CHECK_FALSE(had_hub);
    });
}

TEST_CASE("thread queue: a put that fails leaves its item with the caller", "[core][os]") {
    run_green_for_real([] {
        ThreadQueue<std::unique_ptr<int>> queue{1};
        queue.put(std::make_unique<int>(1));
        auto item = std::make_unique<int>(2);
        CHECK_FALSE(queue.try_put(std::move(item)));
        REQUIRE(item);
        CHECK_FALSE(queue.put(std::move(item), 1ms));
        REQUIRE(item);
        auto killed = spawn([&] { queue.put(std::move(item)); });
        settle();
        killed.kill();
        REQUIRE(item);
        queue.close();
        CHECK_THROWS_AS(queue.put(std::move(item)), Closed);
        REQUIRE(item);
        CHECK_THROWS_AS(queue.try_put(std::move(item)), Closed);
        REQUIRE(item);
        CHECK(*queue.get() == 1);
    });
}

TEST_CASE(
    "thread queue: getters of several hubs and threads are served in the order of their coming",
    "[core][os]") {
    run_green_for_real([] {
        ThreadQueue<int> queue{10};
        std::vector<int> got(6, -1);
        std::vector<std::thread> threads;
        Group group;
        const auto get = [&](std::size_t i) { got[i] = queue.get(); };
        for (std::size_t i = 0; i < 6; ++i) {
            if (i % 3 == 0) {
                group.spawn(get, i);
                settle();
            } else if (i % 3 == 1) {
                threads.emplace_back(get, i);
            } else {
                threads.emplace_back([&get, i] { green::spawn(get, i).join(); });
            }
            until([&] { return queue.waiting_getters() == i + 1; });
        }
        // One at a time: what is promised to one is not taken by another.
        for (int i = 0; i < 6; ++i) {
            queue.put(i);
            CHECK_FALSE(queue.try_get().has_value());
            const auto index = static_cast<std::size_t>(i);
            if (i % 3 == 0) settle();
            until([&] { return queue.empty(); });
            CHECK(queue.waiting_getters() == 5 - index);
        }
        group.join();
        for (auto& thread : threads) thread.join();
        std::vector<int> expected(6);
        std::iota(expected.begin(), expected.end(), 0);
        CHECK(got == expected);
    });
}

TEST_CASE("thread queue: what a killed waiter was promised goes to the next one", "[core][os]") {
    const bool hub_knows = GENERATE(false, true);
    CAPTURE(hub_knows);
    run_green_for_real([&] {
        ThreadQueue<int> queue{1};
        auto victim = spawn([&] { queue.get(); });
        settle();
        auto next = spawn([&] { return queue.get(); });
        settle();
        queue.put(7);
        if (hub_knows) {
            HubRef{}.post([&] { victim.kill_soon(); });
        } else {
            victim.kill_soon();
        }
        CHECK(next.get() == 7);
        CHECK(victim.successful());

        queue.put(1);
        auto putter = spawn([&] { queue.put(2); });
        settle();
        auto later = spawn([&] { queue.put(3); });
        settle();
        CHECK(queue.get() == 1);
        if (hub_knows) {
            HubRef{}.post([&] { putter.kill_soon(); });
        } else {
            putter.kill_soon();
        }
        CHECK(queue.get() == 3);
        CHECK(putter.ready());
        later.join();
        CHECK(queue.put(4, Deadline::passed()));  // all room is there
    });
}

TEST_CASE("thread queue: closing refuses puts, and gives what is left", "[core][os]") {
    run_green_for_real([] {
        const tests::Errors errors;
        ThreadQueue<int> full{1};
        full.put(1);
        auto putter = spawn([&] { full.put(2); });
        ThreadQueue<int> empty{1};
        auto getter = spawn([&] { empty.get(); });
        std::thread thread{[&] { CHECK_THROWS_AS(empty.get(), Closed); }};
        settle();
        until([&] { return empty.waiting_getters() == 2; });
        full.close();
        empty.close();
        putter.join();
        getter.join();
        thread.join();
        CHECK_THROWS_AS(putter.get(), Closed);
        CHECK_THROWS_AS(getter.get(), Closed);
        CHECK(full.closed());
        CHECK(full.get() == 1);
        CHECK_THROWS_AS(full.get(), Closed);
        CHECK_THROWS_AS(full.try_get(), Closed);
        CHECK_THROWS_AS(full.get_for(1ms), Closed);
    });
}

TEST_CASE("thread queue: nothing is lost or doubled among hubs and threads, whoever dies waiting",
          "[core][os]") {
    constexpr int hubs = 3;
    constexpr int rounds = 60;
    ThreadQueue<int> queue{2};
    std::mutex mutex;
    std::multiset<int> put;
    std::multiset<int> got;
    const auto hub = [&](int number) {
        detail::Hub own{detail::make_ev_reactor()};
        std::mt19937_64 random{tests::seed() + static_cast<std::uint64_t>(number)};
        for (int round = 0; round < rounds; ++round) {
            std::vector<AnyGreenlet> players;
            for (int i = 0; i < 8; ++i) {
                const auto limit = std::chrono::microseconds(random() % 300);
                const int item = (number * rounds + round) * 8 + i;
                if (i % 2 == 0) {
                    players.push_back(spawn([&, limit, item] {
                        if (!queue.put(item, limit)) return;
                        const std::lock_guard lock{mutex};
                        put.insert(item);
                    }));
                } else {
                    players.push_back(spawn([&, limit] {
                        const auto taken = queue.get_for(limit);
                        if (!taken) return;
                        const std::lock_guard lock{mutex};
                        got.insert(*taken);
                    }));
                }
            }
            for (auto steps = random() % 3; steps > 0; --steps) yield();
            for (const auto& player : players) {
                if (random() % 4 == 0) player.kill_soon();
            }
            joinall(players);
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < hubs; ++i) threads.emplace_back(hub, i);
    threads.emplace_back([&] {  // and a thread without a hub
        for (int i = 0; i < 200; ++i) {
            const int item = -1 - i;
            if (queue.put(item, std::chrono::microseconds(100))) {
                const std::lock_guard lock{mutex};
                put.insert(item);
            }
            if (const auto other = queue.get_for(std::chrono::microseconds(100))) {
                const std::lock_guard lock{mutex};
                got.insert(*other);
            }
        }
    });
    for (auto& thread : threads) thread.join();
    while (const auto item = queue.try_get()) got.insert(*item);
    CHECK(got == put);
    CHECK(put.size() > 100);
    CHECK(queue.waiting_getters() == 0);
    CHECK(queue.waiting_putters() == 0);
    CHECK(queue.try_put(1));
    CHECK(queue.try_put(2));
    CHECK_FALSE(queue.try_put(3));
}
