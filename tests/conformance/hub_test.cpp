// The hub and its watchers. Where a case speaks of elapsed time, the virtual clock makes it exact.

#include "sched/hub.hpp"

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/sys.hpp>
#include <green/thread_pool.hpp>
#include <green/timeout.hpp>
#include <green/watcher.hpp>

#include "loop/ev_reactor.hpp"
#include "support/faults.hpp"
#include "support/gate.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::run_green_for_real;

namespace {

std::size_t native_threads() {
    const std::filesystem::directory_iterator all{"/proc/self/task"};
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// KiB of address space: what maps memory and does not give it back shows here.
std::size_t address_space() {
    std::ifstream status{"/proc/self/status"};
    for (std::string word; status >> word;) {
        std::size_t size = 0;
        if (word == "VmSize:" && status >> size) return size;
    }
    FAIL("no VmSize in /proc/self/status");
    return 0;
}

}  // namespace

TEST_CASE("C018: loop-join on what is pending, repeatable", "[conformance]") {
    run_green([] {
        const auto elapsed = [begin = green::now()] { return green::now() - begin; };
        CHECK(green::hub_join());
        CHECK(green::hub_join());

        auto quick = green::spawn([] {});
        CHECK(green::hub_join(10s));
        CHECK(quick.ready());
        CHECK(elapsed() == 0ms);

        auto soon = green::spawn([] { green::sleep(50ms); });
        CHECK(green::hub_join(10s));
        CHECK(soon.ready());
        CHECK(elapsed() == 50ms);

        auto late = green::spawn([] { green::sleep(10s); });
        CHECK_FALSE(green::hub_join(50ms));
        CHECK_FALSE(late.ready());
        CHECK(elapsed() == 100ms);
        late.kill();
        CHECK(green::hub_join());
        green::sleep(1ms);
        CHECK(elapsed() == 101ms);
    });
}

TEST_CASE("C028: a yield loop cannot starve timers", "[conformance]") {
    run_green_for_real([] {
        green::TimeoutScope limit{10ms};
        try {
            for (;;) green::yield();
        } catch (const green::Timeout& timeout) {
            CHECK(limit.owns(timeout));
        }
        CHECK(limit.expired());
    });
}

TEST_CASE("C030: blocking in a hub callback", "[conformance]") {
    run_green([] {
        const tests::Errors errors;
        int runs = 0;
        green::TimerWatcher timer{1ms, 1ms};
        timer.start([&] {
            if (++runs == 2) timer.stop();
            green::sleep(1ms);
            FAIL("it waited");
        });
        CHECK(green::hub_join());
        CHECK(runs == 2);  // the hub goes on
        REQUIRE(errors.count() == 2);
        CHECK(errors.all[0].find("BlockingInHub") != std::string::npos);
    });
}

TEST_CASE("C031: wake from a foreign thread", "[conformance]") {
    run_green_for_real([] {
        green::AsyncWatcher async;
        green::TimerWatcher keeps_the_hub_busy{1h};
        keeps_the_hub_busy.start([] { FAIL("an hour has passed"); });
        std::atomic<bool> waiting{false};
        std::thread thread;
        {
            auto waiter = green::spawn([&] {
                waiting = true;
                return async.wait();
            });
            thread = std::thread{[&] {
                while (!waiting) std::this_thread::yield();
                async.send();
            }};
            CHECK(waiter.get());
        }
        thread.join();

        int runs = 0;
        async.start([&] { ++runs; });
        thread = std::thread{[&] {
            for (int i = 0; i < 10; ++i) async.send();
        }};
        CHECK(async.wait());
        thread.join();
        CHECK(runs >= 1);
    });
}

TEST_CASE("C032: watcher life and validation", "[conformance]") {
    run_green_for_real([] {
        int runs = 0;
        green::TimerWatcher timer{1ms};
        timer.start([&] { ++runs; });
        CHECK_THROWS_AS(timer.set_priority(1), green::UsageError);
        CHECK(green::hub_join());
        CHECK(runs == 1);
        timer.set_priority(1);
        CHECK(timer.priority() == 1);

        CHECK_THROWS_AS(green::IoWatcher(-1, green::IoEvents::read), std::system_error);
        int ends[2];
        green::sys::must(green::sys::pipe2(ends), "pipe2");
        const green::Fd reader{ends[0]};
        green::Fd{ends[1]}.close();
        CHECK_THROWS_AS(green::IoWatcher(ends[1], green::IoEvents::write), std::system_error);
        CHECK_THROWS_AS(timer.start(std::function<void()>{}), green::UsageError);
        CHECK_FALSE(timer.active());
        CHECK(green::hub_join());
        green::sleep(1ms);
    });
}

TEST_CASE("C033: a started watcher keeps itself alive", "[conformance]") {
    run_green([] {
        auto token = std::make_shared<int>(0);
        int runs = 0;
        {
            auto timer = std::make_unique<green::TimerWatcher>(1ms, 1ms);
            timer->start([&runs, token](green::TimerWatcher& self) {
                ++runs;
                self.set_callback([token] { FAIL("it was stopped"); });
                self.stop();
                CHECK(token.use_count() == 2);
            });
            green::detach(std::move(timer));
        }
        CHECK(token.use_count() == 2);
        CHECK(green::hub_join());
        CHECK(runs == 1);
        CHECK(token.use_count() == 1);
        CHECK(green::hub_figures().watchers == 0);
    });
}

TEST_CASE("C034: hub teardown and rebirth", "[conformance]") {
    const auto life = [] {
        const green::detail::Hub hub{green::detail::make_ev_reactor()};
        green::ThreadPool pool{2};
        CHECK(pool.apply([] { return 7; }) == 7);
        for (int i = 0; i < 100; ++i) green::spawn([] { green::sleep(1h); });
        green::AsyncWatcher async;
        async.start([] {});
        int ends[2];
        green::sys::must(green::sys::pipe2(ends), "pipe2");
        const green::Fd reader{ends[0]};
        const green::Fd writer{ends[1]};
        green::IoWatcher io{ends[1], green::IoEvents::write};
        io.start([&] { io.stop(); });
        green::PeriodicWatcher wall{1h};
        wall.start([] {});
        green::StatWatcher file{"/"};
        file.start([] {});
        green::SignalWatcher signal{SIGUSR1};
        signal.start([] {});
        green::sleep(1ms);
        CHECK(pool.apply([] {
            // A hub of a thread's own, made by itself, gone with the thread.
            std::thread{[] { green::sleep(1us); }}.join();
            return 8;
        }) == 8);
    };
    const std::size_t threads = native_threads();
    life();  // what the process makes once is made now
    const std::size_t descriptors = tests::open_descriptors();
    std::size_t most = 0;
    for (int i = 0; i < 50; ++i) {
        life();
        if (i == 9) most = address_space();
    }
    CHECK(tests::open_descriptors() == descriptors);
    // One that was joined is listed a little longer.
    tests::until([&] { return native_threads() == threads; });
    // One hub's stacks alone take 32 MiB of addresses; 40 hubs may not take as much as one.
    CHECK(address_space() < most + 32 * 1024);
}
