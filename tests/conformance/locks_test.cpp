#include <string>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/lock.hpp>
#include <green/mutex.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("C061: lock basics", "[conformance]") {
    run_green([] {
        green::Semaphore none{0};
        CHECK_FALSE(none.acquire(10ms));
        CHECK(none.waiting() == 0);

        // A link: called once, when a permit is free, and takes none.
        green::Semaphore one{1};
        std::string calls;
        const auto link = [&](char name) {
            green::spawn([&, name] {
                one.wait_available();
                calls += name;
            });
        };
        link('a');
        one.release();
        link('b');
        one.release();
        settle();
        CHECK(calls == "ab");
        CHECK(one.permits() == 3);

        green::BoundedSemaphore bounded{1};
        CHECK_THROWS_AS(bounded.release(), green::UsageError);
        CHECK(bounded.permits() == 1);

        green::RLock lock;
        auto owner = green::spawn([&] {
            lock.lock();
            green::sleep(10ms);
            lock.unlock();
        });
        green::yield();
        CHECK_THROWS_AS(lock.unlock(), green::UsageError);
        CHECK(lock.locked());
        owner.get();
        CHECK_FALSE(lock.locked());
    });
}
