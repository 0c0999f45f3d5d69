// What greenlets of another thread wait in, in the child of a process that has that thread: they
// are not there, and where its main waited, on the thread's own stack, are other threads. What a
// child finds wrong it says by its exit code.

#include <algorithm>
#include <array>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "core/fork_ends.hpp"
#include "sched/sanitizer.hpp"
#include "support/commands.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::end_of;
using tests::exited;
using tests::run_and_reap;

namespace {

constexpr auto destroy = [](auto& owner) { owner.reset(); };

/// A thread whose main waits in something, and another greenlet too.
template <class Object>
class Elsewhere {
 public:
    /// Ends both waits, in a hub callback.
    using End = std::function<void(std::unique_ptr<Object>&)>;

    explicit Elsewhere(const std::function<void(Object&)>& wait, End end) : end_{std::move(end)} {
        thread_ = std::thread{[this, wait] {
            object = std::make_unique<Object>();
            const auto waits = [&] {
                try {
                    wait(*object);
                } catch (const Closed&) {
                }
            };
            const auto other = spawn(waits);
            const auto stays = spawn([this] { over_.wait(); });
            yield();
            hub_.emplace();
            hub_->post([this] { all_wait_.release(); });
            waits();
            other.join();
            stays.join();
            hub_.reset();
            object.reset();
        }};
        all_wait_.acquire();
    }
    Elsewhere(const Elsewhere&) = delete;
    Elsewhere& operator=(const Elsewhere&) = delete;
    ~Elsewhere() {
        hub_->post([this] { end_(object); });
        over_.set();
        thread_.join();
    }

    std::unique_ptr<Object> object;

 private:
    End end_;
    std::optional<HubRef> hub_;
    std::binary_semaphore all_wait_{0};
    ThreadEvent over_;
    std::thread thread_;
};

/// Where the stacks of the parent's threads were are those of these, and nothing is left of what
/// was there.
void use_stacks_of_the_gone() {
    constexpr int many = 8;
    std::latch all{many};
    std::vector<std::thread> threads;
    for (int i = 0; i < many; ++i) {
        threads.emplace_back([&all] {
            std::array<volatile char, 128 * 1024> stack;
            std::fill(stack.begin(), stack.end(), char{0x5A});
            all.arrive_and_wait();
        });
    }
    for (std::thread& each : threads) each.join();
}

/// How a child ends that uses it, which tells whether all is well, and destroys it.
template <class Object>
ExitStatus end_of_one_that_uses(Elsewhere<Object>& elsewhere,
                                const std::function<bool(Object&)>& use) {
    return end_of([&] {
        ::alarm(10);
        use_stacks_of_the_gone();
        if (!use(*elsewhere.object)) return 1;
        elsewhere.object.reset();
        use_stacks_of_the_gone();
        return 0;
    });
}

template <class Object>
void check(const std::function<void(Object&)>& wait, const std::function<bool(Object&)>& use,
           typename Elsewhere<Object>::End end = destroy) {
    const bool only_destroys = GENERATE(false, true);
    Elsewhere<Object> elsewhere{wait, std::move(end)};
    CHECK(end_of_one_that_uses<Object>(elsewhere, [&](Object& object) {
              return only_destroys || use(object);
          }) == exited(0));
}

}  // namespace

TEST_CASE("fork: another thread's greenlets are handed nothing in the child", "[core][fork]") {
    if (GREEN_THREAD_SANITIZER) return;  // it supports no child of a process with threads
    run_and_reap([] {
        SECTION("an event") {
            check<Event>([](Event& event) { event.wait(); },
                         [](Event& event) {
                             const bool nobody = event.waiting() == 0;
                             event.set();
                             return nobody && event.wait();
                         });
        }
        SECTION("a semaphore") {
            struct Empty : Semaphore {
                Empty() : Semaphore{0} {}
            };
            check<Empty>([](auto& semaphore) { semaphore.acquire(); },
                         [](auto& semaphore) { return semaphore.release() == 1; });
        }
        SECTION("a queue's item") {
            check<Queue<int>>([](auto& queue) { (void)queue.get(); },
                              [](auto& queue) {
                                  queue.put(4);
                                  return queue.waiting_getters() == 0 && queue.try_get() == 4;
                              });
        }
        SECTION("a queue's room") {
            struct One : Queue<int> {
                One() : Queue<int>{1} {}
            };
            check<One>(
                [](auto& queue) {
                    queue.put(1);
                    queue.put(2);
                },
                [](auto& queue) {
                    return queue.get() == 1 && queue.try_put(3) && queue.get() == 3;
                });
        }
        SECTION("a channel's putter") {
            check<Channel<int>>([](auto& channel) { (void)channel.get(); },
                                [](auto& channel) { return !channel.try_put(4); });
        }
        SECTION("a channel's getter") {
            check<Channel<int>>([](auto& channel) { channel.put(4); },
                                [](auto& channel) { return channel.try_get() == std::nullopt; });
        }
        SECTION("a condition") {
            struct Guarded {
                Mutex mutex;
                Condition changed;
            };
            check<Guarded>(
                [](Guarded& guarded) {
                    std::unique_lock lock{guarded.mutex};
                    guarded.changed.wait(lock);
                },
                [](Guarded& guarded) {
                    guarded.changed.notify_one();
                    auto waits = spawn([&] {
                        std::unique_lock lock{guarded.mutex};
                        guarded.changed.wait(lock);
                    });
                    yield();
                    guarded.changed.notify_one();
                    return waits.join();
                },
                [](auto& owner) { owner->changed.notify_all(); });
        }
    });
}

TEST_CASE("fork: another thread's links and sets can be destroyed in the child", "[core][fork]") {
    if (GREEN_THREAD_SANITIZER) return;  // it supports no child of a process with threads
    run_and_reap([] {
        /// They stand in one list with the nodes of those who wait.
        struct Watched {
            void wait() {
                if (!set) {
                    its_link.emplace(link(*event, [] {}));
                    set.emplace();
                    set->add(*event);
                }
                event->wait();
            }
            std::unique_ptr<Event> event = std::make_unique<Event>();
            std::optional<Link> its_link;
            std::optional<WaitSet> set;
        };
        const bool event_goes_first = GENERATE(false, true);
        Elsewhere<Watched> elsewhere{[](Watched& watched) { watched.wait(); },
                                     [](auto& owner) {
                                         owner->set.reset();
                                         owner->its_link.reset();
                                         owner->event.reset();
                                     }};
        CHECK(end_of_one_that_uses<Watched>(elsewhere, [&](Watched& watched) {
                  if (!event_goes_first) return watched.set->remaining() == 0;
                  watched.event.reset();
                  Event own;
                  own.set();
                  return watched.set->add(own) == 0 && watched.set->next() == 0;
              }) == exited(0));
    });
}

TEST_CASE("fork: another thread's limits are in no timers of the child", "[core][fork]") {
    if (GREEN_THREAD_SANITIZER) return;  // it supports no child of a process with threads
    run_and_reap([] {
        struct Limited {
            Event event;
            std::unique_ptr<TimeoutScope> limit;
        };
        Elsewhere<Limited> elsewhere{[](Limited& limited) {
                                         const bool is_main = limited.event.waiting() == 1;
                                         if (is_main)
                                             limited.limit = std::make_unique<TimeoutScope>(1h);
                                         limited.event.wait();
                                         if (is_main) limited.limit.reset();
                                     },
                                     [](auto& owner) { owner->event.set(); }};
        CHECK(end_of_one_that_uses<Limited>(elsewhere, [](Limited& limited) {
                  limited.limit->restart(1h);
                  limited.limit.reset();
                  return hub_figures().timers == 0;
              }) == exited(0));
    });
}

TEST_CASE("fork: one that another thread has not started can be dropped in the child",
          "[core][fork]") {
    if (GREEN_THREAD_SANITIZER) return;  // it supports no child of a process with threads
    run_and_reap([] {
        using Fresh = std::optional<Greenlet<void>>;
        Elsewhere<Fresh> elsewhere{[](Fresh& fresh) {
                                       if (!fresh) fresh = deferred([] {});
                                       fresh->join();
                                   },
                                   [](auto& owner) { owner->reset(); }};
        CHECK(end_of_one_that_uses<Fresh>(elsewhere, [](Fresh& fresh) {
                  return fresh->ready() && fresh->join();
              }) == exited(0));
    });
}

TEST_CASE("fork: who waits for a group of another thread's is not there in the child",
          "[core][fork]") {
    if (GREEN_THREAD_SANITIZER) return;  // it supports no child of a process with threads
    run_and_reap([] {
        struct Full : Pool {
            Full() : Pool{1} {}
        };
        const std::function<void(Full&)> wait = GENERATE(
            as<std::function<void(Full&)>>{}, [](Full& pool) { pool.join(); },
            [](Full& pool) { pool.join_or_raise(); },
            [](Full& pool) { (void)pool.wait_available(); });
        Elsewhere<Full> elsewhere{[&](Full& pool) {
                                      if (pool.empty()) pool.spawn([] { sleep(1h); });
                                      wait(pool);
                                  },
                                  [](auto& owner) { owner->kill_soon(); }};
        const bool only_destroys = GENERATE(false, true);
        CHECK(end_of_one_that_uses<Full>(elsewhere, [&](Full& pool) {
                  if (only_destroys) return true;
                  return pool.join() && pool.kill().empty() &&
                         pool.spawn([] { return 3; }).get() == 3;
              }) == exited(0));
    });
}
