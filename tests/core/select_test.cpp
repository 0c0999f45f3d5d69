#include <memory>
#include <optional>
#include <random>
#include <set>

#include <catch2/catch.hpp>

#include <green/channel.hpp>
#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/joinall.hpp>
#include <green/lock.hpp>
#include <green/operation.hpp>
#include <green/queue.hpp>
#include <green/select.hpp>
#include <green/timeout.hpp>
#include <green/wait.hpp>

#include "support/run_green.hpp"
#include "support/schedules.hpp"

using namespace std::chrono_literals;
using tests::run_green;

TEST_CASE("select: does the first that can be done, in order of the arguments", "[core][select]") {
    run_green([] {
        green::Queue<int> a;
        green::Queue<std::string> b;
        b.put("x");
        a.put(1);
        const auto got = green::select(green::recv(a), green::recv(b));
        REQUIRE(got.index() == 0);
        CHECK(std::get<0>(got) == 1);
        CHECK(b.size() == 1);
        const auto next = green::select(green::recv(a), green::recv(b));
        CHECK(std::get<1>(next) == "x");
    });
}

TEST_CASE("select: with a passed time as the last it is a try", "[core][select]") {
    run_green([] {
        green::Queue<int> queue;
        const auto before = green::hub_figures().switches;
        CHECK(green::select(green::recv(queue), green::after(0s)).index() == 1);
        CHECK(green::hub_figures().switches == before);
        CHECK(queue.waiting_getters() == 0);
    });
}

TEST_CASE("select: a moment that has passed makes it a try too", "[core][select]") {
    run_green([] {
        bool other_ran = false;
        auto other = green::spawn([&] { other_ran = true; });
        const auto past = green::Deadline::at(green::now() - 1s);
        CHECK(green::select(green::after(past)).index() == 0);
        const auto present = green::Deadline::at(green::now());
        CHECK(green::select(green::after(present)).index() == 0);
        CHECK_FALSE(other_ran);
        other.join();
    });
}

TEST_CASE("select: waits for kinds of all sorts and leaves no trace in the others",
          "[core][select]") {
    run_green([] {
        green::Queue<int> queue;
        green::Queue<int> full{1};
        full.put(1);
        green::Event event;
        green::Semaphore semaphore{0};
        auto greenlet = green::spawn([] { green::sleep(1h); });
        int item = 2;
        auto chooser = green::spawn([&] {
            return green::select(green::recv(queue), green::send(full, item), event, greenlet,
                                 green::acquire(semaphore), green::after(1h))
                .index();
        });
        green::yield();
        CHECK(event.waiting() == 1);
        semaphore.release();
        CHECK(chooser.get() == 4);
        CHECK(semaphore.permits() == 0);
        CHECK(event.waiting() == 0);
        CHECK(queue.waiting_getters() == 0);
        CHECK(full.waiting_putters() == 0);
        CHECK(item == 2);
        CHECK(full.size() == 1);
        greenlet.kill();
    });
}

TEST_CASE("select: an item that is not sent stays with its owner", "[core][select]") {
    run_green([] {
        green::Queue<std::unique_ptr<int>> full{1};
        full.put(std::make_unique<int>(1));
        auto item = std::make_unique<int>(2);
        CHECK(green::select(green::send(full, item), green::after(1ms)).index() == 1);
        REQUIRE(item != nullptr);
        CHECK(**full.try_get() == 1);
        CHECK(green::select(green::send(full, item), green::after(1ms)).index() == 0);
        CHECK(item == nullptr);
        CHECK(*full.get() == 2);
    });
}

TEST_CASE("select: sending and receiving on one channel does not meet itself", "[core][select]") {
    run_green([] {
        green::Channel<int> channel;
        int mine = 1;
        CHECK(green::select(green::recv(channel), green::send(channel, mine), green::after(5ms))
                  .index() == 2);
        auto two = green::spawn([&] {
            int item = 7;
            return green::select(green::recv(channel), green::send(channel, item)).index();
        });
        green::yield();
        const auto got = green::select(green::recv(channel), green::send(channel, mine));
        CHECK(got.index() + two.get() == 1);  // one sent, the other received
    });
}

TEST_CASE("select: what came while a limit had woken it counts when that is taken back",
          "[core][select]") {
    run_green([] {
        green::Event event;
        std::optional<green::TimeoutScope> scope;
        // Runs when the limit has woken the other, and before that one.
        auto meanwhile = green::spawn([&] {
            green::sleep(10ms);
            event.set();
            event.clear();
            scope->restart(1h);
        });
        auto chooser = green::spawn([&] {
            scope.emplace(10ms);
            const std::size_t won = green::select(green::after(30ms), event).index();
            scope.reset();
            return won;
        });
        CHECK(chooser.get() == 1);
        meanwhile.join();
    });
}

TEST_CASE("select: what a closed queue throws comes out of it", "[core][select]") {
    run_green([] {
        green::Queue<int> queue;
        green::spawn([&] { queue.close(); });
        CHECK_THROWS_AS(green::select(green::recv(queue), green::after(1h)), green::Closed);
    });
}

TEST_CASE("select: random races conserve every item", "[core][select][schedules]") {
    run_green([&] {
        tests::for_each_schedule(tests::share::races, [](std::uint64_t seed) {
            std::mt19937_64 random{seed};
            const auto below = [&](unsigned bound) { return static_cast<int>(random() % bound); };
            green::Queue<int> queues[2] = {green::Queue<int>{1}, green::Queue<int>{2}};
            green::Channel<int> channel;
            std::multiset<int> sent;
            std::multiset<int> received;
            const auto play = [&](int player) {
                for (int turn = 0; turn < 10; ++turn) {
                    int item = player * 100 + turn;
                    int other = item + 50;
                    auto got = green::select(green::recv(queues[below(2)]),
                                             green::send(queues[below(2)], item),
                                             green::recv(channel), green::send(channel, other),
                                             green::after(std::chrono::milliseconds(below(3))));
                    if (got.index() == 0) received.insert(std::get<0>(got));
                    if (got.index() == 1) sent.insert(player * 100 + turn);
                    if (got.index() == 2) received.insert(std::get<2>(got));
                    if (got.index() == 3) sent.insert(player * 100 + turn + 50);
                    if (below(4) == 0) green::sleep(std::chrono::milliseconds(below(2)));
                }
            };
            std::vector<green::AnyGreenlet> players;
            for (int i = 0; i < 4; ++i) players.push_back(green::spawn(play, i));
            for (int i = below(3); i > 0; --i) {
                green::sleep(std::chrono::milliseconds(below(4)));
                players[static_cast<std::size_t>(below(4))].kill_soon();
            }
            green::joinall(players);
            for (auto& queue : queues) {
                while (const auto item = queue.try_get()) received.insert(*item);
                REQUIRE(queue.waiting_getters() == 0);
                REQUIRE(queue.waiting_putters() == 0);
            }
            REQUIRE(received == sent);
        });
    });
}
