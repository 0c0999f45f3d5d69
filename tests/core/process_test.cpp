#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>
#include <map>
#include <random>
#include <sstream>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/green.hpp>
#include <green/process.hpp>
#include <green/sys.hpp>

#include "loop/ev_reactor.hpp"
#include "sched/hub.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;

namespace {

struct Pipe {
    Pipe() {
        int ends[2];
        sys::must(sys::pipe2(ends), "pipe2");
        reader = Fd{ends[0]};
        writer = Fd{ends[1]};
    }
    Fd reader;
    Fd writer;
};

/// All that comes out of it until every writer is gone.
std::string read_all(Fd& from) {
    std::string text;
    char block[4096];
    for (;;) {
        from.wait_readable();
        const sys::Outcome got = sys::read(from.number(), block, sizeof(block));
        if (got.would_block()) continue;
        sys::must(got, "read");
        if (got.value == 0) return text;
        text.append(block, got.as_size());
    }
}

Command shell(const std::string& script) { return {.argv = {"/bin/sh", "-c", script}}; }

/// Starts it with a pipe as its standard output and reads that to the end.
std::string output_of(Command command) {
    Pipe out;
    command.descriptors.push_back({out.writer.number(), STDOUT_FILENO});
    Process process = Process::start(command);
    out.writer.close();
    std::string text = read_all(out.reader);
    CHECK(process.join()->text() == "exited with 0");
    return text;
}

/// The failure of a start that must fail.
SpawnError failure_of(const Command& command) {
    try {
        (void)Process::start(command);
    } catch (const SpawnError& error) {
        return error;
    }
    FAIL("it started");
    throw std::logic_error("not reached");
}

bool no_children() {
    siginfo_t info{};
    return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 && errno == ECHILD;
}

/// Lets the reapers work until they are done.
void until_reaped() {
    while (hub_figures().greenlets > 0) yield();
}

/// In the real world, and afterwards no child, greenlet or descriptor may be left.
void run(const std::function<void()>& body) {
    tests::run_green_for_real([&] {
        Process first = Process::start({.argv = {"/bin/sleep", "1000"}});
        (void)green::wait({first}, {.deadline = 1ms});  // what is made once is made now
        (void)first.signal(SIGKILL);
        (void)first.join();
        const std::size_t descriptors = tests::open_descriptors();
        body();
        until_reaped();
        CHECK(no_children());
        CHECK(tests::open_descriptors() == descriptors);
    });
}

}  // namespace

TEST_CASE("process: an exit status says what happened, in words too", "[core][os]") {
    run([] {
        CHECK(Process::start(shell("exit 0")).join()->success());
        const ExitStatus three = *Process::start(shell("exit 3")).join();
        CHECK(three == ExitStatus{ExitStatus::Kind::exited, 3, false});
        CHECK(three.text() == "exited with 3");
        const ExitStatus killed = *Process::start(shell("kill -KILL $$")).join();
        CHECK(killed == ExitStatus{ExitStatus::Kind::signaled, SIGKILL, false});
        CHECK(killed.text() == "killed by SIGKILL");
        CHECK_FALSE(killed.success());
        CHECK(ExitStatus{ExitStatus::Kind::signaled, SIGSEGV, true}.text() ==
              "killed by SIGSEGV (core dumped)");
        CHECK(ExitStatus{ExitStatus::Kind::signaled, 63, false}.text() == "killed by signal 63");
    });
}

TEST_CASE("process: exec of a missing program says stage, path and errno", "[core][os]") {
    run([] {
        const SpawnError error = failure_of({.argv = {"./no/such/program"}});
        CHECK(error.stage() == SpawnStage::exec);
        CHECK(error.code().value() == ENOENT);
        CHECK(std::string(error.what()) == "exec of ./no/such/program: No such file or directory");
        CHECK(no_children());  // at once
        CHECK(failure_of({.argv = {"no-such-program-in-path"}}).code().value() == ENOENT);
    });
}

TEST_CASE("process: each stage of a start reports its own failure", "[core][os]") {
    run([] {
        const tests::TempDir directory;
        const SpawnError cwd = failure_of({.argv = {"/bin/true"}, .cwd = "/no/such/place"});
        CHECK(cwd.stage() == SpawnStage::cwd);
        CHECK(std::string(cwd.what()) ==
              "cwd /no/such/place for /bin/true: No such file or directory");

        const SpawnError descriptors =
            failure_of({.argv = {"/bin/true"}, .descriptors = {{987, 3}}});
        CHECK(descriptors.stage() == SpawnStage::descriptors);
        CHECK(descriptors.code().value() == EBADF);

        const SpawnError limits = failure_of(
            {.argv = {"/bin/true"}, .limits = {{RLIMIT_CORE, {.rlim_cur = 2, .rlim_max = 1}}}});
        CHECK(limits.stage() == SpawnStage::limits);
        CHECK(limits.code().value() == EINVAL);

        const std::string text = directory.write("text", "not a program");
        CHECK(failure_of({.argv = {text}}).code().value() == EACCES);
        const Command found{.argv = {"text"},
                            .environment = {{"PATH=" + directory.path().string() + ":/none"}}};
        CHECK(failure_of(found).code().value() ==
              EACCES);  // says more than ENOENT of the last place
    });
}

TEST_CASE("process: a command that makes no sense is refused before anything happens",
          "[core][os]") {
    run([] {
        CHECK_THROWS_AS(Process::start({.argv = {}}), UsageError);
        CHECK_THROWS_AS(Process::start({.argv = {""}}), UsageError);
        CHECK_THROWS_AS(Process::start({.argv = {"true", std::string("a\0b", 3)}}), UsageError);
        CHECK_THROWS_AS(Process::start({.argv = {"true"}, .descriptors = {{1, 3}, {2, 3}}}),
                        UsageError);
        CHECK_THROWS_AS(Process::start({.argv = {"true"}, .descriptors = {{1, -1}}}), UsageError);
        CHECK_THROWS_AS(
            Process::start({.argv = {"true"}, .descriptors = {{1, 0}}, .null_stdin = true}),
            UsageError);
        Process empty;
        CHECK_THROWS_AS(empty.join(), UsageError);
        CHECK_THROWS_AS(empty.pid(), UsageError);
    });
}

TEST_CASE("process: fifty failed starts leave no descriptor and no child", "[core][os]") {
    run([] {
        const std::size_t before = tests::open_descriptors();
        for (int i = 0; i < 50; ++i) {
            const Pipe pipe;
            failure_of({.argv = {"/no/such/program"},
                        .descriptors = {{pipe.reader.number(), pipe.writer.number()},
                                        {pipe.writer.number(), pipe.reader.number()}},
                        .null_stdin = true});
        }
        CHECK(tests::open_descriptors() == before);
        CHECK(no_children());
    });
}

TEST_CASE("process: a program is looked up in the PATH of its own environment", "[core][os]") {
    run([] {
        const tests::TempDir directory;
        const std::string tool =
            directory.write("tool", "#!/bin/sh\necho tool $1 $COLOUR ${HOME-none}\n");
        ::chmod(tool.c_str(), 0755);
        const std::string path = "PATH=/no/such/place:" + directory.path().string();
        CHECK(output_of({.argv = {"tool", "x"}, .environment = {{path, "COLOUR=red"}}}) ==
              "tool x red none\n");
        // With a slash it is a path, from the child's directory.
        CHECK(output_of({.argv = {"./tool", "y"}, .cwd = directory.path().string()})
                  .starts_with("tool y"));
        CHECK(output_of({.argv = {"other name"}, .program = tool}).starts_with("tool"));
        CHECK(output_of({.argv = {"pwd"}, .cwd = directory.path().string()}) ==
              directory.path().string() + "\n");
    });
}

TEST_CASE("process: a child has only the descriptors that are listed", "[core][os]") {
    run([] {
        const Pipe unlisted;
        const int naked =
            ::dup(unlisted.writer.number());  // not close-on-exec: foreign code forgets
        const Pipe listed;
        const std::string seen =
            output_of({.argv = {"/bin/ls", "/proc/self/fd"},
                       .descriptors = {{listed.writer.number(), 7}, {listed.writer.number(), 40}}});
        ::close(naked);
        std::istringstream in{seen};
        std::vector<int> numbers{std::istream_iterator<int>{in}, {}};
        std::sort(numbers.begin(), numbers.end());
        CHECK(numbers == std::vector{0, 1, 2, 3, 7, 40});  // 3 is the directory that ls reads
    });
}

TEST_CASE("process: descriptors move to their numbers whatever the overlaps", "[core][os]") {
    run([] {
        std::mt19937 random{static_cast<unsigned>(tests::seed())};
        INFO("seed " << tests::seed());
        constexpr int count = 6;
        std::vector<Fd> files;
        std::vector<int> numbers;
        for (int i = 0; i < count; ++i) {
            files.emplace_back(static_cast<int>(sys::must(sys::memfd_create("file"), "memfd")));
            const std::string text = std::to_string(i);
            sys::must(sys::write(files.back().number(), text.data(), text.size()), "write");
            numbers.push_back(files.back().number());
        }
        const auto check = [&](const std::map<int, int>& theirs_from_index) {
            Command command = shell(
                "for n in 3 4 5 6 7 8 9 10 11 12 13 14 15 "
                "16 17 18 19 20;"
                " do printf '%s=' $n; cat /proc/self/fd/$n 2>/dev/null; echo; done");
            std::string expected;
            for (const auto& [theirs, index] : theirs_from_index) {
                command.descriptors.push_back({numbers[static_cast<std::size_t>(index)], theirs});
            }
            std::shuffle(command.descriptors.begin(), command.descriptors.end(), random);
            for (int n = 3; n <= 20; ++n) {
                const auto it = theirs_from_index.find(n);
                expected += std::to_string(n) + "=" +
                            (it == theirs_from_index.end() ? "" : std::to_string(it->second)) +
                            "\n";
            }
            CHECK(output_of(command) == expected);
        };
        check({{numbers[0], 1}, {numbers[1], 0}});                   // a swap
        check({{numbers[0], 1}, {numbers[1], 2}, {numbers[2], 0}});  // a ring
        check({{numbers[0], 1}, {numbers[1], 2}, {numbers[2], 3}});  // a chain
        check({{numbers[0], 0},
               {numbers[1], 0},
               {numbers[2], 0},
               {numbers[3], 3}});  // one for many, and in place
        for (int round = 0; round < 20; ++round) {
            std::map<int, int> wanted;
            for (int i = 0; i < 5; ++i) {
                wanted[3 + static_cast<int>(random() % 18)] = static_cast<int>(random() % count);
            }
            check(wanted);
        }
    });
}

TEST_CASE("process: standard descriptors can be swapped and are blocking for the child",
          "[core][os]") {
    run([] {
        Pipe in;
        Pipe out;
        Pipe errors;
        Process swapped = Process::start(
            {.argv = {"/bin/sh", "-c", "echo out; echo err >&2"},
             .descriptors = {{errors.writer.number(), 1}, {out.writer.number(), 2}}});
        out.writer.close();
        errors.writer.close();
        CHECK(read_all(out.reader) == "err\n");
        CHECK(read_all(errors.reader) == "out\n");
        CHECK(swapped.join()->success());

        Pipe copy;
        Process cat =
            Process::start({.argv = {"/bin/cat"},
                            .descriptors = {{in.reader.number(), 0}, {copy.writer.number(), 1}}});
        in.reader.close();
        copy.writer.close();
        sys::must(sys::write(in.writer.number(), "text", 4), "write");
        in.writer.close();
        CHECK(read_all(copy.reader) == "text");  // it waited for its input instead of failing
        CHECK(cat.join()->success());
        CHECK(output_of({.argv = {"/bin/cat"}, .null_stdin = true}).empty());
    });
}

TEST_CASE("process: a child begins with clean signals", "[core][os]") {
    run([] {
        sigset_t some;
        sigset_t before;
        sigemptyset(&some);
        sigaddset(&some, SIGUSR1);
        sigaddset(&some, SIGRTMIN + 3);
        ::pthread_sigmask(SIG_BLOCK, &some, &before);
        const auto pipe_before = ::signal(SIGPIPE, SIG_IGN);
        const auto hup_before = ::signal(SIGHUP, [](int) {});
        const std::string status = output_of({.argv = {"/bin/cat", "/proc/self/status"}});
        (void)::signal(SIGPIPE, pipe_before);
        (void)::signal(SIGHUP, hup_before);
        sigset_t during;
        ::pthread_sigmask(SIG_SETMASK, &before, &during);
        CHECK(sigismember(&during, SIGUSR1) == 1);  // ours are as they were
        CHECK(sigismember(&during, SIGTERM) == 0);
        for (const char* line : {"SigBlk:", "SigIgn:", "SigCgt:"}) {
            CHECK(status.find(std::string(line) + "\t0000000000000000\n") != std::string::npos);
        }
    });
}

TEST_CASE("process: session, umask and limits are as the command says", "[core][os]") {
    run([] {
        const auto session_of = [](bool new_session) {
            Pipe out;
            Process cat = Process::start({.argv = {"/bin/cat", "/proc/self/stat"},
                                          .descriptors = {{out.writer.number(), 1}},
                                          .new_session = new_session});
            out.writer.close();
            std::istringstream fields{read_all(out.reader)};
            std::string skipped;
            pid_t pid = 0, parent = 0, group = 0, session = 0;
            fields >> pid >> skipped >> skipped >> parent >> group >> session;
            CHECK(pid == cat.pid());
            CHECK(parent == ::getpid());
            CHECK(group == (new_session ? pid : ::getpgrp()));
            CHECK(session == (new_session ? pid : ::getsid(0)));
            CHECK(cat.join()->success());
        };
        session_of(true);
        session_of(false);
        Command command = shell("umask; ulimit -n; ulimit -c");
        command.umask = 027;
        command.limits = {{RLIMIT_NOFILE, {.rlim_cur = 17, .rlim_max = 17}},
                          {RLIMIT_CORE, {.rlim_cur = 0, .rlim_max = 0}}};
        CHECK(output_of(command) == "0027\n17\n0\n");
        command.descriptors = {{1, 30}};  // above its own new limit
        CHECK(output_of(command) == "0027\n17\n0\n");
    });
}

TEST_CASE("process: the death signal comes when the thread that started it ends", "[core][os]") {
    run([] {
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
    run([] {
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
    run([] {
        Process quick = Process::start({.argv = {"/bin/true"}});
        Fd end{sys::dup(quick.pidfd()).as_int()};
        CHECK(end.wait_readable());
        CHECK_FALSE(quick.signal(SIGKILL));  // dead, though not reaped
        CHECK(quick.poll()->success());
    });
}

TEST_CASE("process: a join that must not wait works in a hub callback, also beside others",
          "[core][os]") {
    run([] {
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
    run([] {
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
    run([] {
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
    run([] {
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
    run([] {
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
    run([] {
        Pipe in;
        Pipe out;
        Process cat =
            Process::start({.argv = {"/bin/cat"},
                            .descriptors = {{in.reader.number(), 0}, {out.writer.number(), 1}}});
        in.reader.close();
        out.writer.close();
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

TEST_CASE("process: what waits for a dead child's group can still be reached until it is reaped",
          "[core][os]") {
    run([] {
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
    run([] {
        const auto before = ::signal(SIGCHLD, SIG_IGN);  // as some shells hand it down
        Process child = Process::start({.argv = {"/bin/true"}});
        const ExitStatus status = *child.join();
        (void)::signal(SIGCHLD, before);
        CHECK(status.kind == ExitStatus::Kind::lost);
        CHECK_FALSE(status.success());
    });
}

TEST_CASE("process: a hundred children at once", "[core][os]") {
    run([] {
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

TEST_CASE("process: whichever system call fails, nothing is left behind", "[core][os]") {
    run([] {
        const std::size_t before = tests::open_descriptors();
        sigset_t mask_before{};
        ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_before);
        std::size_t failed_starts = 0;
        for (const char* program : {"/bin/true", "/no/such/program"}) {
            const std::size_t calls = tests::for_each_failure(EIO, [&](const tests::FailNth&) {
                const int file = ::dup(1);
                const Command command{
                    .argv = {program}, .descriptors = {{1, file}, {file, 1}}, .null_stdin = true};
                try {
                    Process child = Process::start(command);
                    child.join();
                } catch (const SpawnError&) {
                    ++failed_starts;
                } catch (const std::system_error& error) {
                    CHECK(error.code().value() == EIO);
                }
                ::close(file);
                until_reaped();
                CHECK(no_children());
                CHECK(tests::open_descriptors() == before);
                sigset_t mask{};
                ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
                CHECK(std::memcmp(&mask, &mask_before, sizeof(mask)) == 0);
            });
            CHECK(calls > 5);
        }
        CHECK(failed_starts > 5);
    });
}
