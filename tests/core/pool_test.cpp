#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/pool.hpp>
#include <green/shield.hpp>
#include <green/timeout.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

namespace {

void nap() { green::sleep(10ms); }

}  // namespace

TEST_CASE("pool: spawn waits for room, which is free when get returns", "[core][pool]") {
    run_green([] {
        green::Pool pool{2};
        const auto begin = green::now();
        auto first = pool.spawn(nap);
        pool.spawn([] { green::sleep(1h); });
        CHECK(pool.full());
        CHECK(pool.free_count() == 0);
        auto third = pool.spawn([] { return 3; });
        CHECK(green::now() - begin == 10ms);
        CHECK(first.ready());
        CHECK(pool.size() == 2);
        CHECK(third.get() == 3);
        CHECK(pool.free_count() == 1);
    });
}

TEST_CASE("pool: those who wait for room are served in the order in which they came",
          "[core][pool]") {
    run_green([] {
        green::Pool pool{1};
        std::vector<int> order;
        const auto note = [&](int i) {
            order.push_back(i);
            nap();
        };
        pool.spawn(note, 0);
        auto one = green::spawn([&] { pool.spawn(note, 1); });
        green::yield();
        pool.apply_async(note, 2);
        auto three = green::spawn([&] { pool.apply(note, 3); });
        auto four = green::spawn([&] { CHECK(pool.start(green::deferred(note, 4))); });
        green::yield();
        pool.apply_async(note, 5);
        CHECK(pool.join());
        CHECK(three.ready());
        CHECK(order == std::vector{0, 1, 2, 3, 4, 5});
    });
}

TEST_CASE("pool: room that a killed waiter was handed goes to the next", "[core][pool]") {
    run_green([] {
        green::Pool pool{1};
        auto holder = pool.spawn(nap);
        auto first = green::spawn([&] { pool.spawn([] { FAIL("never runs"); }); });
        bool second_ran = false;
        auto second = green::spawn([&] { pool.spawn([&] { second_ran = true; }); });
        green::yield();
        holder.kill_soon();
        green::spawn([&] { first.kill_soon(); });  // after the holder's end, before first is back
        settle();
        CHECK(first.ready());
        CHECK(second_ran);
        CHECK(pool.free_count() == 1);
    });
}

TEST_CASE("pool: a spawn that gives up has taken nothing", "[core][pool]") {
    run_green([] {
        green::Pool pool{1};
        pool.spawn([] { green::sleep(1h); });
        auto box = std::make_unique<int>(1);
        const auto take = [](std::unique_ptr<int> taken) { return *taken; };
        CHECK_FALSE(pool.try_spawn(take, std::move(box)));
        CHECK(box);
        CHECK_FALSE(pool.spawn_for(5ms, take, std::move(box)));
        CHECK(box);
        CHECK_FALSE(green::with_timeout(5ms, [&] { pool.spawn(take, std::move(box)); }));
        CHECK(box);
        CHECK(pool.kill().empty());
        CHECK(pool.try_spawn(take, std::move(box))->get() == 1);
        CHECK(pool.spawn_for(5ms, [] { return 2; })->get() == 2);
        CHECK(pool.free_count() == 1);
    });
}

TEST_CASE("pool: who is not taken in keeps running, and no room is lost", "[core][pool]") {
    run_green([] {
        green::Pool pool{1};
        auto holder = pool.spawn([] { green::sleep(20ms); });
        auto brief = green::spawn(nap);
        CHECK_FALSE(pool.add(brief, 5ms));
        CHECK_FALSE(brief.ready());
        CHECK_FALSE(pool.add(brief));  // ends while it waits for room
        CHECK(holder.ready());
        CHECK(pool.free_count() == 1);
        auto fresh = green::deferred([] { return 1; });
        pool.spawn(nap);
        CHECK_FALSE(pool.start(fresh, 1ms));
        CHECK_FALSE(fresh.started());
        CHECK(pool.start(fresh));
        CHECK(fresh.get() == 1);
        CHECK(pool.free_count() == 1);
    });
}

TEST_CASE("pool: a greenlet takes room once, however many add it", "[core][pool]") {
    run_green([] {
        green::Pool pool{2};
        auto holder = pool.spawn(nap);
        auto other = pool.spawn(nap);
        auto greenlet = green::spawn([] { green::sleep(1h); });
        auto one = green::spawn([&] { CHECK(pool.add(greenlet)); });
        auto two = green::spawn([&] { CHECK(pool.add(greenlet)); });
        CHECK(one.join());
        CHECK(two.join());
        CHECK(pool.size() == 1);
        CHECK(pool.free_count() == 1);
        CHECK(pool.add(greenlet, green::Deadline::passed()));
    });
}

TEST_CASE("pool: with a limit of 0 it is always full", "[core][pool]") {
    run_green([] {
        green::Pool pool{0};
        CHECK(pool.full());
        CHECK_FALSE(pool.try_spawn(nap));
        CHECK_FALSE(pool.wait_available(1ms));
        auto call = pool.apply_async([] { return 1; });
        green::sleep(1ms);
        CHECK_FALSE(call.ready());
        auto lazy = pool.imap([](int a) { return a; }, std::vector{7});
        green::sleep(1ms);
        pool.set_limit(1);
        CHECK(call.get() == 1);
        CHECK(lazy.next() == 7);
    });
}

TEST_CASE("pool: without a limit it is never full", "[core][pool]") {
    run_green([] {
        green::Pool pool;
        CHECK(pool.limit() == green::Pool::unlimited);
        for (int i = 0; i < 1000; ++i) CHECK(pool.try_spawn(nap));
        CHECK_FALSE(pool.full());
        CHECK(pool.free_count() == green::Pool::unlimited);
        pool.set_limit(999);
        CHECK(pool.full());
        CHECK(pool.join());
        CHECK(pool.free_count() == 999);
    });
}

TEST_CASE("pool: the limit can grow and shrink", "[core][pool]") {
    run_green([] {
        green::Pool pool{1};
        std::vector<green::Greenlet<void>> crew;
        crew.push_back(pool.spawn(nap));
        for (int i = 0; i < 3; ++i) {
            green::spawn([&] { crew.push_back(pool.spawn([] { green::sleep(1h); })); });
        }
        green::yield();
        pool.set_limit(3);
        green::yield();
        CHECK(pool.size() == 3);
        pool.set_limit(1);
        CHECK(pool.full());
        CHECK(crew.front().join());
        settle();
        CHECK(pool.size() == 2);  // one more still waits: nobody comes in above the limit
        CHECK(crew.at(1).kill());
        settle();
        CHECK(pool.size() == 1);
        CHECK(crew.at(2).kill());
        settle();
        CHECK(crew.size() == 4);
        CHECK(pool.size() == 1);
        CHECK(pool.kill().empty());
        CHECK(pool.free_count() == 1);
    });
}

TEST_CASE("pool: discarding a member frees its room though it runs on", "[core][pool]") {
    run_green([] {
        green::Pool pool{1};
        auto member = pool.spawn(nap);
        bool next_ran = false;
        auto next = green::spawn([&] { pool.apply([&] { next_ran = true; }); });
        green::yield();
        CHECK(pool.discard(member));
        settle();
        CHECK(next_ran);
        CHECK(pool.free_count() == 1);
        CHECK(member.join());
        CHECK(pool.free_count() == 1);
    });
}

TEST_CASE("pool: wait_available takes no room and passes it on", "[core][pool]") {
    run_green([] {
        green::Pool pool{1};
        {
            const green::NoSwitch fence{"there is room"};
            CHECK(pool.wait_available());
        }
        pool.spawn(nap);
        CHECK_FALSE(pool.wait_available(1ms));
        bool available = false;
        bool ran = false;
        auto watcher = green::spawn([&] { available = pool.wait_available(); });
        auto spawner = green::spawn([&] { pool.spawn([&] { ran = true; }); });
        green::sleep(20ms);
        CHECK(available);
        CHECK(ran);
        CHECK(pool.free_count() == 1);
    });
}

TEST_CASE("pool: a spawn that fails gives its room back", "[core][pool]") {
    run_green([] {
        struct Unlucky {
            Unlucky() = default;
            Unlucky(const Unlucky&) { throw std::bad_alloc(); }
            void operator()() const {}
        };
        green::Pool pool{1};
        const Unlucky unlucky;
        CHECK_THROWS_AS(pool.spawn(unlucky), std::bad_alloc);
        CHECK_THROWS_AS(pool.try_spawn(unlucky), std::bad_alloc);
        CHECK_THROWS_AS(pool.apply(unlucky), std::bad_alloc);
        CHECK_THROWS_AS(pool.apply_async(unlucky), std::bad_alloc);
        CHECK(pool.free_count() == 1);
        CHECK(pool.empty());
    });
}

TEST_CASE("pool: killing a member that never ran frees its room", "[core][pool]") {
    run_green([] {
        green::Pool pool{1};
        auto member = pool.spawn([] { FAIL("never runs"); });
        member.kill_soon();
        CHECK(pool.free_count() == 1);
    });
}

TEST_CASE("pool: an error handler that throws costs no room", "[core][pool]") {
    run_green([] {
        green::set_error_handler(
            [](const green::ErrorReport&) { throw std::logic_error("the handler"); });
        green::Pool pool{1};
        for (int i = 0; i < 3; ++i) {
            CHECK_THROWS_WITH(pool.apply([] { throw std::runtime_error("boom"); }), "boom");
            CHECK(pool.free_count() == 1);
        }
        green::set_error_handler({});
    });
}

TEST_CASE("pool: calls in line are members that joining waits for and killing ends",
          "[core][pool]") {
    run_green([] {
        green::Pool pool{1};
        pool.spawn(nap);
        int ran = 0;
        std::vector<green::Greenlet<void>> calls;
        for (int i = 0; i < 3; ++i) {
            calls.push_back(pool.apply_async([&] {
                ++ran;
                nap();
            }));
        }
        CHECK(pool.size() == 4);
        CHECK(pool.contains(calls[0]));
        calls[1].kill_soon();  // leaves the line at once
        CHECK(calls[1].ready());
        CHECK(pool.size() == 3);
        green::sleep(15ms);
        CHECK(ran == 1);
        CHECK(pool.discard(calls[2]));  // and will never start
        CHECK(pool.join());
        CHECK(ran == 1);
        CHECK_FALSE(calls[2].started());
        pool.spawn(nap);
        auto last = pool.apply_async([&] { ++ran; });
        CHECK(pool.kill().empty());
        CHECK(last.successful());
        CHECK(ran == 1);
        CHECK(pool.free_count() == 1);
    });
}

TEST_CASE("pool: who waits for room in a pool that goes gets Closed", "[core][pool]") {
    run_green([] {
        std::vector<std::string> ends;
        auto pool = std::make_unique<green::Pool>(1);
        pool->spawn([] { green::sleep(1h); });
        for (int i = 0; i < 2; ++i) {
            green::spawn([&] {
                try {
                    pool->spawn(nap);
                } catch (const green::Closed&) {
                    ends.emplace_back("closed");
                }
            });
        }
        green::yield();
        pool.reset();
        settle();
        CHECK(ends == std::vector<std::string>{"closed", "closed"});
        pool = std::make_unique<green::Pool>(0);
        green::spawn([&] { CHECK_THROWS_AS(pool->spawn(nap), green::Closed); });
        green::yield();
        pool.reset();
        settle();
    });
}

TEST_CASE("pool: room that comes free just before the pool goes is not used any more",
          "[core][pool]") {
    run_green([] {
        std::optional<green::Pool> pool{std::in_place, 1};
        auto member = green::spawn([] { green::sleep(1h); });
        pool->add(member);
        auto spawner = green::spawn([&] { pool->spawn([] {}); });
        green::yield();
        CHECK(pool->discard(member));
        pool.emplace(1);
        CHECK_THROWS_AS(spawner.get(), green::Closed);
        CHECK(pool->free_count() == 1);
        member.kill();
    });
}

TEST_CASE("pool: members may call into their own full pool", "[core][pool]") {
    run_green([] {
        green::Pool pool{1};
        CHECK(pool.apply(
                  [&] { return pool.apply([&] { return pool.apply([] { return 1; }); }); }) == 1);
        const auto begin = green::now();
        const auto values = pool.apply([&] {
            return pool.map(
                [&](int a) {
                    nap();
                    return a * pool.apply([] { return 2; });
                },
                std::vector{1, 2, 3});
        });
        CHECK(values == std::vector{2, 4, 6});
        CHECK(green::now() - begin == 30ms);  // one after the other: the caller lends its own room
        CHECK(pool.free_count() == 1);
    });
}

TEST_CASE("pool: a map runs as many calls at a time as there is room for", "[core][pool]") {
    run_green([] {
        green::Pool pool{3};
        int running = 0;
        int most = 0;
        const auto squares = pool.map(
            [&](int a) {
                most = std::max(most, ++running);
                nap();
                --running;
                return a * a;
            },
            std::vector{1, 2, 3, 4, 5, 6, 7});
        CHECK(squares == std::vector{1, 4, 9, 16, 25, 36, 49});
        CHECK(most == 3);
        CHECK(pool.free_count() == 3);
        auto handle = pool.map_async([](int) { nap(); }, std::vector{1, 2, 3, 4});
        CHECK(pool.free_count() == 3);
        CHECK(pool.join());
        CHECK(handle.ready());
    });
}

TEST_CASE("pool: an early failure in a map stops the rest from being begun", "[core][pool]") {
    run_green([] {
        const tests::Errors errors;
        green::Pool pool{2};
        int begun = 0;
        CHECK_THROWS_WITH(pool.map(
                              [&](int) {
                                  ++begun;
                                  nap();
                                  throw std::runtime_error("boom");
                              },
                              std::vector<int>(100)),
                          "boom");
        CHECK(begun == 2);
        CHECK(pool.free_count() == 2);
    });
}
