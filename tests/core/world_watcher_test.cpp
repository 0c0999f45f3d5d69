// Watchers of what the operating system tells, mostly in the real world. Nothing here depends on
// how fast it is.

#include <atomic>
#include <cerrno>
#include <csignal>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/process.hpp>
#include <green/queue.hpp>
#include <green/select.hpp>
#include <green/signals.hpp>
#include <green/sys.hpp>
#include <green/wait.hpp>
#include <green/watcher.hpp>

#include "loop/ev_reactor.hpp"
#include "support/faults.hpp"
#include "support/pipe.hpp"
#include "support/run_green.hpp"
#include "support/streams.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::error_of;
using tests::for_each_failure_in_a_new_hub;
using tests::run_green_for_real;
using tests::settle;

namespace {

/// A pid that was ours and is no more.
pid_t gone_pid() {
    Process process = Process::start({.argv = {"/bin/true"}});
    process.join();
    return process.pid();
}

}  // namespace

// --- descriptors ---

TEST_CASE("periodic watcher: once at a time, at once when it has passed", "[core][watcher]") {
    run_green_for_real([] {
        using std::chrono::system_clock;
        const WallTime at = system_clock::now() + GENERATE(20ms, -1h);
        PeriodicWatcher watcher{at};
        int runs = 0;
        watcher.start([&] {
            ++runs;
            CHECK(system_clock::now() >= at);
            CHECK_FALSE(watcher.active());
        });
        CHECK(hub_join());
        CHECK(runs == 1);
    });
}

TEST_CASE("periodic watcher: at multiples of an interval", "[core][watcher]") {
    run_green_for_real([] {
        constexpr Duration interval = 20ms;
        constexpr Duration offset = 5ms;
        PeriodicWatcher watcher{interval, offset};
        std::vector<WallTime> told;
        const WallTime begin = std::chrono::system_clock::now();
        watcher.start([&] {
            told.push_back(std::chrono::system_clock::now());
            if (told.size() == 3) watcher.stop();
        });
        CHECK(hub_join());
        // None is early: the next one counts from when the hub looks at the time, so that a late
        // one may come within the period of the one behind it.
        auto period = [=](WallTime time) { return (time.time_since_epoch() - offset) / interval; };
        auto due = period(begin);
        for (const WallTime time : told) {
            ++due;
            CHECK(period(time + 1us) >= due);  // libev counts in doubles
        }
    });
}

TEST_CASE("periodic watcher: asks a function for the next time", "[core][watcher]") {
    run_green_for_real([] {
        std::vector<WallTime> asked;
        PeriodicWatcher watcher{[&](WallTime present) {
            asked.push_back(present + 2ms);
            return asked.back();
        }};
        int runs = 0;
        watcher.start([&] {
            // It was asked for the next one before.
            CHECK(asked.size() == static_cast<std::size_t>(runs) + 2);
            CHECK(std::chrono::system_clock::now() >= asked[static_cast<std::size_t>(runs)]);
            if (++runs == 3) watcher.stop();
        });
        CHECK(hub_join());
        CHECK(runs == 3);
    });
}

TEST_CASE("periodic watcher: what its function sets off is not lost on who begins to wait",
          "[core][watcher]") {
    run_green_for_real([] {
        Queue<int> queue;
        Event event;
        PeriodicWatcher hourly{[&](WallTime present) {
            queue.try_put(7);
            event.set();
            return present + 1h;
        }};
        const auto got = green::select(recv(queue), hourly, after(10s));
        REQUIRE(got.index() == 0);
        CHECK(std::get<0>(got) == 7);
        event.clear();
        CHECK(wait({event, hourly, after(10s)}, {.count = 1}) == std::vector<std::size_t>{0});
        CHECK_FALSE(hourly.active());
    });
}

TEST_CASE("periodic watcher: a bad next time ends it and is told", "[core][watcher]") {
    run_green_for_real([] {
        const tests::Errors errors;
        CHECK_THROWS_AS(PeriodicWatcher{PeriodicWatcher::Next{}}, UsageError);
        CHECK_THROWS_AS(PeriodicWatcher{0ms}, UsageError);
        CHECK_THROWS_AS((PeriodicWatcher{1ms, 1ms}), UsageError);
        CHECK_THROWS_AS((PeriodicWatcher{1ms, -1ms}), UsageError);
        PeriodicWatcher stuck{[](WallTime present) { return present; }};
        CHECK_THROWS_AS(stuck.start([] {}), UsageError);
        CHECK_FALSE(stuck.active());

        int asked = 0;
        PeriodicWatcher watcher{[&](WallTime present) -> WallTime {
            if (++asked == 2) throw std::runtime_error("no idea");
            return present + 1ms;
        }};
        watcher.start([] { FAIL("there is no next time"); });
        CHECK(hub_join());
        CHECK_FALSE(watcher.active());
        REQUIRE(errors.count() == 1);
        CHECK(errors.all[0].find("no idea") != std::string::npos);
        asked = 0;
        auto waiter = spawn([&] { watcher.wait(); });
        CHECK_THROWS_WITH(waiter.get(), "no idea");
    });
}

// --- signals ---

TEST_CASE("signal watcher: a real one wakes a sleeping hub", "[core][watcher]") {
    run_green_for_real([] {
        SignalWatcher watcher{SIGUSR1};
        watcher.set_ref(true);
        int runs = 0;
        watcher.start([&] {
            ++runs;
            watcher.stop();
        });
        REQUIRE(::raise(SIGUSR1) == 0);
        CHECK(hub_join());
        CHECK(runs == 1);
    });
}

TEST_CASE("signal watcher: a signal that another hub has is refused", "[core][watcher]") {
    run_green_for_real([] {
        SignalWatcher ours{SIGUSR1};
        ours.start([] {});
        const auto is_free = [](int signal) {
            int error = 0;
            std::thread{[&] {
                SignalWatcher theirs{signal};
                error = error_of([&] { theirs.start([] {}); });
                CHECK(theirs.active() == (error == 0));
            }}.join();  // it goes with its hub
            return error == 0;
        };
        CHECK_FALSE(is_free(SIGUSR1));
        std::thread{[&] {
            CHECK(error_of([] { const SignalSet both{SIGHUP, SIGUSR1}; }) == EBUSY);
            CHECK(is_free(SIGHUP));  // what was refused has left nothing behind
        }}.join();
        ours.stop();
        CHECK(is_free(SIGUSR1));
        ours.start([] {});
        CHECK_FALSE(is_free(SIGUSR1));

        std::optional<SignalSet> outlives;
        std::thread{[&] { outlives.emplace(std::initializer_list<int>{SIGHUP}); }}.join();
        CHECK(is_free(SIGHUP));
    });
}

// --- children ---

TEST_CASE("child watcher: tells how a child ended, and reaps no other", "[core][watcher]") {
    run_green_for_real([] {
        Process other = Process::start({.argv = {"/bin/sh", "-c", "exit 7"}});
        Process process = Process::start({.argv = {"/bin/sh", "-c", "exit 3"}});
        ChildWatcher watcher{process};
        CHECK(watcher.pid() == process.pid());
        CHECK_FALSE(watcher.status().has_value());
        int runs = 0;
        watcher.start([&] {
            ++runs;
            CHECK_FALSE(watcher.active());
            CHECK(watcher.status()->text() == "exited with 3");
        });
        CHECK(hub_join());
        CHECK(runs == 1);
        CHECK(process.poll()->code == 3);
        CHECK(watcher.wait());  // it has happened for good
        CHECK(other.join()->code == 7);
    });
}

TEST_CASE("child watcher: watches a child by its number", "[core][watcher]") {
    run_green_for_real([] {
        const std::size_t descriptors = tests::open_descriptors();
        {
            const pid_t pid = ::fork();  // by foreign code, as far as we are concerned
            if (pid == 0) {
                ::raise(SIGKILL);
                ::_exit(1);
            }
            ChildWatcher watcher{pid};
            CHECK(watcher.wait());
            CHECK(watcher.status()->text() == "killed by SIGKILL");
            CHECK(error_of([&] { ChildWatcher{pid}; }) == ESRCH);
        }
        CHECK(tests::open_descriptors() <= descriptors + 1);  // the hub's own set of descriptors
    });
}

TEST_CASE("child watcher: refuses who is no child of ours", "[core][watcher]") {
    run_green_for_real([] {
        CHECK_THROWS_AS(ChildWatcher{0}, UsageError);
        CHECK_THROWS_AS(ChildWatcher{-1}, UsageError);
        CHECK_THROWS_AS(ChildWatcher{Process{}}, UsageError);
        CHECK(error_of([] { ChildWatcher{::getppid()}; }) == ECHILD);
        CHECK(error_of([] { ChildWatcher{gone_pid()}; }) == ESRCH);
    });
}

TEST_CASE("child watcher: a failing system call loses neither the child nor a descriptor",
          "[core][watcher]") {
    run_green_for_real([] {
        const std::size_t descriptors = tests::open_descriptors();
        for_each_failure_in_a_new_hub(EMFILE, [&] {
            const tests::Errors errors;
            const pid_t pid = ::fork();
            if (pid == 0) ::_exit(5);
            std::optional<ChildWatcher> watcher;
            std::optional<ExitStatus> status;
            const int error = error_of([&] {
                watcher.emplace(pid);
                watcher->start([&] { status = watcher->status(); });
            });
            CHECK(hub_join());
            if (!status) {
                CHECK((error == EMFILE || errors.count() == 1));
                int raw = 0;
                REQUIRE(::waitpid(pid, &raw, 0) == pid);  // it is still there for others
                CHECK(WEXITSTATUS(raw) == 5);
            } else {
                CHECK(status->code == 5);
            }
        });
        CHECK(tests::open_descriptors() == descriptors);
    });
}

// --- files ---

TEST_CASE("stat watcher: tells of changes, with what was and what is", "[core][watcher]") {
    run_green_for_real([] {
        const tests::TempDir directory;
        const std::string path = directory / "file";
        StatWatcher watcher{path, 1ms};
        CHECK(watcher.path() == path);
        Event changed;
        watcher.start([&] { changed.set(); });
        CHECK_FALSE(watcher.attr().has_value());

        directory.write("file", "four");
        changed.wait();
        changed.clear();
        REQUIRE(watcher.attr().has_value());
        CHECK(watcher.attr()->st_size == 4);
        CHECK_FALSE(watcher.prev().has_value());

        directory.write("file", "fifteen");
        while (watcher.attr()->st_size != 7) {  // it may be seen empty in between
            changed.wait();
            changed.clear();
        }
        CHECK(watcher.prev()->st_size != 7);

        sys::must(sys::unlink(path.c_str()), "unlink");
        changed.wait();
        CHECK_FALSE(watcher.attr().has_value());
        CHECK(watcher.prev()->st_size == 7);
    });
}

TEST_CASE("stat watcher: knows the file from its start on", "[core][watcher]") {
    run_green_for_real([] {
        const tests::TempDir directory;
        StatWatcher watcher{directory.write("file", "four")};
        CHECK_FALSE(watcher.attr().has_value());
        watcher.start([] {});
        REQUIRE(watcher.attr().has_value());
        CHECK(watcher.attr()->st_size == 4);
        CHECK_THROWS_AS(StatWatcher{""}, UsageError);
        CHECK_THROWS_AS(StatWatcher{std::string("a\0b", 3)}, UsageError);
        CHECK_THROWS_AS((StatWatcher{"a", -1ms}), UsageError);
    });
}

// --- calls from elsewhere ---

TEST_CASE("async watcher: threads and signal handlers may call", "[core][watcher]") {
    run_green_for_real([] {
        static AsyncWatcher* target = nullptr;
        AsyncWatcher async;
        target = &async;
        int runs = 0;
        async.start([&] { ++runs; });
        struct sigaction handler {};
        struct sigaction before {};
        handler.sa_handler = [](int) { target->send(); };
        sys::must(sys::sigaction(SIGUSR2, &handler, &before), "sigaction");
        REQUIRE(::raise(SIGUSR2) == 0);
        while (runs == 0) settle();
        sys::must(sys::sigaction(SIGUSR2, &before, nullptr), "sigaction");

        const int seen = runs;
        std::thread thread{[&] {
            for (int i = 0; i < 1000; ++i) async.send();
        }};
        CHECK(async.wait());
        thread.join();
        while (async.pending()) settle();
        CHECK(runs > seen);
        CHECK(runs <= seen + 1000);
        async.stop();
        CHECK(hub_join());
    });
}

TEST_CASE("async watcher: threads may call while it is stopped and its hub goes",
          "[core][watcher]") {
    AsyncWatcher async;
    std::atomic<bool> done{false};
    std::thread caller{[&] {
        while (!done) async.send();
    }};
    for (int i = 0; i < 200; ++i) {
        const detail::Hub hub{detail::make_ev_reactor()};
        async.start([] {});
        for (int turn = 0; turn < i % 3; ++turn) settle();
        if (i % 2 == 0) async.stop();
    }
    done = true;
    caller.join();
    CHECK_FALSE(async.active());
}
