// What a process does with a signal belongs to all its threads.

#include <atomic>
#include <cerrno>
#include <csignal>
#include <pthread.h>
#include <thread>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>
#include <green/signals.hpp>
#include <green/sys.hpp>

#include "sched/sanitizer.hpp"
#include "support/in_a_child.hpp"
#include "support/run_green.hpp"

using green::SignalSet;
using namespace std::chrono_literals;
using tests::in_a_child;

namespace {

using Handler = void (*)(int);

Handler disposition(int signal) {
    struct sigaction now {};
    (void)::sigaction(signal, nullptr, &now);
    return now.sa_handler;
}

std::atomic<int> handled{0};
void own_handler(int) { ++handled; }

/// Looks what the process does with SIGUSR2 whenever that, or what this thread blocks, is about to
/// change.
class Looks final : public green::sys::Injector {
 public:
    Looks() : outer_{green::sys::set_injector(this)} {}
    Looks(const Looks&) = delete;
    Looks& operator=(const Looks&) = delete;
    ~Looks() override { green::sys::set_injector(outer_); }
    int before(green::sys::Call call, int) noexcept override {
        using green::sys::Call;
        if (call != Call::sigaction && call != Call::sigprocmask) return 0;
        ++count;
        if (disposition(SIGUSR2) == SIG_DFL) ++defaults;
        return 0;
    }
    int count = 0;
    int defaults = 0;

 private:
    Injector* outer_;
};

}  // namespace

TEST_CASE("signals: when a watch begins or ends the default never comes in between",
          "[core][signals]") {
    const Handler before = GENERATE(as<Handler>{}, SIG_IGN, own_handler);
    std::signal(SIGUSR2, before);
    tests::run_green_for_real([&] {
        const Looks looks;
        { const SignalSet signals{SIGUSR2}; }
        CHECK(looks.count > 0);
        CHECK(looks.defaults == 0);
    });
    CHECK(disposition(SIGUSR2) == before);
    std::signal(SIGUSR2, SIG_DFL);
}

TEST_CASE("signals: one may come to another thread while its watch, or its hub, ends",
          "[core][signals]") {
    std::signal(SIGUSR2, own_handler);
    std::atomic<bool> stop{false};
    std::thread other{[&] {
        while (!stop) ::pthread_kill(::pthread_self(), SIGUSR2);
    }};
    int told = 0;
    for (int round = 0; round < 200; ++round) {
        std::thread{[&] {
            SignalSet outlives_others{SIGUSR2};
            outlives_others.set_ref(true);
            told += outlives_others.next() == SIGUSR2 ? 1 : 0;
        }}.join();
    }
    stop = true;
    other.join();
    CHECK(told == 200);
    CHECK(disposition(SIGUSR2) == own_handler);
    std::signal(SIGUSR2, SIG_DFL);
}

namespace {

int watch_it_and_raise_it() {
    try {
        SignalSet signals{SIGUSR2};
        (void)::raise(SIGUSR2);
        // In such a child the thread sanitizer may keep a signal from any handler.
        return GREEN_THREAD_SANITIZER || signals.next(1s) == SIGUSR2 ? 0 : 1;
    } catch (const std::system_error& error) {
        return error.code().value();
    }
}

}  // namespace

TEST_CASE("signals: in a child of a thread without a hub they are as before, and can be watched",
          "[core][signals]") {
    std::signal(SIGUSR2, own_handler);
    tests::run_green_for_real([] {
        SignalSet signals{SIGUSR2};
        CHECK(in_a_child([] { return disposition(SIGUSR2) == own_handler ? 0 : 1; }) == 0);
        CHECK(in_a_child(&watch_it_and_raise_it) == 0);
        CHECK_FALSE(signals.next(green::Deadline::passed()));
        REQUIRE(::raise(SIGUSR2) == 0);
        CHECK(signals.next(10s) == SIGUSR2);
    });
    std::signal(SIGUSR2, SIG_DFL);
}
