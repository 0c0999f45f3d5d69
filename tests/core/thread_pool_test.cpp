#include <atomic>
#include <cerrno>
#include <csignal>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/thread_pool.hpp>

#include "support/faults.hpp"
#include "support/gate.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::Gate;
using tests::run_green_for_real;

TEST_CASE("thread pool: apply gives the function's value, from another thread", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{2};
        CHECK(pool.apply([] { return 42; }) == 42);
        CHECK(pool.apply([] { return std::this_thread::get_id(); }) != std::this_thread::get_id());
        CHECK(*pool.apply(
                  [owned = std::make_unique<int>(7)]() mutable { return std::move(owned); }) == 7);
        bool ran = false;
        pool.apply([&ran] { ran = true; });
        CHECK(ran);
    });
}

TEST_CASE("thread pool: an exception comes back to the one who waits", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        CHECK_THROWS_WITH(pool.apply([]() -> int { throw std::runtime_error("no such table"); }),
                          "no such table");
        auto task = pool.spawn([] { throw 5; });
        CHECK(task.join());
        CHECK_THROWS_AS(task.get(), int);
        CHECK_THROWS_AS(task.get(), int);
        CHECK(pool.apply([] { return 1; }) == 1);  // the thread lives on
    });
}

TEST_CASE("thread pool: other greenlets run while one waits for a thread", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Gate gate;
        auto waiter = spawn([&] {
            return pool.apply([&gate] {
                gate.pass();
                return 1;
            });
        });
        auto opener = spawn([&] {
            tests::settle();
            gate.open.release();  // only a hub that goes on can do this
        });
        CHECK(waiter.get() == 1);
        opener.join();
    });
}

TEST_CASE("thread pool: functions begin in the order in which they came", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Gate gate;
        std::vector<int> order;  // the one thread's, until all are joined
        std::vector<ThreadTask<void>> tasks;
        tasks.push_back(pool.spawn([&gate] { gate.pass(); }));
        gate.entered.acquire();
        for (int i = 0; i < 20; ++i)
            tasks.push_back(pool.spawn([&order, i] { order.push_back(i); }));
        CHECK(pool.queued() == 20);
        CHECK(pool.size() == 1);
        CHECK_FALSE(tasks.back().join(Deadline::passed()));
        CHECK_THROWS_AS(tasks.back().get(Deadline::passed()), Timeout);
        CHECK_FALSE(tasks.back().ready());
        gate.open.release();
        for (auto& task : tasks) CHECK(task.join());
        CHECK(tasks.back().ready());
        std::vector<int> expected(20);
        std::iota(expected.begin(), expected.end(), 0);
        CHECK(order == expected);
    });
}

TEST_CASE("thread pool: a thousand functions share a few threads", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{4};
        std::vector<ThreadTask<std::size_t>> tasks;
        for (std::size_t i = 0; i < 1000; ++i) tasks.push_back(pool.spawn([i] { return i * i; }));
        CHECK(pool.size() <= 4);
        for (std::size_t i = 0; i < tasks.size(); ++i) CHECK(tasks[i].get() == i * i);

        Group group;
        std::size_t sum = 0;
        for (std::size_t i = 0; i < 1000; ++i)
            group.spawn([&, i] { sum += pool.apply([i] { return i; }); });
        group.join();
        CHECK(sum == 499'500);
    });
}

TEST_CASE("thread pool: threads start only when they are needed", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{8, "a name that is much too long"};
        CHECK(pool.size() == 0);
        CHECK(pool.max_threads() == 8);
        Gate first;
        Gate second;
        auto one = pool.spawn([&] { first.pass(); });
        first.entered.acquire();
        CHECK(pool.size() == 1);
        auto two = pool.spawn([&] { second.pass(); });
        second.entered.acquire();
        CHECK(pool.size() == 2);
        first.open.release();
        second.open.release();
        one.join();
        two.join();
        CHECK_THROWS_AS(ThreadPool{0}, UsageError);
    });
}

TEST_CASE("thread pool: a waiter that is killed leaves, and the function ends on its own",
          "[core][os]") {
    auto state = std::make_shared<int>(1);
    const std::weak_ptr<int> watch = state;
    run_green_for_real([&] {
        ThreadPool pool{1};
        Gate gate;
        auto waiter = spawn([&] {
            return pool.apply([&gate, kept = std::exchange(state, nullptr)] {
                gate.pass();
                return kept;  // the result outlives the function, and nobody takes it
            });
        });
        tests::settle();
        gate.entered.acquire();
        CHECK(hub_figures().outside == 1);
        waiter.kill();
        CHECK(hub_figures().outside == 0);
        CHECK(watch.use_count() == 1);  // what the thread works with is there

        CHECK_FALSE(with_timeout(1ms, [&] { return pool.apply([] { return 2; }); }).has_value());
        gate.open.release();
        CHECK(pool.apply([] { return 3; }) == 3);
    });
    CHECK(watch.expired());
}

TEST_CASE("thread pool: a result whose hub has gone is dropped", "[core][os]") {
    ThreadPool pool{1};
    Gate gate;
    run_green_for_real([&] {
        auto forgotten = pool.spawn([&gate] { gate.pass(); });
        gate.entered.acquire();
    });
    gate.open.release();
    run_green_for_real([&] { CHECK(pool.apply([] { return 1; }) == 1); });
}

TEST_CASE("thread pool: its end drops what has not begun and waits for what runs", "[core][os]") {
    run_green_for_real([] {
        Gate gate;
        tests::Errors errors;
        std::atomic<bool> ended{false};
        auto pool = std::make_unique<ThreadPool>(1);
        auto running = pool->spawn([&](std::stop_token stop) {
            // It is asked to stop when the pool takes nothing any more.
            const std::stop_callback open{stop, [&gate] { gate.open.release(); }};
            gate.pass();
            ended = true;
        });
        gate.entered.acquire();
        bool ran = false;
        auto queued = pool->spawn([&ran] { ran = true; });
        auto waiter = spawn([&] { queued.get(); });
        tests::settle();
        pool.reset();
        CHECK(ended);
        CHECK_THROWS_AS(queued.get(), Closed);
        CHECK_FALSE(ran);
        CHECK(running.join());
        waiter.join();
        CHECK_THROWS_AS(waiter.get(), Closed);
        CHECK(errors.count() == 1);
    });
}

TEST_CASE("thread pool: a handle may go while somebody waits by it", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Gate gate;
        auto task = std::make_unique<ThreadTask<int>>(pool.spawn([&gate] {
            gate.pass();
            return 1;
        }));
        auto waiter = spawn([&] { return task->join(); });
        tests::settle();
        task.reset();
        gate.open.release();
        CHECK(waiter.get());
    });
}

TEST_CASE("thread pool: its threads leave signals to the hubs, but not their own faults",
          "[core][os]") {
    run_green_for_real([] {
        sigset_t before{};
        ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
        const sigset_t mask = ThreadPool{1}.apply([] {
            sigset_t mine{};
            ::pthread_sigmask(SIG_SETMASK, nullptr, &mine);
            return mine;
        });
        for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGCHLD, SIGPIPE, SIGUSR1}) {
            CHECK(sigismember(&mask, signal) == 1);
        }
        CHECK(sigismember(&mask, SIGSEGV) == 0);
        sigset_t after{};
        ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
        for (int signal = 1; signal < 32; ++signal) {
            CHECK(sigismember(&before, signal) == sigismember(&after, signal));
        }
    });
}

TEST_CASE("thread pool: hubs of several threads share one", "[core][os]") {
    ThreadPool pool{3};
    std::vector<std::thread> hubs;
    std::atomic<int> right{0};
    for (int h = 0; h < 4; ++h) {
        hubs.emplace_back([&pool, &right, h] {
            const auto here = std::this_thread::get_id();
            const auto call = [&] {
                for (int i = 0; i < 100; ++i) {
                    const int value = pool.apply([=] { return h * 1000 + i; });
                    if (value == h * 1000 + i && here == std::this_thread::get_id()) ++right;
                }
            };
            if (h == 0) {
                call();  // a thread without a hub
                CHECK(detail::Hub::current_or_null() == nullptr);
            } else {
                green::joinall({green::spawn(call), green::spawn(call)});
            }
        });
    }
    for (auto& hub : hubs) hub.join();
    CHECK(right == 700);
}

TEST_CASE("thread pool: a task gives its value in all the ways a greenlet does, to any thread",
          "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Gate gate;
        auto task = pool.spawn([&gate] {
            gate.pass();
            return std::string("value");
        });
        gate.entered.acquire();
        CHECK_FALSE(task.ready());
        CHECK_FALSE(task.try_get().has_value());
        CHECK_FALSE(task.get_for(1ms).has_value());
        std::string in_thread;
        std::thread other{[&in_thread, task] { in_thread = task.get(); }};
        gate.open.release();
        CHECK(task.get_for(20s) == "value");
        CHECK(task.try_get() == "value");
        CHECK(task.get(Deadline::passed()) == "value");
        other.join();
        CHECK(in_thread == "value");
        CHECK(task.take() == "value");
    });
}

TEST_CASE("thread pool: a task can be waited for together with other things", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        Gate gate;
        const auto task = pool.spawn([&gate] { gate.pass(); });
        Event event;
        const auto wait = [&] {
            ThreadTask<void>::Ready ended{task};
            detail::WaitList<detail::ListNode> nobody;
            detail::ListNode other{nobody, "nothing"};
            detail::WaitNode* const nodes[] = {&other, &ended};
            detail::park(nodes, Deadline::never());
            return ended.fired();
        };
        auto waiter = spawn(wait);
        auto killed = spawn(wait);
        tests::settle();
        killed.kill();
        gate.open.release();
        CHECK(waiter.get());
        CHECK(wait());  // at once
    });
}

TEST_CASE("thread pool: apply in one of its own threads calls the function there", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        ThreadPool other{1};
        CHECK(pool.apply([&] {
            const auto here = std::this_thread::get_id();
            CHECK(pool.apply([] { return std::this_thread::get_id(); }) == here);
            CHECK(other.apply([] { return std::this_thread::get_id(); }) != here);
            CHECK_THROWS_AS(pool.apply([]() -> int { throw 5; }), int);
            return pool.apply([owned = std::make_unique<int>(3)] { return *owned; });
        }) == 3);
    });
}

TEST_CASE("thread pool: its functions get no hub, and are told why", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1, "files"};
        GreenletLocal<int> local;
        const auto refused = [&](auto function) {
            CHECK_THROWS_WITH(pool.apply(function), Catch::Contains("the pool 'files'"));
            CHECK(pool.apply([] { return detail::Hub::current_or_null() == nullptr; }));
        };
        refused([] { spawn([] {}); });
        refused([] { (void)deferred([] {}); });
        refused([] { sleep(1ms); });
        refused([] { yield(); });
        refused([] { Event{}.wait(); });
        refused([&] { (void)local.get(); });
        refused([] { const TimeoutScope limit{1s}; });
        refused([] { HubRef{}.post([] {}); });
        CHECK(pool.apply([&] { return !local.has_value() && ambient_deadline().is_never(); }));
    });
}

TEST_CASE("thread pool: a fence or a shield without a hub does nothing", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        CHECK(pool.apply([] {
            const NoSwitch fence{"a native lock is held"};
            const Shield shield;
            return detail::Hub::current_or_null() == nullptr;
        }));
        const auto wait = [] {
            const Shield shield;
            yield();
        };
        CHECK_THROWS_AS(pool.apply(wait), UsageError);
    });
}

TEST_CASE("thread pool: with the option its functions may, each thread in a hub of its own",
          "[core][os]") {
    run_green_for_real([] {
        static std::atomic<int> freed{0};
        struct Noted {
            ~Noted() { ++freed; }
        };
        GreenletLocal<Noted> local;
        freed = 0;
        {
            ThreadPool pool{{.max_threads = 1, .greenlets = true}};
            CHECK(pool.apply([&] {
                (void)local.get();
                auto half = spawn([] {
                    sleep(1ms);
                    return 21;
                });
                return 2 * half.get();
            }) == 42);
            // What is left behind goes on with the next one, and ends with the thread.
            pool.apply([] {
                spawn([] {
                    const Noted noted;
                    sleep(1h);
                });
                yield();
            });
            CHECK(freed == 0);
        }
        CHECK(freed == 2);
    });
}

TEST_CASE("thread pool: without a single thread spawn fails, and the next one succeeds",
          "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        {
            const tests::FailNth failure{0, EAGAIN, sys::Call::sigprocmask};
            CHECK_THROWS_AS(pool.spawn([] { return 1; }), std::system_error);
        }
        CHECK(pool.queued() == 0);
        CHECK(pool.apply([] { return 2; }) == 2);
    });
}

TEST_CASE("thread pool: with one thread instead of two it only takes longer", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{{.max_threads = 2, .max_queue = 0}};
        Gate gate;
        auto first = pool.spawn([&gate] { gate.pass(); });
        gate.entered.acquire();
        std::optional<ThreadTask<int>> second;
        {
            const tests::FailNth failure{0, EAGAIN, sys::Call::sigprocmask, true};
            second = pool.spawn([] { return 2; });
            CHECK(failure.fired());
            pool.set_max_threads(3);  // more cannot be had either
        }
        CHECK(pool.size() == 1);
        gate.open.release();
        CHECK(second->get() == 2);
    });
}

TEST_CASE("thread pool: spawn_for gives nothing when there is no room in time", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{ThreadPoolOptions{.max_threads = 1, .max_queue = 0}};
        Gate gate;
        auto task = pool.spawn_for(1h, [&gate] {
            gate.pass();
            return 1;
        });
        REQUIRE(task);
        gate.entered.acquire();
        CHECK_FALSE(pool.spawn_for(1ms, [] {}));
        CHECK_FALSE(pool.spawn_for(Deadline::passed(), [] {}));
        CHECK(pool.waiting() == 0);
        auto later = spawn([&] { return pool.spawn_for(1h, [] { return 2; })->get(); });
        tests::settle();
        CHECK(pool.waiting() == 1);
        gate.open.release();
        CHECK(task->get() == 1);
        CHECK(later.get() == 2);
        pool.close();
        CHECK_THROWS_AS(pool.spawn_for(1ms, [] {}), Closed);
    });
}

TEST_CASE("thread pool: the process has one of its own", "[core][os]") {
    run_green_for_real([] {
        CHECK(threads().apply([] { return 9; }) == 9);
        CHECK(&threads() == &threads());
    });
}
