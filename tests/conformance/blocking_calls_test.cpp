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
        thread_full.put(1);
        holder = green::spawn([this] {
            const std::scoped_lock all{mutex, recursive, shared};
            green::sleep(10'000h);
        });
        crew.spawn([] { green::sleep(10'000h); });
        tests::settle();  // also those that are started by others
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
    green::JoinableQueue<int> no_jobs;
    green::Group crew;
    green::ResultStream<int> results = crew.imap(
        [](int value) {
            green::sleep(10'000h);
            return value;
        },
        std::vector{1});
    green::Pool no_room{0};
    green::ThreadEvent thread_event;
    green::ThreadAsyncResult<int> thread_result;
    green::ThreadQueue<int> thread_empty{1};
    green::ThreadQueue<int> thread_full{1};
    int item = 2;
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
        {"AsyncResult::get_for", [&](Deadline limit) { return result.get_for(limit).has_value(); }},
        {"get_for", [&](Deadline limit) { return never.get_for(limit).has_value(); }},
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
        {"wait for what has no limit of its own",
         [&](Deadline limit) {
             return !green::wait({signals, barrier, results, thread_empty, thread_event, crew},
                                 {.deadline = limit, .count = 1})
                         .empty();
         },
         [&] { return barrier.waiting() + thread_empty.waiting_getters(); }},
        {"select between threads",
         [&](Deadline limit) {
             return green::select(green::recv(thread_empty), green::send(thread_full, item),
                                  thread_empty, green::after(limit))
                        .index() != 3;
         },
         [&] { return thread_empty.waiting_getters() + thread_full.waiting_putters(); }},
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
        {"Queue::get_for", [&](Deadline limit) { return empty.get_for(limit).has_value(); },
         [&] { return empty.waiting_getters(); }},
        {"Queue::next", [&](Deadline limit) { return empty.next(limit).has_value(); },
         [&] { return empty.waiting_getters(); }},
        {"Queue::peek_for", [&](Deadline limit) { return empty.peek_for(limit) != nullptr; },
         [&] { return empty.waiting_lookers(); }},
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
        {"Channel::next", [&](Deadline limit) { return channel.next(limit).has_value(); }},
        {"Channel::put", [&](Deadline limit) { return channel.put(2, limit); }},
        {"JoinableQueue::put", [&](Deadline limit) { return full_joinable.put(2, limit); },
         [&] { return full_joinable.waiting_putters(); }},
        {"JoinableQueue::join", [&](Deadline limit) { return full_joinable.join(limit); }},
        {"JoinableQueue::next_job",
         [&](Deadline limit) { return no_jobs.next_job(limit).has_value(); }},
        {"JoinableQueue::work",
         [&](Deadline limit) { return own_timeout_is_false([&] { (void)no_jobs.work(limit); }); }},
        {"Group::join", [&](Deadline limit) { return crew.join(limit); }},
        {"Group::join_or_raise", [&](Deadline limit) { return crew.join_or_raise(limit); }},
        {"ResultStream::next", [&](Deadline limit) { return results.next(limit).has_value(); }},
        {"Pool::spawn_for",
         [&](Deadline limit) { return no_room.spawn_for(limit, [] {}).has_value(); }},
        {"Pool::wait_available", [&](Deadline limit) { return no_room.wait_available(limit); }},
        {"ThreadEvent::wait", [&](Deadline limit) { return thread_event.wait(limit); }},
        {"ThreadAsyncResult::get",
         [&](Deadline limit) {
             return own_timeout_is_false([&] { (void)thread_result.get(limit); });
         }},
        {"ThreadQueue::get",
         [&](Deadline limit) {
             return own_timeout_is_false([&] { (void)thread_empty.get(limit); });
         },
         [&] { return thread_empty.waiting_getters(); }},
        {"ThreadQueue::next", [&](Deadline limit) { return thread_empty.next(limit).has_value(); },
         [&] { return thread_empty.waiting_getters(); }},
        {"ThreadQueue::put", [&](Deadline limit) { return thread_full.put(2, limit); },
         [&] { return thread_full.waiting_putters() + thread_full.size() - 1; }},
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
