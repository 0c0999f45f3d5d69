#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/shared_mutex.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using Catch::Contains;
using tests::run_green;
using tests::settle;

namespace {

/// Greenlets that take it, hold it until they are let go, and say so.
class Users {
 public:
    green::AnyGreenlet read(char name) {
        return green::spawn([this, name] {
            const std::shared_lock lock{mutex};
            hold(name);
        });
    }
    green::AnyGreenlet write(char name) {
        return green::spawn([this, name] {
            const std::lock_guard lock{mutex};
            hold(name);
        });
    }
    /// Everybody inside goes.
    void let_go() {
        for (green::Event* gate : std::exchange(inside_, {})) gate->set();
        settle();
    }

    green::SharedMutex mutex;
    std::string entered;

 private:
    void hold(char name) {
        entered += name;
        green::Event gate;
        inside_.push_back(&gate);
        gate.wait();
    }

    std::vector<green::Event*> inside_;
};

}  // namespace

TEST_CASE("shared mutex: many readers or one writer", "[core][mutex]") {
    run_green([] {
        green::SharedMutex mutex;
        {
            const std::shared_lock one{mutex};
            const std::shared_lock two{mutex};
            CHECK(mutex.readers() == 2);
            CHECK_FALSE(mutex.locked());
            CHECK_FALSE(mutex.try_lock());
        }
        CHECK(mutex.readers() == 0);
        {
            const std::unique_lock one{mutex};
            CHECK(mutex.locked());
            CHECK_FALSE(mutex.try_lock_shared());
            CHECK_FALSE(mutex.try_lock());
        }
        CHECK(mutex.try_lock());
        mutex.unlock();
        CHECK(mutex.try_lock_shared());
        mutex.unlock_shared();
        CHECK_FALSE(mutex.locked());
    });
}

TEST_CASE("shared mutex: readers that stand together go in together, nobody overtakes",
          "[core][mutex]") {
    run_green([] {
        Users users;
        users.read('a');
        users.write('B');
        users.read('c');
        users.read('d');
        users.write('E');
        users.read('f');
        settle();
        CHECK(users.entered == "a");
        CHECK(users.mutex.waiting() == 5);
        CHECK_FALSE(users.mutex.try_lock_shared());  // a writer waits: nobody slips past him
        users.let_go();
        CHECK(users.entered == "aB");
        users.read('g');  // stands behind f
        users.let_go();
        CHECK(users.entered == "aBcd");
        CHECK(users.mutex.readers() == 2);
        users.let_go();
        CHECK(users.entered == "aBcdE");
        users.let_go();
        CHECK(users.entered == "aBcdEfg");
        users.let_go();
        CHECK(users.mutex.readers() == 0);
        CHECK_FALSE(users.mutex.locked());
    });
}

TEST_CASE("shared mutex: readers who always come again do not starve a writer, nor he them",
          "[core][mutex]") {
    run_green([] {
        green::SharedMutex mutex;
        std::string order;
        for (int reader = 0; reader < 2; ++reader) {
            green::spawn([&] {
                for (int round = 0; round < 20; ++round) {
                    const std::shared_lock lock{mutex};
                    order += 'r';
                    green::yield();
                }
            });
        }
        green::spawn([&] {
            for (int round = 0; round < 20; ++round) {
                const std::lock_guard lock{mutex};
                order += 'W';
                green::yield();
            }
        });
        settle();
        std::string expected;
        for (int round = 0; round < 20; ++round) expected += "rrW";
        CHECK(order == expected);
    });
}

TEST_CASE("shared mutex: when a waiting writer leaves, the readers behind him go in",
          "[core][mutex]") {
    const bool killed = GENERATE(true, false);
    run_green([&] {
        Users users;
        users.read('a');
        settle();
        auto writer = green::spawn([&] {
            if (users.mutex.lock(10ms)) users.mutex.unlock();
        });
        users.read('c');
        settle();
        CHECK(users.entered == "a");
        if (killed) {
            writer.kill_soon();
            CHECK(users.mutex.try_lock_shared());
            CHECK(users.mutex.readers() == 3);  // c came first, so he is in too
            users.mutex.unlock_shared();
        }
        writer.join();
        settle();
        CHECK(users.entered == "ac");
        CHECK(users.mutex.readers() == 2);
        users.let_go();
        CHECK(users.mutex.readers() == 0);
    });
}

TEST_CASE("shared mutex: what was handed to a killed waiter goes to the next", "[core][mutex]") {
    const bool to_reader = GENERATE(true, false);
    run_green([&] {
        Users users;
        users.mutex.lock();
        auto dies = to_reader ? users.read('b') : users.write('B');
        users.write('C');
        settle();
        users.mutex.unlock();  // handed to the first
        CHECK(users.mutex.waiting() == 1);
        dies.kill_soon();  // which dies before it runs
        settle();
        CHECK(users.entered == "C");
        users.let_go();
        CHECK(users.mutex.readers() == 0);
        CHECK_FALSE(users.mutex.locked());
    });
}

TEST_CASE("shared mutex: limits that pass take nothing", "[core][mutex]") {
    run_green([] {
        green::SharedMutex mutex;
        auto writer = green::spawn([&] {
            const std::lock_guard lock{mutex};
            green::sleep(30ms);
        });
        green::yield();
        CHECK_FALSE(mutex.lock(10ms));
        CHECK_FALSE(mutex.lock_shared(10ms));
        CHECK(mutex.waiting() == 0);
        CHECK(mutex.lock_shared(20ms));
        mutex.unlock_shared();
    });
}

TEST_CASE("shared mutex: the mistakes that can be seen are errors", "[core][mutex]") {
    run_green([] {
        green::SharedMutex mutex;
        CHECK_THROWS_AS(mutex.unlock(), green::UsageError);
        CHECK_THROWS_AS(mutex.unlock_shared(), green::UsageError);
        mutex.lock();
        CHECK_THROWS_AS(mutex.lock(), green::UsageError);
        CHECK_THROWS_AS(mutex.lock_shared(), green::UsageError);
        CHECK_THROWS_AS(mutex.unlock_shared(), green::UsageError);
        green::spawn([&] { CHECK_THROWS_AS(mutex.unlock(), green::UsageError); }).join();
        auto waiter = green::spawn([&] { mutex.lock(); });
        green::yield();
        CHECK_THAT(green::hub_report(), Contains("a shared mutex held by main"));
        waiter.kill();
        mutex.unlock();
        CHECK_FALSE(mutex.locked());
    });
}

TEST_CASE("shared mutex: who waits when it is destroyed gets an error", "[core][mutex]") {
    run_green([] {
        const tests::Errors errors;
        auto mutex = std::make_unique<green::SharedMutex>();
        mutex->lock_shared();
        auto killed = green::spawn([&] { mutex->lock(); });
        auto writer = green::spawn([&] { mutex->lock(); });
        auto reader = green::spawn([&] { mutex->lock_shared(); });
        green::yield();
        killed.kill_soon();
        CHECK_FALSE(mutex->try_lock_shared());  // passes the killed one over
        mutex.reset();
        settle();
        CHECK(killed.successful());
        CHECK_THROWS_AS(writer.get(), green::Closed);
        CHECK_THROWS_AS(reader.get(), green::Closed);
    });
}
