#include <vector>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/lock.hpp>

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
