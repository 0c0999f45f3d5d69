// Watchers of descriptors, mostly in the real world. Nothing here depends on how fast it is.

#include <cerrno>
#include <csignal>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/signals.hpp>
#include <green/sys.hpp>
#include <green/timeout.hpp>
#include <green/wait.hpp>
#include <green/watcher.hpp>

#include "support/faults.hpp"
#include "support/left_behind.hpp"
#include "support/pipe.hpp"
#include "support/run_green.hpp"
#include "support/streams.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::error_of;
using tests::for_each_failure_in_a_new_hub;
using tests::LeftBehind;
using tests::Pipe;
using tests::run_green;
using tests::run_green_for_real;
using tests::settle;

namespace {

/// Whether the hub turns without anything to do.
bool hub_is_spinning() {
    const std::uint64_t turns = hub_figures().turns;
    sleep(20ms);
    return hub_figures().turns - turns > 10;
}

}  // namespace

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
        CHECK(error_of([&] { IoWatcher(-1, IoEvents::read); }) == EBADF);
        CHECK(error_of([&] { IoWatcher(closed, IoEvents::read); }) == EBADF);
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
        CHECK(error_of([&] { watcher.start([] {}); }) == EBADF);
        CHECK_FALSE(watcher.active());

        const tests::TempDir directory;
        const Fd file{sys::open(directory.write("a", "b").c_str(), O_RDONLY).as_int()};
        IoWatcher of_file{file.number(), IoEvents::read};
        CHECK(error_of([&] { of_file.start([] {}); }) == EPERM);
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
        CHECK(error_of([&] { waiter.get(); }) == EBADF);
        CHECK(error_of([&] { other_waiter.get(); }) == EBADF);
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
        CHECK(error_of([&] { waiter.get(); }) == EBADF);
        closing_fd(-1);
    });
}

TEST_CASE("io watcher: the first one takes nothing away from who waits", "[core][watcher]") {
    run_green_for_real([] {
        Pipe pipe;
        const Pipe silent;
        auto reader = spawn([&] { return pipe.reader.wait_readable(10s); });
        settle();
        pipe.put();
        IoWatcher watcher{silent.reader.number(), IoEvents::read};
        watcher.start([] {});  // looks at what there is, and lets nobody run
        const TimePoint start = now();
        CHECK(reader.get());
        CHECK(now() - start < 5s);
    });
}

TEST_CASE("io watcher: one that lives is heard when the kernel has no room for a new set",
          "[core][watcher]") {
    const int error = GENERATE(ENOSPC, ENOMEM);
    run_green_for_real([&] {
        const Pipe pipe;
        int runs = 0;
        IoWatcher watcher{pipe.reader.number(), IoEvents::read};
        watcher.start([&] {
            ++runs;
            pipe.take();
        });
        const LeftBehind left;
        left.become_readable();
        {
            const tests::FailNth failure{0, error, sys::Call::epoll_ctl, true};
            while (!failure.fired()) settle();
            CHECK(runs == 0);
            pipe.put();
            while (runs == 0) settle();
        }
        settle();
        CHECK_FALSE(hub_is_spinning());
        CHECK(runs == 1);
        pipe.put();
        while (runs == 1) settle();
        CHECK(runs == 2);
    });
}

TEST_CASE("io watcher: what a child has of a set that was made anew does not keep the hub busy",
          "[core][watcher]") {
    run_green_for_real([] {
        const Pipe pipe;
        IoWatcher watcher{pipe.reader.number(), IoEvents::read};
        watcher.start([] {});
        const LeftBehind left;
        const pid_t child = ::fork();  // a bare one has all of our descriptors
        if (child == 0) {
            ::pause();
            ::_exit(0);
        }
        left.become_readable();
        for (int i = 0; i < 3; ++i) settle();
        CHECK_FALSE(hub_is_spinning());
        (void)::kill(child, SIGKILL);
        CHECK(::waitpid(child, nullptr, 0) == child);
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
        CHECK(error_of([] { wait_readable(-1); }) == EBADF);
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
            error = error_of([&] {
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
