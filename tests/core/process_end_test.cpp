// How a child process ends, who learns of it, and what is left of it.

#include <csignal>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/green.hpp>
#include <green/process.hpp>
#include <green/sys.hpp>

#include "loop/ev_reactor.hpp"
#include "sched/hub.hpp"
#include "support/commands.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::no_children;
using tests::Pipe;
using tests::read_all;
using tests::run_and_reap;
using tests::shell;
using tests::until_reaped;

TEST_CASE("process: the death signal comes when the thread that started it ends", "[core][os]") {
    run_and_reap([] {
        int pidfd = -1;
        std::thread starter{[&pidfd] {
            Process sleeper =
                Process::start({.argv = {"/bin/sleep", "1000"}, .parent_death_signal = SIGKILL});
            pidfd = sys::dup(sleeper.pidfd()).as_int();
            sleeper.detach();
        }};
        starter.join();
        Fd end{pidfd};
        CHECK(end.wait_readable());
        siginfo_t info{};
        CHECK(sys::waitid(P_PIDFD, static_cast<id_t>(pidfd), info, WEXITED).ok());
        CHECK(info.si_status == SIGKILL);
    });
}

TEST_CASE("process: join waits for the end, and only so long as it may", "[core][os]") {
    run_and_reap([] {
        Process sleeper = Process::start({.argv = {"/bin/sleep", "1000"}});
        CHECK_FALSE(sleeper.join(Deadline::passed()));
        CHECK_FALSE(sleeper.join(1ms));
        CHECK_FALSE(sleeper.poll());
        CHECK_FALSE(sleeper.await_end(1ms));
        CHECK(sleeper.signal(0));
        auto waiter = spawn([&] { return sleeper.join()->text(); });
        idle();
        CHECK_FALSE(waiter.ready());
        CHECK(sleeper.signal(SIGTERM));
        CHECK(waiter.get() == "killed by SIGTERM");
        CHECK(sleeper.join()->code == SIGTERM);  // as often as one likes
        CHECK(sleeper.poll()->code == SIGTERM);
        CHECK_FALSE(sleeper.signal(SIGTERM));
        CHECK_FALSE(sleeper.signal_group(SIGTERM));
    });
}

TEST_CASE("process: poll notices the end by itself, and a dead one takes no signal", "[core][os]") {
    run_and_reap([] {
        Process quick = Process::start({.argv = {"/bin/true"}});
        Fd end{sys::dup(quick.pidfd()).as_int()};
        CHECK(end.wait_readable());
        CHECK_FALSE(quick.signal(SIGKILL));  // dead, though not reaped
        CHECK(quick.poll()->success());
    });
}

TEST_CASE("process: a join that must not wait works in a hub callback, also beside others",
          "[core][os]") {
    run_and_reap([] {
        Process sleeper = Process::start({.argv = {"/bin/sleep", "1000"}});
        auto other = spawn([&] { sleeper.join(); });
        tests::settle();
        const tests::Errors errors;
        Event asked;
        HubRef{}.post([&] {
            CHECK_FALSE(sleeper.join(Deadline::passed()));
            asked.set();
        });
        CHECK(asked.wait(10s));
        CHECK(errors.count() == 0);
        sleeper.signal(SIGKILL);
        other.join();
    });
}

TEST_CASE("process: a waiter that is killed leaves no trace, and others go on waiting",
          "[core][os]") {
    run_and_reap([] {
        Process sleeper = Process::start({.argv = {"/bin/sleep", "1000"}});
        auto first = spawn([&] { return sleeper.join()->code; });  // it watches the pidfd
        auto second = spawn([&] { return sleeper.join()->code; });
        auto third = spawn([&] { return sleeper.join(1ms).has_value(); });
        CHECK_FALSE(third.get());
        first.kill();
        CHECK(hub_figures().outside == 1);
        CHECK_FALSE(second.ready());
        second.kill();
        CHECK(hub_figures().outside == 0);
        CHECK(sleeper.signal(0));  // it lives
        auto fourth = spawn([&] { return sleeper.join()->code; });
        auto fifth = spawn([&] { return sleeper.join()->code; });
        idle();
        sleeper.signal(SIGINT);
        CHECK(fourth.get() == SIGINT);
        CHECK(fifth.get() == SIGINT);
    });
}

TEST_CASE(
    "process: its end can be waited for beside other things, by any number, and is not reaped",
    "[core][os]") {
    run_and_reap([] {
        Process sleeper = Process::start({.argv = {"/bin/sleep", "1000"}});
        Event stopped;
        CHECK(green::wait({sleeper}, {.deadline = 1ms}).empty());
        auto joins = spawn([&] { return sleeper.await_end(); });
        auto selects = spawn([&] { return select(sleeper, stopped).index(); });
        auto waits = spawn([&] { return green::wait({stopped, sleeper}, {.count = 1}); });
        auto killed = spawn([&] { green::wait({sleeper}); });
        idle();
        CHECK(killed.kill());
        CHECK(sleeper.signal(SIGTERM));
        CHECK(joins.get());
        CHECK(selects.get() == 0);
        CHECK(waits.get() == std::vector<std::size_t>{1});
        CHECK(sleeper.signal_group(SIGTERM));  // unreaped, it is there
        CHECK(select(sleeper, stopped).index() == 0);
        CHECK(sleeper.poll()->code == SIGTERM);
        CHECK(select(sleeper, stopped).index() == 0);
        CHECK(hub_figures().outside == 0);
        CHECK(hub_figures().watchers == 0);
    });
}

TEST_CASE("process: who waits for one that goes is told of its end, and an empty one is refused",
          "[core][os]") {
    run_and_reap([] {
        auto sleeper = std::make_unique<Process>(Process::start({.argv = {"/bin/sleep", "1000"}}));
        Event stopped;
        auto loser = spawn([&] { return select(*sleeper, stopped).index(); });
        auto waiter = spawn([&] { return green::wait({*sleeper}).size(); });
        idle();
        stopped.set();
        CHECK(loser.get() == 1);
        CHECK(hub_figures().watchers == 1);
        sleeper.reset();
        CHECK(waiter.get() == 1);
        const Process empty;
        CHECK_THROWS_AS(green::wait({empty}), UsageError);
    });
}

TEST_CASE("process: destroying a running one kills and reaps it without waiting", "[core][os]") {
    run_and_reap([] {
        Pipe held;
        {
            Process cat = Process::start(
                {.argv = {"/bin/sleep", "1000"}, .descriptors = {{held.writer.number(), 5}}});
            held.writer.close();
        }
        CHECK(read_all(held.reader).empty());  // the end of the file is the end of the child
        until_reaped();
        CHECK(no_children());

        Process one = Process::start({.argv = {"/bin/sleep", "1000"}});
        auto waiter = spawn([&] { return one.join()->code; });
        idle();
        one = Process::start({.argv = {"/bin/true"}});  // replaced under a waiter
        CHECK(waiter.get() == SIGKILL);
        CHECK(one.join()->success());
    });
}

TEST_CASE("process: a child goes with the hub even if nobody waits", "[core][os]") {
    const std::size_t descriptors = tests::open_descriptors();
    {
        detail::Hub hub{detail::make_ev_reactor()};
        (void)Process::start(
            {.argv = {"/bin/sleep", "1000"}});  // destroyed here: its reaper has not begun
        Process second = Process::start({.argv = {"/bin/sleep", "1000"}});
        second.~Process();
        new (&second) Process{};
        idle();  // this one's waits
    }
    CHECK(no_children());
    CHECK(tests::open_descriptors() == descriptors);
}

TEST_CASE("process: a detached one runs on and is reaped in the background", "[core][os]") {
    run_and_reap([] {
        Pipe in;
        Pipe out;
        Process cat = tests::start_cat(in, out);
        cat.detach();
        CHECK(cat.empty());
        CHECK_FALSE(no_children());
        sys::must(sys::write(in.writer.number(), "on", 2), "write");
        in.writer.close();
        CHECK(read_all(out.reader) == "on");
        until_reaped();
        CHECK(no_children());
    });
}

TEST_CASE("process: a deadline of who let it go does not stop its reaper", "[core][os]") {
    run_and_reap([] {
        const tests::Errors errors;
        Pipe in;
        {
            const DeadlineScope limit{1ms};
            Process cat = Process::start(
                {.argv = {"/bin/cat"}, .descriptors = {{in.reader.number(), STDIN_FILENO}}});
            cat.detach();
        }
        in.reader.close();
        sleep(5ms);
        CHECK(hub_figures().greenlets == 1);
        in.writer.close();
        until_reaped();
        CHECK(no_children());
        CHECK(errors.all.empty());
    });
}

TEST_CASE("process: what waits for a dead child's group can still be reached until it is reaped",
          "[core][os]") {
    run_and_reap([] {
        Pipe held;
        Command command = shell("sleep 1000 & exit 3");
        command.descriptors = {{held.writer.number(), 5}};
        Process leader = Process::start(command);
        held.writer.close();
        CHECK(leader.await_end());
        CHECK_FALSE(held.reader.wait_readable(Deadline::passed()));  // the grandchild holds it
        CHECK(leader.signal_group(SIGKILL));
        CHECK(read_all(held.reader).empty());
        CHECK(leader.join()->text() == "exited with 3");
        CHECK_FALSE(leader.signal_group(SIGKILL));

        Process plain = Process::start({.argv = {"/bin/true"}, .new_session = false});
        CHECK_THROWS_AS(plain.signal_group(SIGKILL), UsageError);
        CHECK(plain.join()->success());
    });
}

TEST_CASE("process: a status that somebody else took is reported as lost", "[core][os]") {
    run_and_reap([] {
        const auto before = ::signal(SIGCHLD, SIG_IGN);  // as some shells hand it down
        Process child = Process::start({.argv = {"/bin/true"}});
        const ExitStatus status = *child.join();
        (void)::signal(SIGCHLD, before);
        CHECK(status.kind == ExitStatus::Kind::lost);
        CHECK_FALSE(status.success());
        CHECK(status.code == 255);
    });
}

TEST_CASE("process: the group of a child that somebody else reaped is not ours to signal",
          "[core][os]") {
    run_and_reap([] {
        Pipe in;
        Pipe out;
        Command command = shell("exec 5<&0; cat <&5 & exit 3");
        command.descriptors = {{in.reader.number(), 0}, {out.writer.number(), 1}};
        Process leader = Process::start(command);
        in.reader.close();
        out.writer.close();
        REQUIRE(::waitpid(leader.pid(), nullptr, 0) == leader.pid());
        // The number may be given out again, to the leader of a stranger's group; here it is not,
        // and leads to a grandchild.
        CHECK_FALSE(leader.signal_group(SIGKILL));
        sys::must(sys::write(in.writer.number(), "alive", 5), "write");
        in.writer.close();
        CHECK(read_all(out.reader) == "alive");
        CHECK(leader.join()->kind == ExitStatus::Kind::lost);
    });
}

TEST_CASE("process: a hundred children at once", "[core][os]") {
    run_and_reap([] {
        Group group;
        std::vector<int> codes(100, -1);
        for (std::size_t i = 0; i < codes.size(); ++i) {
            group.spawn([&codes, i] {
                Process child = Process::start(shell("exit " + std::to_string(i)));
                codes[i] = child.join()->code;
            });
        }
        group.join();
        for (std::size_t i = 0; i < codes.size(); ++i) CHECK(codes[i] == static_cast<int>(i));
    });
}
