#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/joinall.hpp>
#include <green/mutex.hpp>
#include <green/timeout.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using Catch::Contains;
using tests::run_green;
using tests::settle;

TEST_CASE("mutex: one at a time, in the order in which they came", "[core][mutex]") {
    run_green([] {
        green::Mutex mutex;
        int inside = 0;
        std::vector<int> order;
        for (int who = 0; who < 4; ++who) {
            green::spawn([&, who] {
                const std::lock_guard guard{mutex};
                CHECK(++inside == 1);
                CHECK(mutex.owned());
                green::sleep(1ms);
                order.push_back(who);
                --inside;
            });
        }
        green::yield();
        CHECK(mutex.locked());
        CHECK_FALSE(mutex.owned());
        CHECK_FALSE(mutex.try_lock());
        CHECK(mutex.waiting() == 3);
        mutex.lock();
        mutex.unlock();
        CHECK(order == std::vector{0, 1, 2, 3});
        CHECK_FALSE(mutex.locked());
    });
}

TEST_CASE("mutex: who unlocks and locks again at once does not overtake", "[core][mutex]") {
    run_green([] {
        green::Mutex mutex;
        std::vector<int> order;
        const auto hog = [&](int who) {
            for (int round = 0; round < 50; ++round) {
                const std::lock_guard guard{mutex};
                order.push_back(who);
                green::yield();
            }
        };
        for (int who = 0; who < 3; ++who) green::spawn(hog, who);
        settle();
        REQUIRE(order.size() == 150);
        for (std::size_t i = 0; i < order.size(); ++i) REQUIRE(order[i] == static_cast<int>(i % 3));
    });
}

TEST_CASE("mutex: the guards of the standard library take it", "[core][mutex]") {
    run_green([] {
        green::Mutex a;
        green::Mutex b;
        {
            const std::scoped_lock both{a, b};
            CHECK(a.owned());
            CHECK(b.owned());
        }
        {
            std::unique_lock lock{a, std::try_to_lock};
            CHECK(lock.owns_lock());
            lock.unlock();
            lock.lock();
        }
        CHECK(a.lock(10ms));
        { const std::lock_guard guard{a, std::adopt_lock}; }
        CHECK_FALSE(a.locked());
        CHECK_FALSE(b.locked());
    });
}

TEST_CASE("mutex: two that take two in opposite order with one scoped_lock each both get them",
          "[core][mutex]") {
    run_green([] {
        green::Mutex a;
        green::Mutex b;
        int rounds = 0;
        const auto run = [&rounds](green::Mutex& first, green::Mutex& second) {
            for (int i = 0; i < 20; ++i) {
                const std::scoped_lock both{first, second};
                ++rounds;
                green::yield();
            }
        };
        green::joinall({green::spawn(run, std::ref(a), std::ref(b)),
                        green::spawn(run, std::ref(b), std::ref(a))});
        CHECK(rounds == 40);
    });
}

TEST_CASE("mutex: a limit that passes takes nothing", "[core][mutex]") {
    run_green([] {
        green::Mutex mutex;
        auto holder = green::spawn([&] {
            const std::lock_guard guard{mutex};
            green::sleep(20ms);
        });
        green::yield();
        CHECK_FALSE(mutex.lock(10ms));
        CHECK(mutex.waiting() == 0);
        CHECK_FALSE(mutex.owned());
        CHECK(mutex.lock(15ms));
        mutex.unlock();
    });
}

TEST_CASE("mutex: locking what one holds is an error, and it stays held", "[core][mutex]") {
    run_green([] {
        green::Mutex mutex;
        auto owner = green::spawn([&] {
            const std::lock_guard guard{mutex};
            CHECK_FALSE(mutex.try_lock());
            CHECK_THROWS_AS(mutex.lock(10ms), green::UsageError);
            CHECK_THROWS_WITH(mutex.lock(), Contains("lock of a mutex held by careless"));
            CHECK(mutex.owned());
        });
        owner.set_name("careless");
        owner.get();
        CHECK_FALSE(mutex.locked());
    });
}

TEST_CASE("mutex: only its owner unlocks it, and the error names the owner", "[core][mutex]") {
    run_green([] {
        green::Mutex mutex;
        CHECK_THROWS_WITH(mutex.unlock(), Contains("nobody holds"));
        auto owner = green::spawn([&] {
            const std::lock_guard guard{mutex};
            green::sleep(10ms);
        });
        owner.set_name("writer");
        green::yield();
        CHECK_THROWS_AS(mutex.unlock(), green::UsageError);
        CHECK_THROWS_WITH(mutex.unlock(), "unlock of a mutex held by writer");
        CHECK(mutex.locked());
        CHECK(owner.join());
        CHECK_FALSE(mutex.locked());
    });
}

TEST_CASE("mutex: a later greenlet in the memory of an owner that ended is not the owner",
          "[core][mutex]") {
    run_green([] {
        green::Mutex mutex;
        std::uint64_t id = 0;
        {
            const auto ended = green::spawn([&] { mutex.lock(); });
            id = ended.id();
            ended.join();
        }
        for (int i = 0; i < 10; ++i) {
            const auto later = green::spawn([&] {
                CHECK_FALSE(mutex.owned());
                CHECK_THROWS_WITH(mutex.unlock(), "unlock of a mutex held by greenlet " +
                                                      std::to_string(id) + ", which has ended");
            });
            later.join();
        }
        CHECK(mutex.locked());
    });
}

TEST_CASE("mutex: what was handed to a killed waiter goes to the next", "[core][mutex]") {
    run_green([] {
        green::Mutex mutex;
        mutex.lock();
        bool second_has_it = false;
        auto first = green::spawn([&] { mutex.lock(); });
        auto second = green::spawn([&] {
            const std::lock_guard guard{mutex};
            second_has_it = mutex.owned();
        });
        green::yield();
        mutex.unlock();  // handed to the first
        CHECK(mutex.locked());
        CHECK_FALSE(mutex.owned());
        CHECK_THROWS_AS(mutex.unlock(), green::UsageError);  // it is nobody's yet
        first.kill_soon();
        settle();
        CHECK(first.successful());
        CHECK(second_has_it);
        CHECK_FALSE(mutex.locked());
    });
}

TEST_CASE("mutex: a report names the greenlet that is waited for", "[core][mutex]") {
    run_green([] {
        green::Mutex mutex;
        mutex.lock();
        auto waiter = green::spawn([&] { mutex.lock(); });
        green::yield();
        CHECK_THAT(green::hub_report(), Contains("a mutex held by main"));
        waiter.kill();
        mutex.unlock();
    });
}

TEST_CASE("mutex: who waits when it is destroyed gets an error", "[core][mutex]") {
    run_green([] {
        const tests::Errors errors;
        auto mutex = std::make_unique<green::Mutex>();
        mutex->lock();
        auto waiter = green::spawn([&] { mutex->lock(); });
        green::yield();
        mutex.reset();
        settle();
        CHECK_THROWS_AS(waiter.get(), green::Closed);
    });
}

TEST_CASE("rlock: its owner may lock it again and must unlock it as often", "[core][mutex]") {
    run_green([] {
        green::RLock lock;
        lock.lock();
        CHECK(lock.lock(green::Deadline::passed()));
        CHECK(lock.try_lock());
        auto other = green::spawn([&] {
            CHECK_FALSE(lock.try_lock());
            const std::lock_guard guard{lock};
            return lock.owned();
        });
        for (int depth = 3; depth > 0; --depth) {
            green::yield();
            CHECK(lock.locked());
            CHECK(lock.owned());
            lock.unlock();
        }
        CHECK_FALSE(lock.owned());
        CHECK(other.get());
        CHECK_FALSE(lock.locked());
        // The count begins anew.
        lock.lock();
        lock.unlock();
        CHECK_FALSE(lock.locked());
    });
}

TEST_CASE("rlock: only its owner unlocks it, however deep, and the error names him",
          "[core][mutex]") {
    run_green([] {
        green::RLock lock;
        const int depth = GENERATE(1, 2);
        auto owner = green::spawn([&] {
            for (int i = 0; i < depth; ++i) lock.lock();
            green::sleep(10ms);
            for (int i = 0; i < depth; ++i) lock.unlock();
        });
        owner.set_name("writer");
        green::yield();
        CHECK_THROWS_AS(lock.unlock(), green::UsageError);
        CHECK_THROWS_WITH(lock.unlock(), Contains("held by writer"));
        CHECK(lock.waiting() == 0);
        owner.join();
        CHECK_FALSE(lock.locked());
        CHECK_THROWS_WITH(lock.unlock(), Contains("nobody holds"));
    });
}
