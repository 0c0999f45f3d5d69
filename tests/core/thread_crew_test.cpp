// The bounds of a thread pool: how many wait and who comes first, and how it ends.

#include "os/thread_crew.hpp"

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <random>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "loop/ev_reactor.hpp"
#include "support/busy_pool.hpp"
#include "support/faults.hpp"
#include "support/gate.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::BusyPool;
using tests::Gate;
using tests::run_green_for_real;
using tests::until;

TEST_CASE("thread crew: spawn waits while the pool is full, try_spawn does not", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{{.max_threads = 1, .max_queue = 2}};
        CHECK(pool.max_queue() == 2);
        Gate gate;
        auto running = pool.spawn([&gate] { gate.pass(); });
        gate.entered.acquire();
        auto queued = pool.spawn([] { return 1; });
        auto last = pool.try_spawn([] { return 2; });
        REQUIRE(last.has_value());
        auto token = std::make_shared<int>(3);
        auto refused = [token] { return *token; };
        CHECK_FALSE(pool.try_spawn(std::move(refused)).has_value());
        CHECK(token.use_count() == 2);  // stays with the caller
        CHECK(pool.queued() == 2);

        auto waiter = spawn([&] { return pool.spawn([] { return 4; }).get(); });
        bool others_run = false;
        auto other = spawn([&] { others_run = true; });
        tests::settle();
        CHECK(others_run);
        CHECK(pool.waiting() == 1);
        CHECK_FALSE(waiter.ready());
        CHECK_FALSE(with_timeout(1ms, [&] { pool.spawn([] {}); }));
        CHECK(pool.waiting() == 1);
        gate.open.release();
        CHECK(waiter.get() == 4);
        CHECK(queued.get() == 1);
        CHECK(last->get() == 2);
        CHECK(pool.waiting() == 0);
    });
}

TEST_CASE("thread crew: whoever learns of an end finds the room free", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{{.max_threads = 1, .max_queue = 0}};
        for (int i = 0; i < 1000; ++i) {
            auto task = pool.try_spawn([i] { return i; });
            REQUIRE(task.has_value());
            REQUIRE(task->get() == i);
        }
        CHECK(pool.size() == 1);
    });
}

TEST_CASE(
    "thread crew: spawners of several hubs and threads are served in the order of their coming",
    "[core][os]") {
    run_green_for_real([] {
        BusyPool busy{{.max_threads = 1, .max_queue = 0}};
        std::vector<int> order;  // the one thread's, until all are joined
        std::vector<std::thread> threads;
        Group group;
        const auto come = [&](int i) {
            busy.pool.spawn([&order, i] { order.push_back(i); }).join();
        };
        for (int i = 0; i < 9; ++i) {
            if (i % 3 == 0) {
                group.spawn(come, i);
                tests::settle();
            } else if (i % 3 == 1) {
                threads.emplace_back(come, i);
            } else {
                threads.emplace_back([&come, i] { green::spawn(come, i).join(); });
            }
            until([&] { return busy.pool.waiting() == static_cast<std::size_t>(i) + 1; });
        }
        busy.open();
        group.join();
        for (auto& thread : threads) thread.join();
        CHECK(order == std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8});
    });
}

TEST_CASE("thread crew: a killed spawner leaves no trace, wherever the room is on its way",
          "[core][os]") {
    const int when = GENERATE(0, 1, 2);
    CAPTURE(when);
    run_green_for_real([&] {
        BusyPool busy{{.max_threads = 1, .max_queue = 0}};
        auto token = std::make_shared<int>(1);
        std::atomic<bool> ran{false};
        auto victim = spawn([&ran, &busy, token] {
            auto function = [&ran, token] { ran = true; };
            busy.pool.spawn(std::move(function)).join();
        });
        tests::settle();
        auto next = spawn([&] { return busy.pool.spawn([] { return 2; }).get(); });
        tests::settle();
        REQUIRE(busy.pool.waiting() == 2);
        if (when == 0) {  // while it waits
            victim.kill();
            CHECK(busy.pool.waiting() == 1);
            busy.open();
        } else {
            busy.open();
            until([&] { return busy.pool.waiting() == 1; });
            if (when == 1) {  // it was granted, and the hub does not know yet
                victim.kill_soon();
            } else {  // the hub knows, and the spawner has not run yet
                HubRef{}.post([&] { victim.kill_soon(); });
            }
        }
        CHECK(next.get() == 2);
        CHECK(victim.join());
        CHECK_FALSE(ran);
        CHECK(token.use_count() == 1);
        CHECK(busy.pool.try_spawn([] {}).has_value());
    });
}

TEST_CASE("thread crew: its own threads never wait for room", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{{.max_threads = 1, .max_queue = 0}};
        std::vector<ThreadTask<int>> inner;
        pool.apply([&] {
            for (int i = 0; i < 5; ++i) inner.push_back(pool.spawn([i] { return i; }));
        });
        for (int i = 0; i < 5; ++i) CHECK(inner[static_cast<std::size_t>(i)].get() == i);
        CHECK(pool.try_spawn([] {}).has_value());  // the debt is paid
    });
}

TEST_CASE("thread crew: a value that nobody wants any more is freed", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        auto token = std::make_shared<int>(1);
        pool.spawn([token] { return token; }).join();
        until([&] { return token.use_count() == 1; });
        Gate gate;
        {
            auto task = pool.spawn([&gate, token] {
                gate.pass();
                return token;
            });
            gate.entered.acquire();
        }
        gate.open.release();
        until([&] { return token.use_count() == 1; });
    });
}

TEST_CASE("thread crew: a thread that is busy with a value that nobody wants is not idle",
          "[core][os]") {
    struct Lingers {
        explicit Lingers(Gate& its_gate) : gate{&its_gate} {}
        Lingers(Lingers&& other) noexcept : gate{std::exchange(other.gate, nullptr)} {}
        Lingers& operator=(Lingers&&) = delete;
        ~Lingers() {
            if (gate != nullptr) gate->pass();
        }
        Gate* gate;
    };
    const bool throws = GENERATE(false, true);
    CAPTURE(throws);
    run_green_for_real([&] {
        Gate gate;
        ThreadPool pool{{.max_threads = 2, .max_queue = 0}};
        std::binary_semaphore unwanted{0};  // else it would be this thread's to destroy
        pool.spawn([&, throws] {
            unwanted.acquire();
            if (throws) throw Lingers{gate};
            return Lingers{gate};
        });
        unwanted.release();
        gate.entered.acquire();
        auto other = pool.try_spawn([] { return 1; });
        REQUIRE(other);
        CHECK(other->get_for(20s) == 1);  // in another thread
        CHECK(pool.size() == 2);
        CHECK_FALSE(pool.join(Deadline::passed()));  // it takes up its thread
        gate.open.release();
        CHECK(pool.join());
    });
}

TEST_CASE("thread crew: a value goes with its last handle, when it has come", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{1};
        const auto token = std::make_shared<int>(1);
        std::optional task = pool.spawn([token] { return token; });
        ThreadTask<std::shared_ptr<int>>::Ready waits{*task};
        CHECK(detail::park(waits, 20s));
        const auto copy = *task;
        task.reset();
        CHECK(copy.get() == token);

        std::optional<ThreadTask<std::shared_ptr<int>>> last =
            pool.spawn([token] { return token; });
        last->join();
        CHECK(token.use_count() == 3);
        last.reset();
        CHECK(token.use_count() == 2);  // at once
    });
}

TEST_CASE("thread crew: join waits for all that was taken, and lets others run", "[core][os]") {
    run_green_for_real([] {
        BusyPool busy{{.max_threads = 1}};
        std::atomic<int> done{0};
        for (int i = 0; i < 10; ++i) busy.pool.spawn([&done] { ++done; });
        CHECK_FALSE(busy.pool.join(Deadline::passed()));
        CHECK_FALSE(busy.pool.join(1ms));
        auto killed = spawn([&] { busy.pool.join(); });
        auto opener = spawn([&] {
            tests::settle();
            killed.kill();
            busy.open();  // only a hub that goes on can do this
        });
        CHECK(busy.pool.join());
        CHECK(done == 10);
        const auto switches = hub_figures().switches;
        CHECK(busy.pool.join());
        CHECK(hub_figures().switches == switches);
        opener.join();
    });
}

TEST_CASE("thread crew: a closed pool refuses all that has not begun, and ends what has",
          "[core][os]") {
    run_green_for_real([] {
        tests::Errors errors;
        BusyPool busy{{.max_threads = 1, .max_queue = 1}};
        auto token = std::make_shared<int>(1);
        auto queued = busy.pool.spawn([token] { return *token; });
        auto waiter = spawn([&] { busy.pool.spawn([token] {}); });
        tests::settle();
        CHECK(busy.pool.waiting() == 1);
        busy.pool.close();
        CHECK(queued.ready());
        CHECK_THROWS_AS(queued.get(), Closed);
        waiter.join();
        CHECK_THROWS_AS(waiter.get(), Closed);
        CHECK(token.use_count() == 1);
        CHECK_THROWS_AS(busy.pool.spawn([] {}), Closed);
        CHECK_THROWS_AS(busy.pool.try_spawn([] {}), Closed);
        CHECK_FALSE(busy.pool.join(Deadline::passed()));
        busy.open();
        CHECK(busy.pool.join());
        CHECK(busy.tasks[0].ready());
        until([&] { return busy.pool.size() == 0; });
        busy.pool.close();
    });
}

TEST_CASE("thread crew: a kill asks what runs to stop and waits for it", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{{.max_threads = 2}};
        Gate deaf;
        std::binary_semaphore entered{0};
        auto hears = pool.spawn([&entered](std::stop_token stop) {
            std::binary_semaphore asked{0};
            const std::stop_callback callback{stop, [&asked] { asked.release(); }};
            entered.release();
            asked.acquire();
            return 1;
        });
        entered.acquire();
        auto does_not = pool.spawn([&deaf] { deaf.pass(); });
        deaf.entered.acquire();
        CHECK_FALSE(pool.kill(1ms));
        CHECK(hears.get() == 1);
        CHECK_FALSE(does_not.ready());
        deaf.open.release();
        CHECK(pool.kill());
        CHECK(does_not.ready());
    });
}

TEST_CASE("thread crew: who waits for room, or for all, may outlive the pool", "[core][os]") {
    run_green_for_real([] {
        tests::Errors errors;
        Gate gate;
        auto pool =
            std::make_unique<ThreadPool>(ThreadPoolOptions{.max_threads = 1, .max_queue = 0});
        auto running = pool->spawn([&gate] { gate.pass(); });
        gate.entered.acquire();
        auto spawner = spawn([&] { pool->spawn([] {}); });
        auto joiner = spawn([&] { return pool->join(); });
        tests::settle();
        gate.open.release();
        pool.reset();
        CHECK(spawner.join());
        CHECK_THROWS_AS(spawner.get(), Closed);
        CHECK(joiner.get());
    });
}

TEST_CASE("thread crew: one of its own functions may destroy the pool, and waits for all others",
          "[core][os]") {
    const bool greenlets = GENERATE(false, true);
    CAPTURE(greenlets);
    run_green_for_real([&] {
        Gate gate;
        std::atomic<bool> destroying{false};
        std::atomic<bool> destroyed{false};
        auto crew = std::make_shared<detail::ThreadCrew>(
            ThreadPoolOptions{.max_threads = 2, .greenlets = greenlets});
        const std::weak_ptr<detail::ThreadCrew> watch = crew;
        auto pool = std::make_unique<ThreadPool>(std::move(crew));
        auto other = pool->spawn([&gate] { gate.pass(); });
        gate.entered.acquire();
        auto last = pool->spawn([&, token = std::make_shared<int>(5)] {
            const auto destroy = [&] {
                destroying = true;
                pool.reset();
                destroyed = true;
            };
            if (greenlets) {
                spawn(destroy).join();
            } else {
                destroy();
            }
            return *token;
        });
        until([&] { return destroying.load(); });
        CHECK_FALSE(destroyed);
        CHECK_FALSE(last.ready());
        gate.open.release();
        CHECK(other.join());
        CHECK(last.get() == 5);
        CHECK(destroyed);
        until([&] { return watch.expired(); });
    });
}

TEST_CASE("thread crew: what ends with one of its threads may destroy the pool", "[core][os]") {
    struct Owner {
        ~Owner() {
            pool.reset();
            try {
                spawn([] {});
            } catch (const UsageError& error) {
                said = error.what();
            }
            gone.release();
        }
        std::unique_ptr<ThreadPool> pool;
        std::string& said;
        std::binary_semaphore& gone;
    };
    run_green_for_real([] {
        std::binary_semaphore gone{0};
        std::string said;
        auto pool = std::make_unique<ThreadPool>(
            ThreadPoolOptions{.max_threads = 1, .idle_time = 0s, .name = "files"});
        Gate gate;
        pool->spawn([&] {
            gate.pass();
            static thread_local Owner owner{std::move(pool), said, gone};
        });
        gate.entered.acquire();
        gate.open.release();
        gone.acquire();
        CHECK(said == "greenlets in a thread of a pool that has gone");
    });
}

TEST_CASE("thread crew: its own functions are told that they cannot wait for all to end",
          "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{{.max_threads = 2, .name = "files"}};
        pool.apply([&] {
            CHECK_THROWS_WITH(pool.join(), Catch::Contains("the thread pool 'files'"));
            CHECK_THROWS_AS(pool.kill(), UsageError);
            CHECK_FALSE(pool.join(1ms));
            CHECK(pool.spawn([] { return 1; }).get() == 1);  // kill() has done nothing
        });
        CHECK(pool.join());
        pool.apply([&] {
            CHECK_FALSE(pool.kill(Deadline::passed()));
            CHECK_THROWS_AS(pool.spawn([] {}), Closed);
        });
        CHECK(pool.kill());
    });
}

TEST_CASE("thread crew: a failed start gives the room back", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{{.max_threads = 1, .max_queue = 0}};
        auto token = std::make_shared<int>(1);
        {
            const tests::FailNth failure{0, EAGAIN, sys::Call::sigprocmask};
            CHECK_THROWS_AS(pool.spawn([token] {}), std::system_error);
        }
        CHECK(token.use_count() == 1);
        CHECK(pool.join(Deadline::passed()));
        CHECK(pool.try_spawn([] {}).has_value());
    });
}

TEST_CASE("thread crew: random kills and limits on its spawners lose neither room nor functions",
          "[core][os]") {
    constexpr std::size_t room = 3;
    ThreadPool pool{{.max_threads = 2, .max_queue = room - 2}};
    std::atomic<int> taken{0};
    std::atomic<int> ran{0};
    const auto hub = [&](std::uint64_t seed) {
        detail::Hub own{detail::make_ev_reactor()};
        std::mt19937_64 random{seed};
        for (int round = 0; round < 100; ++round) {
            std::vector<AnyGreenlet> spawners;
            for (int i = 0; i < 6; ++i) {
                const auto limit = std::chrono::microseconds(random() % 200);
                spawners.push_back(spawn([&, limit, waits = random() % 2 == 0] {
                    (void)with_timeout(limit, [&] {
                        auto task = pool.spawn([&ran] { ++ran; });
                        ++taken;
                        if (waits) task.join();
                    });
                }));
            }
            for (auto steps = random() % 4; steps > 0; --steps) yield();
            for (const auto& spawner : spawners) {
                if (random() % 3 == 0) spawner.kill_soon();
            }
            joinall(spawners);
        }
    };
    std::thread first{hub, tests::seed()};
    std::thread second{hub, tests::seed() + 1};
    first.join();
    second.join();
    CHECK(pool.join());
    CHECK(ran == taken);
    CHECK(ran > 0);
    CHECK(pool.waiting() == 0);
    Gate gates[room];
    for (Gate& gate : gates) CHECK(pool.try_spawn([&gate] { gate.pass(); }).has_value());
    CHECK_FALSE(pool.try_spawn([] {}).has_value());
    for (Gate& gate : gates) gate.open.release();
}
