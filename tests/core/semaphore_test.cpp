#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/lock.hpp>
#include <green/timeout.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("semaphore: a limit that passes takes nothing and leaves nobody behind",
          "[core][semaphore]") {
    run_green([] {
        green::Semaphore semaphore{0};
        CHECK_FALSE(semaphore.acquire(10ms));
        CHECK(semaphore.waiting() == 0);
        semaphore.release();
        CHECK(semaphore.permits() == 1);
    });
}

TEST_CASE("semaphore: who releases and takes again at once does not overtake",
          "[core][semaphore]") {
    run_green([] {
        green::Semaphore semaphore{1};
        std::vector<int> order;
        for (int i = 0; i < 3; ++i) {
            green::spawn([&, i] {
                for (int round = 0; round < 3; ++round) {
                    semaphore.acquire();
                    order.push_back(i);
                    semaphore.release();
                    green::yield();
                }
            });
        }
        CHECK(semaphore.acquire());
        green::yield();
        semaphore.release();
        settle();
        CHECK(order == std::vector{0, 1, 2, 0, 1, 2, 0, 1, 2});
    });
}

TEST_CASE("semaphore: between two turns of a waiter everybody else has exactly one",
          "[core][semaphore]") {
    run_green([] {
        green::Semaphore semaphore{1};
        std::vector<int> order;
        const auto hog = [&](int who) {
            for (int round = 0; round < 100; ++round) {
                semaphore.acquire();
                order.push_back(who);
                green::yield();  // the others come to stand in line
                semaphore.release();
            }
        };
        for (int who = 0; who < 3; ++who) green::spawn(hog, who);
        settle();
        REQUIRE(order.size() == 300);
        for (std::size_t i = 0; i < order.size(); ++i) REQUIRE(order[i] == static_cast<int>(i % 3));
        CHECK(semaphore.permits() == 1);
    });
}

TEST_CASE("semaphore: release tells how many permits are free now", "[core][semaphore]") {
    run_green([] {
        green::Semaphore semaphore{0};
        CHECK(semaphore.release() == 1);
        CHECK(semaphore.release() == 2);  // more than it began with
        CHECK(semaphore.try_acquire());
        CHECK(semaphore.try_acquire());
        auto waiter = green::spawn([&] { return semaphore.acquire(); });
        green::yield();
        CHECK(semaphore.release() == 0);  // it went to the waiter
        CHECK(waiter.get());
        CHECK_FALSE(semaphore.try_acquire());
    });
}

TEST_CASE("semaphore: a negative number of permits is refused", "[core][semaphore]") {
    const int negative = -1;
    CHECK_THROWS_AS(green::Semaphore(static_cast<std::size_t>(negative)), green::UsageError);
    CHECK_THROWS_AS(green::BoundedSemaphore(static_cast<std::size_t>(negative)), green::UsageError);
}

TEST_CASE("semaphore: a watcher in front is told and does not take the permit",
          "[core][semaphore]") {
    run_green([] {
        green::Semaphore semaphore{0};
        std::vector<std::string> log;
        const auto watch = [&](const char* name) {
            CHECK(semaphore.wait_available());
            log.push_back(name + std::string(" sees ") + std::to_string(semaphore.permits()));
        };
        green::spawn(watch, "first");
        green::spawn([&] {
            semaphore.acquire();
            log.emplace_back("taken");
        });
        auto last = green::spawn(watch, "last");
        green::yield();
        CHECK(semaphore.waiting() == 3);
        CHECK(semaphore.release() == 0);
        settle();
        // Told of a permit that another one had by the time it ran.
        CHECK(log == std::vector<std::string>{"first sees 0", "taken"});
        CHECK_FALSE(last.ready());
        CHECK(semaphore.release() == 1);
        settle();
        CHECK(log.back() == "last sees 1");
        CHECK(semaphore.permits() == 1);
    });
}

TEST_CASE("semaphore: waiting for a permit that is free does not switch, and leaves it there",
          "[core][semaphore]") {
    run_green([] {
        green::Semaphore semaphore{2};
        bool ran = false;
        green::spawn([&] { ran = true; });
        CHECK(semaphore.wait_available());
        CHECK(semaphore.wait_available(green::Deadline::passed()));
        green::Semaphore::Ready node{semaphore};
        CHECK(green::detail::park(node, green::Deadline::never()));
        CHECK_FALSE(ran);
        CHECK(semaphore.permits() == 2);
        settle();
    });
}

TEST_CASE("semaphore: a watcher whose limit passes or who is killed leaves nothing behind",
          "[core][semaphore]") {
    run_green([] {
        green::Semaphore semaphore{0};
        CHECK_FALSE(semaphore.wait_available(10ms));
        CHECK(semaphore.waiting() == 0);
        auto watcher = green::spawn([&] { semaphore.wait_available(); });
        green::yield();
        semaphore.release();
        watcher.kill();  // told, but not run yet
        CHECK(semaphore.permits() == 1);
        CHECK(semaphore.waiting() == 0);
    });
}

TEST_CASE("semaphore: a permit goes past those whose wait is over already", "[core][semaphore]") {
    run_green([] {
        green::Semaphore semaphore{0};
        bool taken = false;
        auto dies = green::spawn([&] { semaphore.acquire(); });
        auto gives_up =
            green::spawn([&] { return green::with_timeout(10ms, [&] { semaphore.acquire(); }); });
        auto takes = green::spawn([&] { taken = semaphore.acquire(); });
        green::yield();
        dies.kill_soon();  // has not run yet
        CHECK(semaphore.release() == 0);
        green::sleep(20ms);
        CHECK(gives_up.get());  // it was next in line and got the permit
        CHECK_FALSE(taken);
        semaphore.release();
        takes.join();
        CHECK(taken);
    });
}

TEST_CASE("semaphore: of two nodes in one wait only one takes a permit", "[core][semaphore]") {
    run_green([] {
        green::Semaphore left{0};
        green::Semaphore right{0};
        auto chooser = green::spawn([&] {
            green::Semaphore::Acquire a{left};
            green::Semaphore::Acquire b{right};
            const std::array<green::detail::WaitNode*, 2> both{&a, &b};
            CHECK(green::detail::park(both, green::Deadline::never()));
            return a.fired() ? 1 : 2;
        });
        green::yield();
        right.release();
        left.release();
        CHECK(chooser.get() == 2);
        CHECK(right.permits() == 0);
        CHECK(left.permits() == 1);
        CHECK(left.waiting() == 0);

        // One that is free when the wait begins is taken at once.
        green::Semaphore::Ready ready{right};
        green::Semaphore::Acquire acquire{left};
        const std::array<green::detail::WaitNode*, 2> both{&ready, &acquire};
        CHECK(green::detail::park(both, green::Deadline::never()));
        CHECK(acquire.fired());
        CHECK_FALSE(ready.fired());
        CHECK(left.permits() == 0);
        CHECK(right.waiting() == 0);
    });
}

TEST_CASE("semaphore: who waits when it is destroyed gets an error", "[core][semaphore]") {
    run_green([] {
        const tests::Errors errors;
        auto semaphore = std::make_unique<green::Semaphore>(std::size_t{0});
        auto acquirer = green::spawn([&] { semaphore->acquire(); });
        auto watcher = green::spawn([&] { semaphore->wait_available(5ms); });
        auto killed = green::spawn([&] { semaphore->acquire(); });
        green::yield();
        killed.kill_soon();
        semaphore.reset();
        settle();
        CHECK_THROWS_AS(acquirer.get(), green::Closed);
        CHECK_THROWS_AS(watcher.get(), green::Closed);
        CHECK(killed.successful());  // the kill came first
        CHECK(errors.count() == 2);
    });
}

TEST_CASE("semaphore: a node that fired outweighs one that lost its source", "[core][semaphore]") {
    run_green([] {
        auto gone = std::make_unique<green::Semaphore>(std::size_t{0});
        green::Semaphore stays{0};
        auto chooser = green::spawn([&] {
            green::Semaphore::Ready a{*gone};
            green::Semaphore::Acquire b{stays};
            const std::array<green::detail::WaitNode*, 2> both{&a, &b};
            return green::detail::park(both, green::Deadline::never()) && b.fired();
        });
        green::yield();
        stays.release();
        gone.reset();
        CHECK(chooser.get());
        CHECK(stays.permits() == 0);
    });
}

TEST_CASE("semaphore: the permit of a killed waiter goes to the next", "[core][semaphore]") {
    run_green([] {
        green::Semaphore semaphore{0};
        bool second_has_it = false;
        auto first = green::spawn([&] { semaphore.acquire(); });
        auto second = green::spawn([&] { second_has_it = semaphore.acquire(); });
        green::yield();
        semaphore.release();  // handed to the first
        first.kill_soon();    // which dies before it runs
        settle();
        CHECK(first.successful());
        CHECK(second_has_it);
        CHECK(semaphore.permits() == 0);
    });
}

TEST_CASE("semaphore: a bounded one refuses a permit too many and keeps its count",
          "[core][semaphore]") {
    run_green([] {
        green::BoundedSemaphore semaphore{1};
        CHECK_THROWS_AS(semaphore.release(), green::UsageError);
        CHECK(semaphore.permits() == 1);
        CHECK(semaphore.try_acquire());
        CHECK_FALSE(semaphore.try_acquire());
        semaphore.release();
        CHECK(semaphore.permits() == 1);
    });
}

TEST_CASE("semaphore: waiting and watching work on a bounded one too", "[core][semaphore]") {
    run_green([] {
        green::BoundedSemaphore semaphore{1};
        CHECK(semaphore.wait_available());
        CHECK(semaphore.acquire());
        auto waiter = green::spawn([&] {
            green::BoundedSemaphore::Acquire node{semaphore};
            return green::detail::park(node, green::Deadline::never());
        });
        auto watcher = green::spawn([&] {
            green::BoundedSemaphore::Ready node{semaphore};
            return green::detail::park(node, green::Deadline::never());
        });
        green::yield();
        CHECK(semaphore.waiting() == 2);
        CHECK(semaphore.release() == 0);
        CHECK(waiter.get());
        CHECK_FALSE(watcher.ready());
        CHECK(semaphore.release() == 1);
        CHECK(watcher.get());
        CHECK_THROWS_AS(semaphore.release(), green::UsageError);
    });
}

TEST_CASE("semaphore: a dummy one always has a permit", "[core][semaphore]") {
    run_green([] {
        green::DummySemaphore semaphore;
        for (int i = 0; i < 3; ++i) CHECK(semaphore.acquire(green::Deadline::passed()));
        CHECK(semaphore.try_acquire());
        CHECK(semaphore.wait_available());
        CHECK(semaphore.release() == semaphore.permits());
        CHECK(semaphore.waiting() == 0);
        green::DummySemaphore::Acquire acquire{semaphore};
        CHECK(green::detail::park(acquire, green::Deadline::passed()));
    });
}
