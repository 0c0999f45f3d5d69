// How many threads a pool has, and when they come and go.

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "os/thread_crew.hpp"
#include "support/busy_pool.hpp"
#include "support/gate.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::BusyPool;
using tests::Gate;
using tests::run_green_for_real;
using tests::until;

TEST_CASE("thread crew: more threads let in who waits", "[core][os]") {
    run_green_for_real([] {
        BusyPool busy{{.max_threads = 1, .max_queue = 0}};
        auto waiter = spawn([&] { return busy.pool.spawn([] { return 1; }).get(); });
        tests::settle();
        CHECK(busy.pool.waiting() == 1);
        busy.pool.set_max_threads(2);
        CHECK(waiter.get() == 1);
        CHECK(busy.pool.max_threads() == 2);
        CHECK(busy.pool.size() == 2);
        CHECK_THROWS_AS(busy.pool.set_max_threads(0), UsageError);
        CHECK(busy.pool.max_threads() == 2);
    });
}

TEST_CASE("thread crew: more threads start at once for what is queued", "[core][os]") {
    run_green_for_real([] {
        BusyPool busy{{.max_threads = 1}};
        auto queued = busy.pool.spawn([] { return 1; });
        CHECK_FALSE(queued.ready());
        busy.pool.set_max_threads(2);
        CHECK(queued.get() == 1);  // the first thread is still busy
    });
}

TEST_CASE("thread crew: fewer threads end when they have done what they do", "[core][os]") {
    run_green_for_real([] {
        BusyPool busy{{.max_threads = 3, .max_queue = 0, .idle_time = 1h}};
        busy.pool.set_max_threads(1);
        CHECK(busy.pool.size() == 3);
        busy.open();
        for (const auto& task : busy.tasks) task.join();
        until([&] { return busy.pool.size() == 1; });
        CHECK(busy.pool.apply([] { return 1; }) == 1);

        busy.pool.set_max_threads(3);
        Gate gates[3];
        std::vector<ThreadTask<void>> tasks;
        for (Gate& gate : gates) {
            tasks.push_back(busy.pool.spawn([&gate] { gate.pass(); }));
            gate.entered.acquire();
        }
        busy.pool.set_max_threads(2);
        gates[0].open.release();
        tasks[0].join();
        CHECK_FALSE(busy.pool.try_spawn([] {}).has_value());  // two still run
        gates[1].open.release();
        tasks[1].join();
        CHECK(busy.pool.try_spawn([] {}).has_value());
        gates[2].open.release();
    });
}

TEST_CASE("thread crew: fewer threads end though there is work left", "[core][os]") {
    run_green_for_real([] {
        BusyPool busy{{.max_threads = 2}};
        Gate gates[2];
        std::vector<ThreadTask<void>> tasks;
        for (Gate& gate : gates) tasks.push_back(busy.pool.spawn([&gate] { gate.pass(); }));
        busy.pool.set_max_threads(1);
        busy.open();
        gates[0].entered.acquire();
        until([&] { return busy.pool.size() == 1; });
        CHECK_FALSE(gates[1].entered.try_acquire());
        gates[0].open.release();
        gates[1].open.release();
        CHECK(busy.pool.join());
    });
}

namespace {

/// Time passes when the test says so.
class TestIdleWait final : public detail::IdleWait {
 public:
    void wait(std::condition_variable& work, std::unique_lock<std::mutex>& lock, Duration limit,
              const std::function<bool()>& ready) override {
        if (mutex_ == nullptr) {  // once, as pass() looks at them without it
            mutex_ = lock.mutex();
            work_ = &work;
        }
        const Duration until = time_ + limit;
        ++waiting_;
        work.wait(lock, [&] {
            ++looks_;
            return ready() || time_ >= until;
        });
        --waiting_;
    }
    [[nodiscard]] int waiting() const { return waiting_; }
    /// Returns when the one idle thread has seen the new time.
    void pass(Duration duration) {
        until([this] { return looks_ > 0; });
        int before = 0;
        {
            const std::lock_guard lock{*mutex_};
            before = looks_;
            time_ += duration;
            work_->notify_all();
        }
        until([&] { return looks_ > before; });
    }

 private:
    std::atomic<int> waiting_{0};
    std::atomic<int> looks_{0};
    std::mutex* mutex_ = nullptr;  // of the crew; guards time_
    std::condition_variable* work_ = nullptr;
    Duration time_{};
};

}  // namespace

TEST_CASE("thread crew: an idle thread ends after its time and comes back on demand",
          "[core][os]") {
    run_green_for_real([] {
        auto owned = std::make_unique<TestIdleWait>();
        TestIdleWait& time = *owned;
        ThreadPool pool{std::make_shared<detail::ThreadCrew>(
            ThreadPoolOptions{.max_threads = 2, .idle_time = 5s}, std::move(owned))};
        const auto who = [] { return std::this_thread::get_id(); };
        const auto first = pool.apply(who);
        time.pass(3s);
        CHECK(pool.size() == 1);
        CHECK(pool.apply(who) == first);
        time.pass(3s);  // not idle for five
        CHECK(pool.size() == 1);
        time.pass(2s);
        until([&] { return pool.size() == 0; });
        CHECK(pool.apply([] { return 7; }) == 7);
        CHECK(pool.size() == 1);
    });
}

TEST_CASE("thread crew: fewer threads end at once where they are idle", "[core][os]") {
    run_green_for_real([] {
        auto owned = std::make_unique<TestIdleWait>();
        TestIdleWait& time = *owned;
        ThreadPool pool{std::make_shared<detail::ThreadCrew>(
            ThreadPoolOptions{.max_threads = 3, .idle_time = 1h}, std::move(owned))};
        Gate gates[3];
        for (Gate& gate : gates) {
            pool.spawn([&gate] { gate.pass(); });
            gate.entered.acquire();
        }
        for (Gate& gate : gates) gate.open.release();
        until([&] { return time.waiting() == 3; });
        CHECK(pool.size() == 3);
        pool.set_max_threads(1);
        until([&] { return pool.size() == 1; });
        CHECK(pool.apply([] { return 1; }) == 1);
    });
}

TEST_CASE("thread crew: with no idle time a thread ends with its work", "[core][os]") {
    run_green_for_real([] {
        ThreadPool pool{{.max_threads = 2, .idle_time = 0s}};
        for (int i = 0; i < 20; ++i) {
            CHECK(pool.apply([i] { return i; }) == i);
            until([&] { return pool.size() == 0; });
        }
    });
}

TEST_CASE("thread crew: nobody but the end of the pool waits for what ends with a thread",
          "[core][os]") {
    struct Lingers {
        ~Lingers() { gate.pass(); }
        Gate& gate;
    };
    run_green_for_real([] {
        Gate gate;
        ThreadPool pool{{.max_threads = 1, .idle_time = 0s}};
        pool.apply([&gate] { static thread_local Lingers lingers{gate}; });
        gate.entered.acquire();  // which is after all that it did for the pool
        CHECK(pool.size() == 0);
        CHECK(pool.apply([] { return 1; }) == 1);
        CHECK(pool.try_spawn([] { return 2; })->get() == 2);
        gate.open.release();
    });
}
