// C040, and what belongs to it: every call of the core that waits and takes a limit, with nobody to
// wake it, obeys its own limit, lets a foreign one through, and leaves no trace when it is killed.

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;

namespace {

struct Blocking {
    const char* name;
    std::function<bool(green::Deadline)> call;  // false: its own limit passed
    std::function<std::size_t()> waiting = [] { return std::size_t{0}; };
};

/// For calls that say it by a Timeout of their own, which belongs to no scope.
template <class Call>
bool own_timeout_is_false(Call call) {
    try {
        call();
        return true;
    } catch (const green::Timeout& timeout) {
        if (timeout.identity() != 0) throw;
        return false;
    }
}

/// Everything that the calls wait for. Nothing of it ever becomes ready.
struct World {
    World() {
        full.put(1);
        full_joinable.put(1);
        holder = green::spawn([this] {
            const std::scoped_lock all{mutex, recursive, shared};
            green::sleep(10'000h);
        });
        crew.spawn([] { green::sleep(10'000h); });
        green::yield();
    }
    ~World() {
        holder.kill();
        crew.kill();
    }

    std::vector<Blocking> calls();

    green::Event event;
    green::AsyncResult<int> result;
    green::Greenlet<int> never = green::deferred([] { return 1; });
    green::Semaphore semaphore{0};
    green::BoundedSemaphore bounded{0};
    green::Mutex mutex;
    green::RLock recursive;
    green::SharedMutex shared;
    green::Mutex free_mutex;
    green::Condition condition;
    green::Latch latch{1};
    green::Barrier barrier{2};
    green::Queue<int> empty;
    green::Queue<int> full{1};
    green::PriorityQueue<int> lowest;
    green::LifoQueue<int> newest;
    green::Channel<int> channel;
    green::JoinableQueue<int> full_joinable{1};
    green::Group crew;
    green::SignalSet signals{SIGUSR2};
    green::Greenlet<void> holder = green::deferred([] {});
};

std::vector<Blocking> World::calls() {
    using green::Deadline;
    return {
        {"Event::wait", [&](Deadline limit) { return event.wait(limit); },
         [&] { return event.waiting(); }},
        {"AsyncResult::wait", [&](Deadline limit) { return result.wait(limit); }},
        {"AsyncResult::get",
         [&](Deadline limit) { return own_timeout_is_false([&] { (void)result.get(limit); }); }},
        {"join", [&](Deadline limit) { return never.join(limit); }},
        {"get",
         [&](Deadline limit) { return own_timeout_is_false([&] { (void)never.get(limit); }); }},
        {"joinall", [&](Deadline limit) { return !green::joinall({never}, limit).empty(); }},
        {"wait",
         [&](Deadline limit) {
             return !green::wait({event, never}, {.deadline = limit, .count = 1}).empty();
         },
         [&] { return event.waiting(); }},
        {"select",
         [&](Deadline limit) {
             return green::select(green::recv(empty), event, green::after(limit)).index() != 2;
         },
         [&] { return event.waiting() + empty.waiting_getters(); }},
        {"Semaphore::acquire", [&](Deadline limit) { return semaphore.acquire(limit); },
         [&] { return semaphore.waiting(); }},
        {"Semaphore::wait_available",
         [&](Deadline limit) { return semaphore.wait_available(limit); },
         [&] { return semaphore.waiting(); }},
        {"BoundedSemaphore::acquire", [&](Deadline limit) { return bounded.acquire(limit); }},
        {"Mutex::lock", [&](Deadline limit) { return mutex.lock(limit); },
         [&] { return mutex.waiting(); }},
        {"RLock::lock", [&](Deadline limit) { return recursive.lock(limit); },
         [&] { return recursive.waiting(); }},
        {"SharedMutex::lock", [&](Deadline limit) { return shared.lock(limit); }},
        {"SharedMutex::lock_shared", [&](Deadline limit) { return shared.lock_shared(limit); }},
        {"Condition::wait",
         [&](Deadline limit) {
             std::unique_lock lock{free_mutex};
             return condition.wait(lock, limit);
         },
         [&] { return static_cast<std::size_t>(free_mutex.locked()); }},
        {"Latch::wait", [&](Deadline limit) { return latch.wait(limit); }},
        {"Barrier::arrive_and_wait",
         [&](Deadline limit) { return barrier.arrive_and_wait(limit); }},
        {"Queue::get",
         [&](Deadline limit) { return own_timeout_is_false([&] { (void)empty.get(limit); }); },
         [&] { return empty.waiting_getters(); }},
        {"Queue::peek",
         [&](Deadline limit) { return own_timeout_is_false([&] { (void)empty.peek(limit); }); }},
        {"Queue::put", [&](Deadline limit) { return full.put(2, limit); },
         [&] { return full.waiting_putters() + full.size() - 1; }},
        {"PriorityQueue::get",
         [&](Deadline limit) { return own_timeout_is_false([&] { (void)lowest.get(limit); }); },
         [&] { return lowest.waiting_getters(); }},
        {"LifoQueue::get",
         [&](Deadline limit) { return own_timeout_is_false([&] { (void)newest.get(limit); }); },
         [&] { return newest.waiting_getters(); }},
        {"Channel::get",
         [&](Deadline limit) { return own_timeout_is_false([&] { (void)channel.get(limit); }); }},
        {"Channel::put", [&](Deadline limit) { return channel.put(2, limit); }},
        {"JoinableQueue::put", [&](Deadline limit) { return full_joinable.put(2, limit); },
         [&] { return full_joinable.waiting_putters(); }},
        {"JoinableQueue::join", [&](Deadline limit) { return full_joinable.join(limit); }},
        {"Group::join", [&](Deadline limit) { return crew.join(limit); }},
        {"SignalSet::next", [&](Deadline limit) { return signals.next(limit).has_value(); }},
    };
}

void for_each_call(const std::function<void(const Blocking&)>& check) {
    tests::run_green([&] {
        World world;
        for (const Blocking& blocking : world.calls()) {
            INFO(blocking.name);
            const green::HubFigures before = green::hub_figures();
            check(blocking);
            CHECK(blocking.waiting() == 0);
            const green::HubFigures after = green::hub_figures();
            CHECK(after.greenlets == before.greenlets);
            CHECK(after.timers == before.timers);
            CHECK(after.outside == before.outside);
        }
    });
}

}  // namespace

TEST_CASE("C040: every waiting call obeys its own limit", "[conformance]") {
    for_each_call([](const Blocking& blocking) {
        const auto start = green::now();
        CHECK_FALSE(blocking.call(100ms));
        CHECK(green::now() - start == 100ms);
        CHECK_FALSE(blocking.call(0s));
        CHECK_FALSE(blocking.call(-1s));
        CHECK_FALSE(blocking.call(green::Deadline::at(start)));
        CHECK(green::now() - start == 100ms);
    });
}

TEST_CASE("C040: every waiting call lets a foreign limit through, by identity", "[conformance]") {
    for_each_call([](const Blocking& blocking) {
        const auto start = green::now();
        const green::TimeoutScope scope{20ms};
        bool mine = false;
        try {
            blocking.call(1h);
        } catch (const green::Timeout& timeout) {
            mine = scope.owns(timeout);
        }
        CHECK(mine);
        CHECK(green::now() - start == 20ms);
    });
}

TEST_CASE("C040: a kill in any waiting call leaves no trace", "[conformance]") {
    for_each_call([](const Blocking& blocking) {
        auto victim = green::spawn([&] { blocking.call(green::Deadline::never()); });
        green::sleep(1ms);
        CHECK(victim.started());
        CHECK(victim.kill());
        CHECK(victim.outcome() == green::Outcome::exited);
        auto limited = green::spawn([&] { blocking.call(1h); });
        green::sleep(1ms);
        CHECK(limited.kill());
        CHECK(limited.outcome() == green::Outcome::exited);
    });
}
