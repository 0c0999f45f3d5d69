#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/latch.hpp>
#include <green/select.hpp>
#include <green/wait.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using Catch::Contains;
using tests::run_green;
using tests::settle;

TEST_CASE("latch: it opens at zero, once and for good", "[core][latch]") {
    run_green([] {
        green::Latch latch{3};
        auto waiter = green::spawn([&] { return latch.wait(); });
        latch.count_down(2);
        settle();
        CHECK_FALSE(waiter.ready());
        CHECK_FALSE(latch.try_wait());
        CHECK_FALSE(latch.wait(10ms));
        CHECK(latch.count() == 1);
        latch.count_down();
        CHECK(latch.try_wait());
        CHECK(waiter.get());
        CHECK(latch.wait(green::Deadline::passed()));
        CHECK(latch.waiting() == 0);
    });
}

TEST_CASE("latch: one that opens in the turn of a limit is open to who waited, though it has gone",
          "[core][latch]") {
    run_green([] {
        auto latch = std::make_unique<green::Latch>(1);
        // Runs when the limit has woken the waiter, and before that one.
        auto opener = green::spawn([&] {
            green::sleep(10ms);
            latch->count_down();
            latch.reset();
        });
        auto waiter = green::spawn([&its = *latch] { return its.wait(10ms); });
        CHECK(waiter.get());
        opener.join();
    });
}

TEST_CASE("latch: it cannot go below zero", "[core][latch]") {
    run_green([] {
        green::Latch latch{2};
        CHECK_THROWS_AS(latch.count_down(3), green::UsageError);
        CHECK(latch.count() == 2);
        latch.count_down(2);
        CHECK_THROWS_AS(latch.count_down(), green::UsageError);
        CHECK(green::Latch{0}.try_wait());
        const int negative = -1;
        CHECK_THROWS_AS(green::Latch(static_cast<std::size_t>(negative)), green::UsageError);
    });
}

TEST_CASE("latch: who arrives and waits goes on with the last, and a killed one has arrived",
          "[core][latch]") {
    run_green([] {
        green::Latch latch{3};
        auto killed = green::spawn([&] { latch.arrive_and_wait(); });
        auto stays = green::spawn([&] { return latch.arrive_and_wait(); });
        green::yield();
        killed.kill();
        CHECK(latch.count() == 1);
        CHECK_FALSE(stays.ready());
        CHECK(latch.arrive_and_wait(green::Deadline::passed()));
        CHECK(stays.get());
    });
}

TEST_CASE("latch: its node fires when it opens", "[core][latch]") {
    run_green([] {
        green::Latch latch{1};
        green::Latch::Ready node{latch};
        CHECK_FALSE(green::detail::park(node, 10ms));
        latch.count_down();
        CHECK(green::detail::park(node, green::Deadline::passed()));
    });
}

TEST_CASE("barrier: nobody goes on before the last has come, again and again", "[core][latch]") {
    run_green([] {
        constexpr int parties = 3;
        constexpr int rounds = 5;
        std::vector<int> log;
        int completions = 0;
        green::Barrier barrier{parties, [&] {
                                   CHECK(log.size() % parties == 0);
                                   ++completions;
                               }};
        for (int who = 0; who < parties; ++who) {
            green::spawn([&, who] {
                for (int round = 0; round < rounds; ++round) {
                    green::sleep(std::chrono::milliseconds(who));
                    log.push_back(round);
                    CHECK(barrier.arrive_and_wait());
                    CHECK(completions == round + 1);
                }
            });
        }
        green::sleep(1s);
        REQUIRE(log.size() == parties * rounds);
        for (std::size_t i = 0; i < log.size(); ++i) CHECK(log[i] == static_cast<int>(i) / parties);
        CHECK(barrier.waiting() == 0);
    });
}

TEST_CASE("barrier: who is killed or comes to his limit takes his arrival back", "[core][latch]") {
    run_green([] {
        green::Barrier barrier{3};
        auto killed = green::spawn([&] { barrier.arrive_and_wait(); });
        auto impatient = green::spawn([&] { return barrier.arrive_and_wait(10ms); });
        green::yield();
        CHECK(barrier.waiting() == 2);
        CHECK_THAT(green::hub_report(), Contains("a barrier, 1 missing"));
        killed.kill();
        CHECK_FALSE(impatient.get());
        CHECK(barrier.waiting() == 0);
        CHECK_FALSE(barrier.arrive_and_wait(green::Deadline::passed()));
        // It still takes three.
        auto one = green::spawn([&] { return barrier.arrive_and_wait(); });
        auto two = green::spawn([&] { return barrier.arrive_and_wait(); });
        settle();
        CHECK_FALSE(one.ready());
        CHECK(barrier.arrive_and_wait(green::Deadline::passed()));
        CHECK(one.get());
        CHECK(two.get());
    });
}

TEST_CASE("barrier: who is killed but has not left when the last comes was there",
          "[core][latch]") {
    run_green([] {
        green::Barrier barrier{2};
        auto killed = green::spawn([&] { barrier.arrive_and_wait(); });
        green::yield();
        killed.kill_soon();
        CHECK(barrier.arrive_and_wait(green::Deadline::passed()));
        settle();
        CHECK(killed.successful());
        CHECK_FALSE(barrier.arrive_and_wait(10ms));  // a new round, and it takes two
    });
}

TEST_CASE("barrier: who had not left when the last came leaves it alone: it may be gone",
          "[core][latch]") {
    run_green([] {
        auto barrier = std::make_unique<green::Barrier>(3);
        auto& its = *barrier;
        auto killed = green::spawn([&] { its.arrive_and_wait(); });
        // Runs when the limit has woken the other, and before that one.
        auto last = green::spawn([&] {
            green::sleep(10ms);
            killed.kill_soon();
            CHECK(its.arrive_and_wait(green::Deadline::passed()));
            barrier.reset();
        });
        auto limited = green::spawn([&] { return its.arrive_and_wait(10ms); });
        CHECK(limited.get());
        last.join();
        settle();
        CHECK(killed.ready());
    });
}

TEST_CASE("barrier: a completion that fails leaves the others waiting", "[core][latch]") {
    run_green([] {
        int fails = 2;
        green::Barrier barrier{
            2, [&] {
                if (fails == 2) throw std::runtime_error("not yet " + std::to_string(fails--));
                if (fails-- == 1) green::yield();
            }};
        auto other = green::spawn([&] { return barrier.arrive_and_wait(); });
        green::yield();
        CHECK_THROWS_AS(barrier.arrive_and_wait(), std::runtime_error);
        CHECK_THROWS_AS(barrier.arrive_and_wait(), green::BlockingInHub);
        CHECK(barrier.waiting() == 1);
        settle();
        CHECK_FALSE(other.ready());
        CHECK(barrier.arrive_and_wait());
        CHECK(other.get());
    });
}

TEST_CASE("barrier: a party that drops out is not waited for any more", "[core][latch]") {
    run_green([] {
        green::Barrier barrier{3};
        auto one = green::spawn([&] { return barrier.arrive_and_wait(); });
        auto two = green::spawn([&] { return barrier.arrive_and_wait(); });
        green::yield();
        barrier.arrive_and_drop();  // the last of this round
        CHECK(barrier.parties() == 2);
        CHECK(one.get());
        CHECK(two.get());

        barrier.arrive_and_drop();  // the first of the next
        CHECK(barrier.parties() == 1);
        CHECK(barrier.arrive_and_wait(green::Deadline::passed()));
        CHECK(barrier.arrive_and_wait(green::Deadline::passed()));
        barrier.arrive_and_drop();
        CHECK_THROWS_AS(barrier.arrive_and_wait(), green::UsageError);
        CHECK_THROWS_AS(barrier.arrive_and_drop(), green::UsageError);
        CHECK_THROWS_AS(green::Barrier{0}, green::UsageError);
    });
}

TEST_CASE("barrier: who waits when it is destroyed gets an error", "[core][latch]") {
    run_green([] {
        const tests::Errors errors;
        auto barrier = std::make_unique<green::Barrier>(std::size_t{2});
        auto waiter = green::spawn([&] { barrier->arrive_and_wait(); });
        green::yield();
        barrier.reset();
        settle();
        CHECK_THROWS_AS(waiter.get(), green::Closed);
    });
}

TEST_CASE("barrier: its node fires when all have arrived, again and again, and is no party",
          "[core][latch]") {
    run_green([] {
        green::Barrier barrier{2};
        green::Event other;
        CHECK(green::wait({barrier}, {.deadline = 10ms}).empty());
        auto looker = green::spawn([&] {
            for (int round = 0; round < 2; ++round) {
                if (green::select(barrier, other).index() != 0) return false;
            }
            return true;
        });
        for (int round = 0; round < 2; ++round) {
            CHECK_FALSE(barrier.arrive_and_wait(10ms));
            CHECK_FALSE(looker.ready());
            auto party = green::spawn([&] { return barrier.arrive_and_wait(); });
            green::yield();
            CHECK_THAT(green::hub_report(), Contains("or an event"));
            CHECK(barrier.waiting() == 1);
            CHECK(barrier.arrive_and_wait());
            CHECK(party.get());
        }
        CHECK(looker.get());
    });
}

TEST_CASE("barrier: who looks on leaves no trace, and gets Closed when the barrier goes",
          "[core][latch]") {
    run_green([] {
        auto barrier = std::make_unique<green::Barrier>(std::size_t{1});
        green::Event other;
        auto loser = green::spawn([&] { return green::select(*barrier, other).index(); });
        auto killed = green::spawn([&] { green::wait({*barrier}); });
        green::yield();
        other.set();
        CHECK(loser.get() == 1);
        CHECK(killed.kill());
        CHECK(barrier->arrive_and_wait());

        const tests::Errors errors;
        auto waiter = green::spawn([&] { green::wait({*barrier}); });
        green::yield();
        barrier.reset();
        CHECK_THROWS_AS(waiter.get(), green::Closed);
    });
}
