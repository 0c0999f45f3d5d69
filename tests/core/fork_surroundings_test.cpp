// What of its parent's world is in a child that goes on with a function: the loop, descriptors,
// children, signals. What a child finds wrong it says by its exit code.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <set>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/watcher.hpp>

#include "core/fork_ends.hpp"
#include "sched/sanitizer.hpp"
#include "support/commands.hpp"
#include "support/free_numbers.hpp"
#include "support/in_a_child.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::end_of;
using tests::exited;
using tests::highest_number;
using tests::Pipe;
using tests::run_and_reap;

namespace {

/// What /proc says each descriptor is.
std::multiset<std::string> descriptors() {
    std::multiset<std::string> all;
    std::error_code gone;  // the one that reads the directory
    for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"})
        all.insert(std::filesystem::read_symlink(entry.path(), gone).string());
    return all;
}

}  // namespace

TEST_CASE("fork_process: the loop of the parent is closed in the child", "[core][fork]") {
    tests::run_green_for_real([] {
        const tests::TempDir directory;
        StatWatcher file{directory / "file"};
        file.start([&] { file.stop(); });
        sleep(1ms);  // the loop registers it
        const auto before = descriptors();
        CHECK(before.count("anon_inode:[eventpoll]") >= 2);
        CHECK(end_of([] {
                  for (const std::string& each : descriptors()) {
                      if (each.starts_with("anon_inode:") && each != "anon_inode:[pidfd]") return 1;
                  }
                  return 0;
              }) == exited(0));
        CHECK(descriptors() == before);
        directory.write("file", "");
        while (file.active()) sleep(1ms);
    });
}

TEST_CASE("fork_process: a list says which descriptors the child keeps", "[core][fork]") {
    run_and_reap([] {
        const Pipe listed;
        const Pipe unlisted;
        const auto child = [&](int expected) {
            int open = 0;
            for (int fd = 0; fd < 1000; ++fd) open += sys::fcntl(fd, F_GETFD).ok();
            const bool both = sys::fcntl(listed.writer.number(), F_GETFD).ok() &&
                              !sys::fcntl(unlisted.writer.number(), F_GETFD).ok();
            return open == expected && both ? 0 : 1;
        };
        CHECK(end_of([&] { return child(4); }, {.descriptors = {{listed.writer.number()}}}) ==
              exited(0));
        CHECK(end_of([&] { return child(5); },
                     {.descriptors = {{listed.writer.number(), 2, listed.reader.number(),
                                       listed.writer.number()}}}) == exited(0));
        CHECK(end_of([&] { return sys::fcntl(unlisted.writer.number(), F_GETFD).ok() ? 0 : 1; }) ==
              exited(0));
        try {
            (void)fork_process([] {}, {.descriptors = {{987}}});
            FAIL("it started");
        } catch (const SpawnError& error) {
            CHECK(std::string(error.what()) ==
                  "descriptors of a forked process: Bad file descriptor");
        }
    });
}

namespace {

std::vector<Fd> take_free_numbers(int last) {
    return tests::take_free_numbers(last, [] { return sys::must(sys::dup(STDERR_FILENO), "dup"); });
}
bool all_are_open(const std::vector<Fd>& all) {
    return std::all_of(all.begin(), all.end(), [](const Fd& each) {
        return each.is_open() && sys::fcntl(each.number(), F_GETFD).ok();
    });
}
bool is_dead(Fd& fd) {
    if (fd.is_open() || fd.number() != -1) return false;
    try {
        (void)fd.wait_readable(1ms);
    } catch (const std::system_error& error) {
        return error.code().value() == EBADF;
    }
    return false;
}

}  // namespace

TEST_CASE("fork_process: what the child opens has nothing to fear from the parent's objects",
          "[core][fork]") {
    run_and_reap([] {
        const ForkOptions nothing{.descriptors = std::vector<int>{}};
        Pipe waited;
        Pipe pipe;
        const int last = highest_number();
        auto waits = spawn([&] { return waited.reader.wait_readable(); });
        yield();  // it is known to the parent's hub
        CHECK(end_of(
                  [&] {
                      const std::vector<Fd> own = take_free_numbers(last);
                      if (!is_dead(waited.reader) || !is_dead(pipe.reader)) return 1;
                      waited.reader.close();
                      pipe.reader = Fd{};
                      if (waited.writer.release() != -1) return 2;
                      const Fd moved = std::move(pipe.writer);
                      if (moved.is_open() || moved.number() != -1) return 3;
                      return all_are_open(own) ? 0 : 4;
                  },
                  nothing)
                  .text() == "exited with 0");
        waited.put();
        CHECK(waits.get());
    });
}

TEST_CASE("fork_process: what is listed stays its owner's, through any number of forks",
          "[core][fork]") {
    run_and_reap([] {
        Pipe always;
        Pipe once;
        const int reused = once.writer.number();  // closed in the child, and opened again there
        const int last = highest_number();
        const auto works = [&] {
            always.put();
            if (!always.reader.wait_readable(1s)) return false;
            always.take();
            return true;
        };
        const auto grandchild = [&](Fd& childs) {
            const std::vector<Fd> own = take_free_numbers(last);
            if (!is_dead(once.reader) || !is_dead(once.writer)) return 1;
            if (!works() || childs.number() != reused) return 2;
            const int number = always.writer.number();
            always.writer.close();
            childs.close();
            const bool closed =
                !sys::fcntl(number, F_GETFD).ok() && !sys::fcntl(reused, F_GETFD).ok();
            return closed && all_are_open(own) ? 0 : 3;
        };
        const auto child = [&] {
            if (!works() || !once.reader.is_open() || !is_dead(once.writer)) return 4;
            once.reader.close();
            std::vector<Fd> own = take_free_numbers(last);
            const auto again = std::find_if(own.begin(), own.end(), [reused](const Fd& each) {
                return each.number() == reused;
            });
            if (again == own.end()) return 5;
            const std::vector<int> listed{always.reader.number(), always.writer.number(), reused};
            const int code =
                end_of([&] { return grandchild(*again); }, {.descriptors = listed}).code;
            return code != 0 || (all_are_open(own) && works()) ? code : 6;
        };
        const std::vector<int> listed{always.reader.number(), always.writer.number(),
                                      once.reader.number()};
        CHECK(end_of(child, {.descriptors = listed}).text() == "exited with 0");
    });
}

TEST_CASE("fork_process: of 0, 1 and 2 a child with a list keeps what exec would keep, too",
          "[core][fork]") {
    run_and_reap([] {
        const auto child = [] {  // its own 0 is another file's: it begins as one that has none
            (void)::close(STDIN_FILENO);
            Fd first{static_cast<int>(sys::must(sys::eventfd(0), "eventfd"))};
            const auto kept = [&](const std::vector<int>& listed) {
                return end_of(
                           [&] {
                               const bool is_open = sys::fcntl(STDIN_FILENO, F_GETFD).ok();
                               const bool others = sys::fcntl(STDOUT_FILENO, F_GETFD).ok() &&
                                                   sys::fcntl(STDERR_FILENO, F_GETFD).ok();
                               if (!others || is_open == is_dead(first)) return 9;
                               return is_open ? 1 : 0;
                           },
                           {.descriptors = listed})
                    .code;
            };
            if (first.number() != STDIN_FILENO || kept({}) != 0) return 1;
            if (kept({STDIN_FILENO}) != 1) return 2;
            (void)::fcntl(STDIN_FILENO, F_SETFD, 0);
            return kept({}) == 1 ? 0 : 3;
        };
        CHECK(end_of(child).text() == "exited with 0");
    });
}

TEST_CASE("fork_process: the parent's children are not the child's", "[core][fork]") {
    run_and_reap([] {
        const ForkOptions options = GENERATE(ForkOptions{}, ForkOptions{.descriptors = {{2}}});
        INFO(options.descriptors.has_value());
        Process sibling = Process::start({.argv = {"/bin/sleep", "1000"}, .new_session = true});
        const int last = highest_number();
        CHECK(end_of(
                  [&] {
                      // Its pidfd would be one of these, and of a child of ours.
                      Process own = fork_process([] { return 3; });
                      const std::vector<Fd> others = take_free_numbers(last);
                      if (sibling.signal_group(SIGKILL) || sibling.signal(SIGKILL)) return 1;
                      if (sibling.join()->kind != ExitStatus::Kind::lost) return 2;
                      if (!sibling.await_end() || !sibling.poll()) return 3;
                      sibling = {};
                      return all_are_open(others) && *own.join() == exited(3) ? 0 : 4;
                  },
                  options)
                  .text() == "exited with 0");
        CHECK_FALSE(sibling.poll());  // it lives
        CHECK(sibling.signal(SIGKILL));
        CHECK(sibling.join()->text() == "killed by SIGKILL");
    });
}

TEST_CASE("process: in the child of a raw clone the parent's children are left alone",
          "[core][fork]") {
    run_and_reap([] {
        Process sibling = fork_process([] { sleep(1h); });
        const pid_t child = ::_Fork();  // no handler is called, so nothing knows of it
        if (child == 0) {
            const bool is_sent = sibling.signal_group(SIGKILL);
            sibling = {};
            ::_exit(is_sent ? 1 : 0);
        }
        int status = -1;
        CHECK(::waitpid(child, &status, 0) == child);
        CHECK(status == 0);
        CHECK_FALSE(sibling.join(50ms));  // it lives
        CHECK(sibling.signal(SIGKILL));
        CHECK(sibling.join()->text() == "killed by SIGKILL");
    });
}

TEST_CASE("fork_process: signals are as at the beginning of a program", "[core][fork]") {
    run_and_reap([] {
        // Handled by the hub, for stacks that overflow, and by sanitizers.
        const std::set<int> faults{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
        SignalSet watched{SIGUSR1};
        const auto term = ::signal(SIGTERM, [](int) {});
        const auto hup = ::signal(SIGHUP, SIG_IGN);
        const auto broken = ::signal(SIGPIPE, SIG_IGN);
        sigset_t some;
        sigset_t before;
        sigemptyset(&some);
        sigaddset(&some, SIGUSR2);
        ::pthread_sigmask(SIG_BLOCK, &some, &before);
        CHECK(end_of([&faults] {
                  for (int signal = 1; signal < NSIG; ++signal) {
                      if (faults.count(signal) != 0) continue;
                      struct sigaction present {};
                      if (::sigaction(signal, nullptr, &present) != 0) continue;
                      const auto expected = signal == SIGPIPE ? SIG_IGN : SIG_DFL;
                      if (present.sa_handler != expected) return signal;
                  }
                  sigset_t blocked;
                  ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
                  if (sigisemptyset(&blocked) == 0) return 100;
                  // The thread sanitizer keeps signals back in the child of several stacks.
                  if (GREEN_THREAD_SANITIZER) return 0;
                  SignalSet own{SIGUSR1};
                  ::kill(::getpid(), SIGUSR1);
                  return own.next(1s) == SIGUSR1 ? 0 : 101;
              }).text() == "exited with 0");
        sigset_t during;
        ::pthread_sigmask(SIG_SETMASK, &before, &during);
        CHECK(sigismember(&during, SIGUSR2) == 1);
        CHECK(sigismember(&during, SIGTERM) == 0);
        (void)::signal(SIGTERM, term);
        (void)::signal(SIGHUP, hup);
        (void)::signal(SIGPIPE, broken);
        ::kill(::getpid(), SIGUSR1);
        CHECK(watched.next(1s) == SIGUSR1);
    });
}
