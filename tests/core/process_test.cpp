#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>
#include <limits>
#include <map>
#include <random>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/green.hpp>
#include <green/process.hpp>
#include <green/sys.hpp>

#include "support/commands.hpp"
#include "support/descriptor_limit.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::failure_of;
using tests::no_children;
using tests::output_of;
using tests::Pipe;
using tests::read_all;
using tests::run_and_reap;
using tests::shell;
using tests::start_cat;
using tests::until_reaped;

TEST_CASE("process: an exit status says what happened, in words too", "[core][os]") {
    run_and_reap([] {
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
    run_and_reap([] {
        const SpawnError error = failure_of({.argv = {"./no/such/program"}});
        CHECK(error.stage() == SpawnStage::exec);
        CHECK(error.code().value() == ENOENT);
        CHECK(std::string(error.what()) == "exec of ./no/such/program: No such file or directory");
        CHECK(no_children());  // at once
        CHECK(failure_of({.argv = {"no-such-program-in-path"}}).code().value() == ENOENT);
    });
}

TEST_CASE("process: each stage of a start reports its own failure", "[core][os]") {
    run_and_reap([] {
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
    run_and_reap([] {
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
    run_and_reap([] {
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
    run_and_reap([] {
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
    run_and_reap([] {
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
    run_and_reap([] {
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
    run_and_reap([] {
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
        Process cat = start_cat(in, copy);
        sys::must(sys::write(in.writer.number(), "text", 4), "write");
        in.writer.close();
        CHECK(read_all(copy.reader) == "text");  // it waited for its input instead of failing
        CHECK(cat.join()->success());
        CHECK(output_of({.argv = {"/bin/cat"}, .null_stdin = true}).empty());
    });
}

TEST_CASE("process: a child begins with clean signals", "[core][os]") {
    run_and_reap([] {
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

TEST_CASE("process: descriptors change places also where no number is left above them",
          "[core][os]") {
    run_and_reap([] {
        const tests::DescriptorLimit limit{512};
        Pipe out;
        const int high = limit.get() - 1;
        const Fd last{sys::fcntl(out.writer.number(), F_DUPFD_CLOEXEC, high).as_int()};
        REQUIRE(last.number() == high);
        const int low = out.reader.number();
        Command command = shell("echo moved >/proc/self/fd/" + std::to_string(low));
        command.descriptors = {{high, low}, {low, high}};
        Process child = Process::start(command);
        CHECK(child.join()->success());
        CHECK(sys::fcntl(out.reader.number(), F_SETFL, O_NONBLOCK).ok());
        char text[16];
        CHECK(sys::read(out.reader.number(), text, sizeof text).value == 6);
        // As far as numbers go, and with all of the lowest in the way.
        command = {.argv = {"/bin/true"}, .descriptors = {{1, high - 1}, {high, high - 2}}};
        for (int number = 3; number < 40; ++number) command.descriptors.push_back({high, number});
        command.descriptors.push_back({low, high});
        CHECK(Process::start(command).join()->success());
        command.descriptors.push_back({low, std::numeric_limits<int>::max()});
        CHECK_THROWS_AS(Process::start(command), SpawnError);
    });
}

TEST_CASE("process: session, umask and limits are as the command says", "[core][os]") {
    run_and_reap([] {
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

TEST_CASE("process: whichever system call fails, nothing is left behind", "[core][os]") {
    run_and_reap([] {
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
