// A child that is forked while other threads hold locks. They are not there to let go of them.

#include <atomic>
#include <csignal>
#include <mutex>
#include <optional>
#include <pthread.h>
#include <semaphore>
#include <thread>

#include <catch2/catch.hpp>

#include <green/detail/thread_gate.hpp>
#include <green/green.hpp>
#include <green/watcher.hpp>

#include "os/process_locks.hpp"
#include "support/gate.hpp"
#include "support/in_a_child.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using detail::ProcessLocks;
using detail::ThreadGate;
using tests::fork_and_run;
using tests::in_a_child;

namespace {

struct Forking {
    std::binary_semaphore begins{0};
    std::binary_semaphore is_over{0};
};
Forking* forking = nullptr;

/// Told before the library is, and after it.
void be_told_of_forks() {
    static const int refused = ::pthread_atfork(
        [] {
            if (forking != nullptr) forking->begins.release();
        },
        [] {
            if (forking != nullptr) forking->is_over.release();
        },
        nullptr);
    REQUIRE(refused == 0);
}

std::atomic<bool> raise_in_next_fork{false};

/// Before the library is told, so that a fork calls it after the library.
[[gnu::constructor(101)]] void be_told_early_of_forks() {
    (void)::pthread_atfork(
        [] {
            if (raise_in_next_fork.exchange(false)) (void)::raise(SIGUSR1);
        },
        nullptr, nullptr);
}

/// Holds a lock in a thread of its own.
class Held {
 public:
    explicit Held(std::mutex& lock)
        : thread_{[this, &lock] {
              const std::lock_guard held{lock};
              gate_.pass();
          }} {
        gate_.entered.acquire();
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
        gate_.open.release();
        thread_.join();
    }

 private:
    tests::Gate gate_;
    std::thread thread_;
};

struct Shared {
    std::mutex mutex;
    ThreadGate gate{mutex, 0, "a test"};
    struct Ready final : ThreadGate::Node {
        explicit Ready(Shared& shared) noexcept : Node{shared.gate} {}
    };
};

}  // namespace

TEST_CASE("fork: waits for the locks of the process, which its child finds free", "[core][fork]") {
    const auto lock = GENERATE(&ProcessLocks::log, &ProcessLocks::signals, &ProcessLocks::locals);
    be_told_of_forks();
    Forking it;
    forking = &it;
    std::binary_semaphore held{0};
    bool went_on = false;  // although the lock was held
    std::thread holder{[&] {
        const std::lock_guard holds{detail::process_locks.*lock};
        held.release();
        it.begins.acquire();
        went_on = it.is_over.try_acquire_for(20ms);
    }};
    held.acquire();
    CHECK(in_a_child([] {
              (void)log::figures();
              const SignalSet signals{SIGUSR2};
              GreenletLocal<int> local;
              return *local;
          }) == 0);
    holder.join();
    CHECK_FALSE(went_on);
    forking = nullptr;
}

TEST_CASE("fork: a fork watcher can log", "[core][fork]") {
    tests::run_green_for_real([] {
        ForkWatcher watcher;
        watcher.start([] {
            ::alarm(10);
            (void)log::figures();
        });
        (void)log::figures();
        CHECK(fork_and_run([] { return 0; }) == 0);
    });
}

TEST_CASE("fork: what threads share can be destroyed in the child, whoever held its lock",
          "[core][fork]") {
    std::optional<Shared> shared{std::in_place};
    SECTION("a gate") {
        const Held held{shared->mutex};
        CHECK(in_a_child([&] {
                  shared.reset();
                  return 0;
              }) == 0);
    }
    SECTION("a wait in it") {
        tests::run_green_for_real([&] {
            std::optional<WaitSet> waits{std::in_place};
            waits->add(*shared);
            const Held held{shared->mutex};
            CHECK(fork_and_run([&] {
                      waits.reset();
                      return 0;
                  }) == 0);
        });
    }
    SECTION("a pool") {
        std::optional<ThreadPool> pool{std::in_place, 2};
        pool->spawn([] {}).get();
        CHECK(in_a_child([&] {
                  pool.reset();
                  return 0;
              }) == 0);
    }
}

TEST_CASE("fork: the hub of another thread has gone in the child", "[core][fork]") {
    tests::run_green_for_real([] {
        const HubRef hub;
        CHECK(in_a_child([&] { return hub.post([] {}) ? 1 : 0; }) == 0);
    });
}

TEST_CASE("fork: the handler of a signal that comes meanwhile may fork, too", "[core][fork]") {
    CHECK(in_a_child([] {
              (void)std::signal(SIGUSR1, [](int) {
                  if (const pid_t child = ::fork(); child == 0) {
                      ::_exit(0);
                  } else {
                      (void)::waitpid(child, nullptr, 0);
                  }
              });
              raise_in_next_fork = true;
              return fork_and_run([] { return 0; });
          }) == 0);
}
