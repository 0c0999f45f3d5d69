#include <memory>
#include <mutex>
#include <vector>

#include <catch2/catch.hpp>

#include <green/condition.hpp>
#include <green/lock.hpp>
#include <green/mutex.hpp>
#include <green/shared_mutex.hpp>
#include <green/timeout.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

namespace {

/// A number that greenlets take from under a lock once it is greater than zero.
struct Store {
    void add(int more) {
        const std::lock_guard lock{mutex};
        goods += more;
        changed.notify_one();
    }
    bool take(green::Deadline deadline = green::Deadline::never()) {
        std::unique_lock lock{mutex};
        if (!changed.wait(
                lock, [this] { return goods > 0; }, deadline)) {
            return false;
        }
        CHECK(mutex.owned());
        --goods;
        return true;
    }

    green::Mutex mutex;
    green::Condition changed;
    int goods = 0;
};

}  // namespace

TEST_CASE("condition: notify_one wakes the one who has waited longest", "[core][condition]") {
    run_green([] {
        green::Mutex mutex;
        green::Condition condition;
        std::vector<int> order;
        for (int who = 0; who < 3; ++who) {
            green::spawn([&, who] {
                std::unique_lock lock{mutex};
                CHECK(condition.wait(lock));
                CHECK(mutex.owned());
                order.push_back(who);
            });
        }
        settle();
        CHECK_FALSE(mutex.locked());
        CHECK(condition.waiting() == 3);
        condition.notify_one();
        settle();
        CHECK(order == std::vector{0});
        condition.notify_all();
        settle();
        CHECK(order == std::vector{0, 1, 2});
        condition.notify_one();  // nobody is there, and nothing is kept
        CHECK(condition.waiting() == 0);
        std::unique_lock lock{mutex};
        CHECK_FALSE(condition.wait(lock, 10ms));
        CHECK(lock.owns_lock());
    });
}

TEST_CASE("condition: a predicate that holds needs no wait, one that does not is asked again",
          "[core][condition]") {
    run_green([] {
        Store store;
        store.add(1);
        CHECK(store.take(green::Deadline::passed()));
        CHECK_FALSE(store.take(10ms));
        auto taker = green::spawn([&] { return store.take(); });
        settle();
        store.changed.notify_one();  // about nothing
        settle();
        CHECK_FALSE(taker.ready());
        store.add(1);
        CHECK(taker.get());
        CHECK(store.goods == 0);
    });
}

TEST_CASE("condition: what comes true by the limit counts", "[core][condition]") {
    run_green([] {
        Store store;
        auto taker = green::spawn([&] { return store.take(10ms); });
        settle();
        store.mutex.lock();
        green::sleep(20ms);  // the limit passes, but the lock is not to be had
        CHECK_FALSE(taker.ready());
        store.goods = 1;
        store.mutex.unlock();
        CHECK(taker.get());
    });
}

TEST_CASE("condition: a killed waiter dies with the lock in its hands", "[core][condition]") {
    run_green([] {
        green::Mutex mutex;
        green::Condition condition;
        bool held = false;
        auto waiter = green::spawn([&] {
            std::unique_lock lock{mutex};
            try {
                condition.wait(lock);
            } catch (const green::Interrupt&) {
                held = lock.owns_lock() && mutex.owned();
                throw;
            }
        });
        settle();
        mutex.lock();
        waiter.kill_soon();
        settle();
        CHECK_FALSE(waiter.ready());  // it cannot die before it has the lock
        CHECK(mutex.waiting() == 1);
        waiter.kill_soon();  // nor does a second kill help
        settle();
        CHECK_FALSE(waiter.ready());
        mutex.unlock();
        settle();
        CHECK(waiter.successful());
        CHECK(held);
        CHECK_FALSE(mutex.locked());
        CHECK(condition.waiting() == 0);
    });
}

TEST_CASE("condition: a time limit around it is thrown with the lock in hand",
          "[core][condition]") {
    run_green([] {
        green::Mutex mutex;
        green::Condition condition;
        std::unique_lock lock{mutex};
        CHECK_FALSE(green::with_timeout(10ms, [&] { condition.wait(lock); }));
        CHECK(lock.owns_lock());
        CHECK(mutex.owned());
        CHECK(condition.waiting() == 0);
    });
}

TEST_CASE("condition: what was told a killed waiter is told the next one", "[core][condition]") {
    run_green([] {
        Store store;
        auto first = green::spawn([&] { store.take(); });
        auto second = green::spawn([&] { return store.take(); });
        settle();
        store.add(1);  // tells the first
        first.kill_soon();
        settle();
        CHECK(first.successful());
        CHECK(second.ready());
        CHECK(second.get());
        CHECK(store.goods == 0);
    });
}

TEST_CASE("condition: what was told all is not passed on", "[core][condition]") {
    run_green([] {
        green::Mutex mutex;
        green::Condition condition;
        const auto wait = [&] {
            std::unique_lock lock{mutex};
            condition.wait(lock);
        };
        auto told = green::spawn(wait);
        settle();
        auto later = green::spawn(wait);  // waits before the killed one runs
        condition.notify_all();
        told.kill_soon();
        settle();
        CHECK(told.successful());
        CHECK_FALSE(later.ready());
        later.kill();
    });
}

TEST_CASE("condition: a notification goes past those whose wait is over already",
          "[core][condition]") {
    run_green([] {
        Store store;
        auto first = green::spawn([&] { store.take(); });
        auto second = green::spawn([&] { return store.take(); });
        settle();
        first.kill_soon();  // has not run yet
        store.add(1);
        settle();
        CHECK(second.ready());
        CHECK(store.goods == 0);
    });
}

TEST_CASE("condition: it takes every lock that unique_lock takes", "[core][condition]") {
    run_green([] {
        green::Condition condition;
        const auto check = [&](auto& mutex) {
            auto waiter = green::spawn([&] {
                std::unique_lock lock{mutex};
                return condition.wait(lock);
            });
            settle();
            CHECK(mutex.try_lock());
            condition.notify_one();
            settle();
            CHECK_FALSE(waiter.ready());
            mutex.unlock();
            CHECK(waiter.get());
        };
        green::RLock rlock;
        green::SharedMutex shared;
        check(rlock);
        check(shared);
    });
}

TEST_CASE("condition: a lock that is not held, or held twice, is an error", "[core][condition]") {
    run_green([] {
        green::Mutex mutex;
        green::Condition condition;
        std::unique_lock lock{mutex, std::defer_lock};
        CHECK_THROWS_AS(condition.wait(lock), green::UsageError);

        green::RLock twice;
        std::unique_lock outer{twice};
        {
            std::unique_lock inner{twice};
            CHECK_THROWS_AS(condition.wait(inner, 10ms), green::UsageError);
            CHECK(inner.owns_lock());
        }
        CHECK(twice.owned());
        CHECK_FALSE(condition.wait(outer, 10ms));
        outer.unlock();
        CHECK_FALSE(twice.locked());
    });
}

TEST_CASE("condition: one that goes leaves those alone that it has notified", "[core][condition]") {
    const bool killed = GENERATE(false, true);
    run_green([killed] {
        green::Mutex mutex;
        auto condition = std::make_unique<green::Condition>();
        auto waiter = green::spawn([&mutex, &its = *condition] {
            std::unique_lock lock{mutex};
            return its.wait(lock);
        });
        settle();
        condition->notify_one();
        if (killed) waiter.kill_soon();
        condition.reset();
        settle();
        REQUIRE(waiter.ready());
        if (!killed) CHECK(waiter.get());
        CHECK(mutex.try_lock());
        mutex.unlock();
    });
}

TEST_CASE("condition: who waits when it is destroyed gets an error, with the lock in hand",
          "[core][condition]") {
    run_green([] {
        green::Mutex mutex;
        auto condition = std::make_unique<green::Condition>();
        auto waiter = green::spawn([&] {
            std::unique_lock lock{mutex};
            CHECK_THROWS_AS(condition->wait(lock), green::Closed);
            return mutex.owned();
        });
        settle();
        condition.reset();
        CHECK(waiter.get());
    });
}
