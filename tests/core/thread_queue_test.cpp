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

TEST_CASE("thread queue: who waits when it is destroyed gets an error, whatever it was promised",
          "[core][os]") {
    const bool promised = GENERATE(false, true);
    const bool hub_knows = GENERATE(false, true);
    CAPTURE(promised, hub_knows);
    run_green_for_real([&] {
        const tests::Errors errors;
        auto empty = std::make_unique<ThreadQueue<int>>(2);
        auto full = std::make_unique<ThreadQueue<int>>(2);
        full->put(1);
        full->put(2);
        int item = 3;
        auto gets = spawn([&] { return empty->get(); });
        settle();
        auto receives = spawn([&] { return std::get<0>(select(recv(*empty), after(1h))); });
        auto puts = spawn([&] { return full->put(item); });
        settle();
        auto sends = spawn([&] { return select(send(*full, item), after(1h)).index(); });
        auto looks = spawn([&] { return green::wait({*empty, *full}).size(); });
        settle();
        if (promised) {
            empty->put(1);
            empty->put(2);
            CHECK(full->get() == 1);
            CHECK(full->get() == 2);
        }
        const auto destroy = [&] {
            empty.reset();
            full.reset();
        };
        if (hub_knows) {
            HubRef{}.post(destroy);
        } else {
            destroy();
        }
        settle();
        CHECK_THROWS_AS(gets.get(), Closed);
        CHECK_THROWS_AS(receives.get(), Closed);
        CHECK_THROWS_AS(puts.get(), Closed);
        CHECK_THROWS_AS(sends.get(), Closed);
        CHECK_THROWS_AS(looks.get(), Closed);
        CHECK(item == 3);
        CHECK(errors.count() == 5);
    });
}

TEST_CASE("thread queue: next and loops end with the queue, and with their limit", "[core][os]") {
    run_green_for_real([] {
        ThreadQueue<int> queue{2};
        CHECK(queue.capacity() == 2);
        CHECK_FALSE(queue.next(1ms));
        queue.put(1);
        CHECK_FALSE(queue.full());
        queue.put(2);
        CHECK(queue.full());
        CHECK(queue.next(Deadline::passed()) == 1);
        std::vector<int> seen;
        auto loop = spawn([&] {
            for (const int item : queue) seen.push_back(item);
        });
        std::thread thread{[&] {
            for (const int item : {3, 4, 5}) queue.put(item);
            queue.close();
        }};
        loop.join();
        thread.join();
        CHECK(seen == std::vector{2, 3, 4, 5});
        CHECK_FALSE(queue.next());
    });
}

TEST_CASE("thread queue: of several operations one is done and the others leave no trace",
          "[core][os]") {
    run_green_for_real([] {
        ThreadQueue<int> filled{2};
        ThreadQueue<int> full{1};
        Event stopped;
        int item = 7;
        full.put(1);
        CHECK(select(recv(filled), send(full, item), after(1ms)).index() == 2);
        CHECK(filled.waiting_getters() == 0);
        CHECK(full.waiting_putters() == 0);
        filled.put(3);
        const auto got = select(send(full, item), recv(filled), stopped);
        REQUIRE(got.index() == 1);
        CHECK(std::get<1>(got) == 3);
        CHECK(filled.empty());
        CHECK(full.size() == 1);

        auto receiver = spawn([&] { return std::get<0>(select(recv(filled), stopped)); });
        auto sender = spawn([&] { return select(send(full, item), stopped).index(); });
        settle();
        std::thread thread{[&] {
            CHECK(full.get() == 1);
            filled.put(9);
        }};
        CHECK(receiver.get() == 9);
        CHECK(sender.get() == 0);
        thread.join();
        CHECK(full.get() == 7);
        CHECK(full.put(8, Deadline::passed()));  // all room is there
        CHECK(full.try_get() == 8);
    });
}

TEST_CASE("thread queue: what an operation was promised goes to the next one when it loses or dies",
          "[core][os]") {
    const bool dies = GENERATE(false, true);
    CAPTURE(dies);
    run_green_for_real([&] {
        ThreadQueue<int> queue{1};
        Event other;
        auto first = spawn([&] { return select(recv(queue), other).index(); });
        settle();
        auto next = spawn([&] { return queue.get(); });
        settle();
        queue.put(7);  // promised to the first, whose hub has not heard of it
        if (dies) {
            first.kill_soon();
        } else {
            other.set();
        }
        CHECK(next.get() == 7);
        if (!dies) CHECK(first.get() == 1);

        queue.put(1);
        int item = 2;
        other.clear();
        first = spawn([&] { return select(send(queue, item), other).index(); });
        settle();
        auto later = spawn([&] { return queue.put(3); });
        settle();
        CHECK(queue.get() == 1);
        if (dies) {
            first.kill_soon();
        } else {
            other.set();
        }
        CHECK(queue.get() == 3);
        CHECK(later.get());
        CHECK(queue.put(4, Deadline::passed()));
    });
}

TEST_CASE("thread queue: an operation on a closed one throws, and takes what is left before",
          "[core][os]") {
    run_green_for_real([] {
        ThreadQueue<int> queue{2};
        Event other;
        queue.put(1);
        int item = 2;
        queue.close();
        CHECK_THROWS_AS(select(send(queue, item), other), Closed);
        CHECK(std::get<0>(select(recv(queue), other)) == 1);
        CHECK_THROWS_AS(select(recv(queue), other), Closed);
        CHECK(item == 2);
    });
}

TEST_CASE("thread queue: its node fires when an item can be had or it has ended, and takes nothing",
          "[core][os]") {
    run_green_for_real([] {
        ThreadQueue<int> queue{1};
        CHECK(green::wait({queue}, {.deadline = 1ms}).empty());
        auto looker = spawn([&] { return green::wait({queue}).size(); });
        auto killed = spawn([&] { green::wait({queue}); });
        settle();
        CHECK(killed.kill());
        std::thread thread{[&] { queue.put(1); }};
        CHECK(looker.get() == 1);
        thread.join();
        CHECK(green::wait({queue, queue}).size() == 2);
        CHECK(queue.try_get() == 1);
        CHECK(green::wait({queue}, {.deadline = Deadline::passed()}).empty());

        // An item that a getter takes is no news.
        auto getter = spawn([&] { return queue.get(); });
        settle();
        looker = spawn([&] { return green::wait({queue}).size(); });
        settle();
        queue.put(2);
        CHECK(getter.get() == 2);
        settle();
        CHECK_FALSE(looker.ready());
        queue.close();
        CHECK(looker.get() == 1);
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
