// Watchers of what the operating system tells, mostly in the real world. Nothing here depends on
// how fast it is.

#include <atomic>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <functional>
#include <memory>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/fd.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/process.hpp>
#include <green/queue.hpp>
#include <green/select.hpp>
#include <green/signals.hpp>
#include <green/sys.hpp>
#include <green/timeout.hpp>
#include <green/wait.hpp>
#include <green/watcher.hpp>

#include "loop/ev_reactor.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::run_green;
using tests::run_green_for_real;
using tests::settle;

namespace {

struct Pipe {
    Pipe() {
        int ends[2];
        sys::must(sys::pipe2(ends), "pipe2");
        reader = Fd{ends[0]};
        writer = Fd{ends[1]};
    }
    void put() const { sys::must(sys::write(writer.number(), "x", 1), "write"); }
    void take() const {
        char byte;
        sys::must(sys::read(reader.number(), &byte, 1), "read");
    }
    Fd reader;
    Fd writer;
};

int errno_of(const std::function<void()>& call) {
    try {
        call();
    } catch (const std::system_error& error) {
        return error.code().value();
    }
    return 0;
}

/// As for_each_failure; the hub is new each time, so that what is made once is made each time.
std::size_t for_each_failure_in_a_new_hub(int error, const std::function<void()>& body) {
    for (std::size_t nth = 0;; ++nth) {
        const detail::Hub hub{detail::make_ev_reactor()};
        const tests::FailNth failure{nth, error};
        INFO("system call number " << nth << " fails");
        body();
        if (!failure.fired()) return nth;
    }
}

/// A pid that was ours and is no more.
pid_t gone_pid() {
    Process process = Process::start({.argv = {"/bin/true"}});
    process.join();
    return process.pid();
}

/// Whether the hub turns without anything to do.
bool hub_is_spinning() {
    const std::uint64_t turns = hub_figures().turns;
    sleep(20ms);
    return hub_figures().turns - turns > 10;
}

}  // namespace

// --- descriptors ---

TEST_CASE("io watcher: is told again and again while it is ready", "[core][watcher]") {
    run_green_for_real([] {
        const Pipe pipe;
        int runs = 0;
        IoWatcher watcher{pipe.reader.number(), IoEvents::read};
        watcher.start([&] {
            CHECK(watcher.ready() == IoEvents::read);
            if (++runs == 3) watcher.stop();
        });
        CHECK_FALSE(hub_join(0ms));
        settle();
        CHECK(runs == 0);
        pipe.put();
        CHECK(hub_join());
        CHECK(runs == 3);
    });
}

TEST_CASE("io watcher: several watch one descriptor, each what it asked for", "[core][watcher]") {
    run_green_for_real([] {
        int ends[2];
        sys::must(sys::socketpair(AF_UNIX, SOCK_STREAM, ends), "socketpair");
        const Fd here{ends[0]};
        const Fd there{ends[1]};
        std::string log;
        IoWatcher read{ends[0], IoEvents::read};
        IoWatcher write{ends[0], IoEvents::write};
        IoWatcher both{ends[0], IoEvents::read_write};
        write.start([&] {
            CHECK(write.ready() == IoEvents::write);
            log += 'w';
            write.stop();
        });
        read.start([&] {
            CHECK(read.ready() == IoEvents::read);
            log += 'r';
            read.stop();
        });
        both.start([&] {
            log += both.ready() == IoEvents::write ? 'b' : 'B';
            if (both.ready() == IoEvents::read_write) both.stop();
        });
        while (write.active()) settle();
        CHECK(log == "wb");
        CHECK(read.active());
        sys::must(sys::send(ends[1], "x", 1), "send");
        CHECK(hub_join());
        CHECK(log.find('r') != std::string::npos);
        CHECK(log.back() == 'B');
    });
}

TEST_CASE("io watcher: the end of a connection is readable and writable", "[core][watcher]") {
    run_green_for_real([] {
        int ends[2];
        sys::must(sys::socketpair(AF_UNIX, SOCK_STREAM, ends), "socketpair");
        const Fd here{ends[0]};
        Fd{ends[1]}.close();
        CHECK(wait_io(ends[0], IoEvents::read_write) == IoEvents::read_write);
    });
}

TEST_CASE("io watcher: refuses what cannot be watched", "[core][watcher]") {
    run_green_for_real([] {
        Pipe pipe;
        const int closed = pipe.writer.number();
        pipe.writer.close();
        const int open = pipe.reader.number();
        CHECK(errno_of([&] { IoWatcher(-1, IoEvents::read); }) == EBADF);
        CHECK(errno_of([&] { IoWatcher(closed, IoEvents::read); }) == EBADF);
        for (const IoEvents events :
             {IoEvents::none, IoEvents::closed, IoEvents::read | IoEvents::closed, IoEvents{8}}) {
            CHECK_THROWS_AS(IoWatcher(open, events), UsageError);
        }
        IoWatcher watcher{open, IoEvents::read};
        watcher.start([] {});
        CHECK_THROWS_AS(watcher.set(open, IoEvents::write), UsageError);
        CHECK(watcher.events() == IoEvents::read);
        watcher.stop();

        // Closed between its construction and its start.
        pipe.reader.close();
        CHECK(errno_of([&] { watcher.start([] {}); }) == EBADF);
        CHECK_FALSE(watcher.active());

        const tests::TempDir directory;
        const Fd file{sys::open(directory.write("a", "b").c_str(), O_RDONLY).as_int()};
        IoWatcher of_file{file.number(), IoEvents::read};
        CHECK(errno_of([&] { of_file.start([] {}); }) == EPERM);
        sleep(1ms);  // the hub is as it was
    });
}

TEST_CASE("io watcher: a callback that throws stops it", "[core][watcher]") {
    run_green_for_real([] {
        const tests::Errors errors;
        const Pipe pipe;
        pipe.put();
        IoWatcher watcher{pipe.reader.number(), IoEvents::read};
        watcher.start([] { throw std::runtime_error("boom"); });
        CHECK(hub_join());
        CHECK_FALSE(watcher.active());
        REQUIRE(errors.count() == 1);
        CHECK(errors.all[0].find("fd ") != std::string::npos);
    });
}

TEST_CASE("io watcher: learns that its descriptor is closed", "[core][watcher]") {
    run_green_for_real([] {
        Pipe pipe;
        const int number = pipe.reader.number();
        IoWatcher watcher{number, IoEvents::read};
        IoWatcher waited_for{number, IoEvents::read};
        std::vector<IoEvents> told;
        watcher.start([&] { told.push_back(watcher.ready()); });
        const tests::Errors errors;
        auto waiter = spawn([&] { waited_for.wait(); });
        auto other_waiter = spawn([&] { wait_readable(number); });
        settle();
        SECTION("by its owner") { pipe.reader.close(); }
        SECTION("by somebody who tells") {
            closing_fd(number);
            sys::must(sys::close(pipe.reader.release()), "close");
        }
        CHECK_FALSE(watcher.active());
        CHECK(watcher.pending());
        CHECK(errno_of([&] { waiter.get(); }) == EBADF);
        CHECK(errno_of([&] { other_waiter.get(); }) == EBADF);
        settle();
        CHECK(told == std::vector<IoEvents>{IoEvents::closed});

        // The number's next life is another story.
        const Pipe next;
        CHECK(next.reader.number() == number);
        next.put();
        settle();
        CHECK(told.size() == 1);
        CHECK(wait_readable(number));
        CHECK(watcher.ready() == IoEvents::closed);
    });
}

TEST_CASE("io watcher: closing tells greenlets that wait for the descriptor itself",
          "[core][watcher]") {
    run_green_for_real([] {
        const tests::Errors errors;
        Pipe pipe;
        auto waiter = spawn([&] { pipe.reader.wait_readable(); });
        settle();
        closing_fd(pipe.reader.number());
        CHECK(errno_of([&] { waiter.get(); }) == EBADF);
        closing_fd(-1);
    });
}

TEST_CASE("io watcher: a descriptor closed behind its back harms nobody", "[core][watcher]") {
    run_green_for_real([] {
        Pipe pipe;
        pipe.put();
        const Fd elsewhere{sys::dup(pipe.reader.number()).as_int()};
        const int number = pipe.reader.release();
        IoWatcher watcher{number, IoEvents::read};
        int runs = 0;
        watcher.start([&] { ++runs; });
        sys::must(sys::close(number), "close");
        if (GENERATE(false, true)) {
            // The file lives on elsewhere and stays readable, while nobody watches it any more:
            // the kernel would report it for ever.
            watcher.stop();
            const int before = runs;
            for (int i = 0; i < 5; ++i) settle();
            CHECK(runs == before);
            CHECK_FALSE(hub_is_spinning());
        } else {
            Pipe next;  // has the number
            CHECK(next.reader.number() == number);
            const int before = runs;
            IoWatcher of_next{number, IoEvents::read};
            int next_runs = 0;
            of_next.start([&] {
                ++next_runs;
                of_next.stop();
            });
            settle();
            settle();
            CHECK(runs >= before);
            next.put();
            while (of_next.active()) settle();
            CHECK(next_runs == 1);
        }
    });
}

TEST_CASE("io watcher: lets others wait for a descriptor by its number", "[core][watcher]") {
    run_green_for_real([] {
        const Pipe pipe;
        CHECK_FALSE(wait_readable(pipe.reader.number(), 1ms));
        CHECK(wait_writable(pipe.writer.number()));
        auto waiter = spawn([&] { return wait_readable(pipe.reader.number()); });
        settle();
        pipe.put();
        CHECK(waiter.get());
        CHECK(wait_io(pipe.reader.number(), IoEvents::read_write) == IoEvents::read);
        CHECK(wait_io(pipe.reader.number(), IoEvents::write, 1ms) == IoEvents::none);
        CHECK(errno_of([] { wait_readable(-1); }) == EBADF);
    });
}

TEST_CASE("io watcher: a failing system call leaves it as it was", "[core][watcher]") {
    run_green_for_real([] {
        const Pipe pipe;
        const std::size_t descriptors = tests::open_descriptors();
        const std::size_t calls = for_each_failure_in_a_new_hub(ENOMEM, [&] {
            int error = 0;
            bool fired = false;
            std::optional<IoWatcher> watcher;
            error = errno_of([&] {
                watcher.emplace(pipe.writer.number(), IoEvents::write);
                watcher->start([&] {
                    fired = true;
                    watcher->stop();
                });
            });
            CHECK((error == 0 || error == ENOMEM));
            CHECK((watcher && watcher->active()) == (error == 0));
            CHECK(hub_figures().watchers == (error == 0 ? 1 : 0));
            CHECK(hub_join());  // also when it is the hub's own look that fails, once
            CHECK(fired == (error == 0));
        });
        CHECK(calls >= 4);  // fcntl, epoll_create1, epoll_ctl, epoll_wait
        CHECK(tests::open_descriptors() == descriptors);
    });
}

TEST_CASE("io watcher: on the virtual clock it is told what the test says", "[core][watcher]") {
    run_green([](tests::VirtualReactor& world) {
        IoWatcher watcher{0, IoEvents::write};
        int runs = 0;
        watcher.start([&] { ++runs; });
        CHECK(world.watched() == 1);
        world.make_ready(0, {true, false});
        settle();
        CHECK(runs == 0);
        world.make_ready(0, {true, true});
        settle();
        CHECK(runs == 1);
        CHECK(watcher.ready() == IoEvents::write);
        watcher.feed();
        settle();
        CHECK(runs == 2);
        watcher.stop();
        CHECK(world.watched() == 0);
        CHECK_THROWS_AS(PeriodicWatcher{WallTime{}}.start([] {}), UsageError);
        CHECK_THROWS_AS(StatWatcher{"/"}.start([] {}), UsageError);
    });
}

TEST_CASE("watcher: what has happened beats a limit that passes in the same turn",
          "[core][watcher]") {
    run_green([](tests::VirtualReactor& world) {
        const auto happens_late = [&](const auto& happen) {
            settle();
            happen();
            world.advance(20ms);
        };
        const auto ready = [&] { world.make_ready(0, {true, false}); };
        SECTION("a descriptor, a limit of the call") {
            auto reader = spawn([] { return wait_readable(0, 10ms); });
            happens_late(ready);
            CHECK(reader.get());
        }
        SECTION("a descriptor, a limit around the call") {
            auto reader = spawn([] {
                const TimeoutScope scope{10ms};
                return wait_readable(0);
            });
            happens_late(ready);
            CHECK(reader.get());
        }
        SECTION("in a set, a limit around it") {
            IoWatcher watcher{0, IoEvents::read};
            auto waiter = spawn([&] {
                const TimeoutScope scope{10ms};
                return green::wait({watcher}).size();
            });
            happens_late(ready);
            CHECK(waiter.get() == 1);
        }
        SECTION("one with a callback too") {
            IoWatcher watcher{0, IoEvents::read_write};
            std::vector<IoEvents> seen;
            watcher.start([&] { seen.push_back(watcher.ready()); });
            auto waiter = spawn([&] { return watcher.wait(10ms); });
            happens_late(ready);
            CHECK(waiter.get());
            CHECK(seen == std::vector{IoEvents::read});
            watcher.stop();
        }
        SECTION("a call from elsewhere") {
            AsyncWatcher async;
            auto waiter = spawn([&] { return async.wait(10ms); });
            happens_late([&] { async.send(); });
            CHECK(waiter.get());
            CHECK_FALSE(async.pending());
        }
        SECTION("a signal") {
            SignalWatcher signal{SIGUSR1};
            auto waiter = spawn([&] { return signal.wait(10ms); });
            happens_late([&] { world.raise(SIGUSR1); });
            CHECK(waiter.get());
        }
    });
}

// --- the wall clock ---

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
        // Each lies in a period of its own.
        auto period = [=](WallTime time) { return (time.time_since_epoch() - offset) / interval; };
        auto last = period(begin);
        for (const WallTime time : told) {
            CHECK(period(time + 1us) > last);  // libev counts in doubles
            last = period(time + 1us);
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
                error = errno_of([&] { theirs.start([] {}); });
                CHECK(theirs.active() == (error == 0));
            }}.join();  // it goes with its hub
            return error == 0;
        };
        CHECK_FALSE(is_free(SIGUSR1));
        std::thread{[&] {
            CHECK(errno_of([] { const SignalSet both{SIGHUP, SIGUSR1}; }) == EBUSY);
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
            CHECK(errno_of([&] { ChildWatcher{pid}; }) == ESRCH);
        }
        CHECK(tests::open_descriptors() <= descriptors + 1);  // the hub's own set of descriptors
    });
}

TEST_CASE("child watcher: refuses who is no child of ours", "[core][watcher]") {
    run_green_for_real([] {
        CHECK_THROWS_AS(ChildWatcher{0}, UsageError);
        CHECK_THROWS_AS(ChildWatcher{-1}, UsageError);
        CHECK_THROWS_AS(ChildWatcher{Process{}}, UsageError);
        CHECK(errno_of([] { ChildWatcher{::getppid()}; }) == ECHILD);
        CHECK(errno_of([] { ChildWatcher{gone_pid()}; }) == ESRCH);
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
            const int error = errno_of([&] {
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
