// Children that go on with a function. What a child finds wrong it says by its exit code.

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <pthread.h>
#include <set>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/simulation.hpp>
#include <green/watcher.hpp>

#include "sched/sanitizer.hpp"
#include "support/busy_pool.hpp"
#include "support/commands.hpp"
#include "support/faults.hpp"
#include "support/in_a_child.hpp"
#include "support/roles.hpp"
#include "support/temp_dir.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::Pipe;
using tests::read_all;
using tests::run_and_reap;

namespace {

template <class Function>
ExitStatus end_of(Function&& function, const ForkOptions& options = {}) {
    return *fork_process(std::forward<Function>(function), options).join();
}

constexpr ExitStatus exited(int code) { return {ExitStatus::Kind::exited, code, false}; }

/// Says by a file that is destroyed where it was not made.
struct BelongsHere {
    explicit BelongsHere(const std::string& path) : file{path} {}
    BelongsHere(const BelongsHere&) = delete;
    BelongsHere& operator=(const BelongsHere&) = delete;
    ~BelongsHere() {
        if (::getpid() != pid) std::fclose(std::fopen(file.c_str(), "w"));
    }
    std::string file;
    pid_t pid = ::getpid();
};

/// What /proc says each descriptor is.
std::multiset<std::string> descriptors() {
    std::multiset<std::string> all;
    std::error_code gone;  // the one that reads the directory
    for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"})
        all.insert(std::filesystem::read_symlink(entry.path(), gone).string());
    return all;
}

/// Kills the next child that is forked, before it says anything.
std::atomic<bool> kill_next_child{false};
[[gnu::constructor]] void be_told_of_forks() {
    (void)::pthread_atfork(nullptr, nullptr, [] {
        if (kill_next_child) (void)::raise(SIGKILL);
    });
}

/// Fails the n-th call of the children.
class FailInChild final : public sys::Injector {
 public:
    explicit FailInChild(int nth) : left_{nth}, outer_{sys::set_injector(this)} {}
    FailInChild(const FailInChild&) = delete;
    FailInChild& operator=(const FailInChild&) = delete;
    ~FailInChild() override { sys::set_injector(outer_); }
    int before(sys::Call, int) noexcept override {
        return ::getpid() != parent_ && left_-- == 0 ? EIO : 0;
    }

 private:
    pid_t parent_ = ::getpid();
    int left_;
    sys::Injector* outer_;
};

/// The process that made it ends when it is about to tell its child to go on, and leaves another
/// process with a copy of all its descriptors, which ends when nobody can write to `held` any more.
class DiesBeforeGo final : public sys::Injector {
 public:
    explicit DiesBeforeGo(Pipe& held) : held_{&held}, outer_{sys::set_injector(this)} {}
    DiesBeforeGo(const DiesBeforeGo&) = delete;
    DiesBeforeGo& operator=(const DiesBeforeGo&) = delete;
    ~DiesBeforeGo() override { sys::set_injector(outer_); }
    int before(sys::Call call, int) noexcept override {
        if (::getpid() != parent_) return call == sys::Call::poll ? look_again() : 0;
        if (call != sys::Call::send) return 0;
        if (::fork() == 0) {
            held_->writer.close();
            pollfd end{held_->reader.number(), POLLIN, 0};
            (void)::poll(&end, 1, -1);
        }
        ::_exit(0);
    }

 private:
    /// The child's waiting is cut short, but not for ever.
    [[nodiscard]] int look_again() const noexcept {
        if (std::chrono::steady_clock::now() > limit_) (void)::raise(SIGKILL);
        return EINTR;
    }

    pid_t parent_ = ::getpid();
    std::chrono::steady_clock::time_point limit_ = std::chrono::steady_clock::now() + 10s;
    Pipe* held_;
    sys::Injector* outer_;
};

/// How the next child of ours ends that is not waited for by anybody else.
siginfo_t next_end() {
    siginfo_t info{};
    REQUIRE(::waitid(P_ALL, 0, &info, WEXITED) == 0);
    return info;
}

}  // namespace

TEST_CASE("fork_process: what the function returns is the exit code", "[core][fork]") {
    run_and_reap([] {
        CHECK(end_of([] {}) == exited(0));
        CHECK(end_of([] { return 7; }) == exited(7));
        CHECK(end_of([] { throw GreenletExit{}; }) == exited(0));
        CHECK(end_of([] { ::raise(SIGKILL); }).text() == "killed by SIGKILL");
        Process sleeps = fork_process([] { sleep(1h); });
        CHECK_FALSE(sleeps.join(Deadline::passed()));
        CHECK(sleeps.signal(SIGTERM));
        CHECK(sleeps.join()->text() == "killed by SIGTERM");
        // It is called as what it is: a function that can be called once.
        CHECK(end_of([only = std::make_unique<int>(3)]() mutable { return *std::move(only); }) ==
              exited(3));
    });
}

TEST_CASE("fork_process: an error that nobody catches is told, and the code is 1", "[core][fork]") {
    run_and_reap([] {
        Pipe heard;
        Process child = fork_process([&] {
            ::dup2(heard.writer.number(), STDERR_FILENO);
            throw std::runtime_error("boom");
        });
        heard.writer.close();
        const std::string text = read_all(heard.reader);
        CHECK(text.starts_with("greensup: forked process: "));
        CHECK(text.ends_with(" failed: std::runtime_error: boom\n"));
        CHECK(*child.join() == exited(1));
    });
}

TEST_CASE("fork_process: the child has a hub of its own, the parent keeps its own",
          "[core][fork]") {
    run_and_reap([] {
        Event later;
        const auto sleeper = spawn([&] {
            sleep(1ms);
            later.set();
        });
        yield();
        CHECK(end_of([] {
                  auto two = spawn([] {
                      sleep(1ms);
                      return 2;
                  });
                  Pipe pipe;
                  spawn([&] {
                      sleep(1ms);
                      pipe.put();
                  });
                  pipe.reader.wait_readable();
                  return two.get() + static_cast<int>(hub_figures().greenlets);
              }) == exited(2));
        const HubRef parents;
        CHECK(end_of([&] { return parents.post([] {}) ? 1 : 0; }) == exited(0));
        CHECK(later.wait());
        sleeper.join();
    });
}

TEST_CASE("fork_process: nothing of the parent runs or is destroyed in the child", "[core][fork]") {
    run_and_reap([] {
        const tests::TempDir directory;
        const std::string trace = directory / "trace";
        const auto where = GENERATE(0, 1, 2);  // main, a greenlet, a hub callback
        INFO(where);
        const auto here = std::make_shared<BelongsHere>(trace);
        const pid_t pid = ::getpid();
        const auto must_be_here = [&trace, pid] {
            if (::getpid() != pid) std::fclose(std::fopen(trace.c_str(), "w"));
        };
        Event event;
        Queue<int> queue;
        auto ready = spawn([&, here] { must_be_here(); });
        auto waits = spawn([&, here] {
            const BelongsHere stands{trace};
            event.wait();
            must_be_here();
        });
        auto gets = spawn([&, here] {
            const BelongsHere stands{trace};
            const int got = queue.get();
            must_be_here();
            return got;
        });
        auto delayed = spawn_later(1ms, [&, here] { must_be_here(); });
        TimerWatcher timer{1ms};
        timer.start(must_be_here);
        CHECK(ready.join());
        auto fresh = spawn([&, here] { must_be_here(); });

        std::optional<Process> child;
        const auto fork = [&] {
            child = fork_process([&] {
                // As much of the parent's as there is.
                event.set();
                queue.put(4);
                const bool nobody_took_it = queue.get() == 4;
                waits.kill();
                fresh.kill();
                timer.stop();
                sleep(20ms);
                return nobody_took_it && waits.join() && delayed.join() ? 5 : 6;
            });
        };
        if (where == 0) fork();
        if (where == 1) spawn(fork).get();
        if (where == 2) {
            HubRef{}.post(fork);
            while (!child) sleep(1ms);
        }
        CHECK(*child->join() == exited(5));
        CHECK_FALSE(std::filesystem::exists(trace));
        event.set();
        queue.put(8);
        waits.join();
        delayed.join();
        CHECK(gets.get() == 8);
        while (timer.active()) sleep(1ms);
    });
}

TEST_CASE("fork_process: a link of the parent's does not run in the child", "[core][fork]") {
    run_and_reap([] {
        int ran = 0;
        int detached_ran = 0;
        Event event;
        Semaphore semaphore{0};
        const Link of_event = link(event, [&] { ++ran; });
        const Link raw = rawlink(event, [&] { ++ran; });
        const Link of_semaphore = link(semaphore, [&] { ++ran; });
        link(event, [&] { ++detached_ran; }).detach();
        CHECK(end_of([&] {
                  event.set();
                  semaphore.release();
                  sleep(1ms);
                  if (ran + detached_ran != 0) return 1;
                  // One that is made there does.
                  const Link own = link(event, [&] { ++ran; });
                  sleep(1ms);
                  return ran == 1 ? 0 : 2;
              }) == exited(0));
        event.set();
        semaphore.release();
        sleep(1ms);
        CHECK(ran == 3);
        CHECK(detached_ran == 1);
    });
}

TEST_CASE("fork_process: the child begins without what stood around the call", "[core][fork]") {
    run_and_reap([] {
        TimeoutScope limit{1ms};
        try {
            throw std::runtime_error("the parent's");
        } catch (const std::runtime_error&) {
            const NoSwitch fence{"not in the parent"};
            std::optional<Process> child = fork_process([&limit] {
                if (std::current_exception()) return 1;
                limit.cancel();  // does not touch the timers of this hub, of which there are none
                if (hub_figures().timers != 0) return 3;
                sleep(5ms);  // the limit is not ours, nor the fence
                try {
                    throw 3;
                } catch (int) {
                    sleep(1ms);
                }
                return std::current_exception() ? 2 : 0;
            });
            CHECK(std::current_exception() != nullptr);
            while (!child->poll()) std::this_thread::yield();
            CHECK(*child->poll() == exited(0));
        }
    });
}

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

/// Opens so many that it gets each number up to `last` that is free.
std::vector<Fd> take_free_numbers(int last) {
    std::vector<Fd> all;
    do {
        all.emplace_back(static_cast<int>(sys::must(sys::dup(STDERR_FILENO), "dup")));
    } while (all.back().number() < last);
    return all;
}
int highest_number() {
    int highest = 0;
    for (const auto& each : std::filesystem::directory_iterator{"/proc/self/fd"})
        highest = std::max(highest, std::stoi(each.path().filename().string()));
    return highest;
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

TEST_CASE("fork_process: any thread can, also one of a busy pool", "[core][fork]") {
    run_and_reap([] {
        threads().spawn([] {}).get();
        tests::BusyPool busy{{.max_threads = 2}};
        const auto works = [] {
            const int three = threads().spawn([] { return 3; }).get();
            sleep(1ms);
            return three + spawn([] { return 4; }).get();
        };
        CHECK(end_of(works) == exited(7));
        std::optional<ExitStatus> status;
        std::thread{[&] { status = end_of(works); }}.join();  // which makes a hub there, to wait
        CHECK(status == exited(7));
        std::optional<Process> of_a_pool;
        threads().spawn([&] { of_a_pool = fork_process(works); }).get();
        CHECK(*of_a_pool->join() == exited(7));
        busy.open();
    });
}

TEST_CASE("fork_process: children fork children", "[core][fork]") {
    run_and_reap([] {
        CHECK(end_of([] {
                  return end_of([] { return end_of([] { return 3; }).code + 3; }).code + 3;
              }) == exited(9));
        // A bare one is what it is everywhere.
        CHECK(end_of([] {
                  sleep(1ms);
                  ::close(STDERR_FILENO);
                  const pid_t bare = ::fork();
                  if (bare == 0) {
                      (void)std::signal(SIGABRT, [](int) { ::_exit(66); });
                      yield();
                      ::_exit(1);
                  }
                  int wait_status = 0;
                  ::waitpid(bare, &wait_status, 0);
                  return WEXITSTATUS(wait_status);
              }) == exited(66));
    });
}

TEST_CASE("fork_process: what the child leaves behind ends with it", "[core][fork]") {
    run_and_reap([] {
        const tests::TempDir directory;
        CHECK(end_of([&] {
                  spawn([&] {
                      struct Last {
                          std::string path;
                          ~Last() { std::fclose(std::fopen(path.c_str(), "w")); }
                      } const last{directory / "ended"};
                      sleep(1h);
                  });
                  yield();
              }) == exited(0));
        CHECK(std::filesystem::exists(directory / "ended"));
    });
}

// forked_output WHAT: says something before and after a fork, and in the child.
GREEN_TEST_ROLE(forked_output) {
    struct Static {
        ~Static() { std::fputs("a static object goes\n", stdout); }
    };
    static const Static object;
    std::fputs("before\n", stdout);
    Process child = fork_process([&]() -> int {
        std::fputs("child\n", stdout);
        if (arguments.at(0) == "exit") std::exit(3);
        return 3;
    });
    const int code = child.join()->code;
    std::printf("after %d\n", code);
    return 0;
}

TEST_CASE("fork_process: each process writes its own output, once, and exit() is like returning",
          "[core][fork]") {
    run_and_reap([] {
        const std::string how = GENERATE("return", "exit");
        CHECK(tests::output_of({.argv = {tests::self(), "--role=forked_output", how}}) ==
              "child\nbefore\nafter 3\na static object goes\n");
    });
}

TEST_CASE("fork_process: whichever system call fails, nothing is left behind", "[core][fork]") {
    run_and_reap([] {
        const std::size_t before = tests::open_descriptors();
        std::size_t failed_starts = 0;
        const std::size_t calls = tests::for_each_failure(EIO, [&](const tests::FailNth&) {
            try {
                Process child = fork_process([] {});
                child.join();
            } catch (const SpawnError& error) {
                CHECK(std::string(error.what()) == "clone of a forked process: Input/output error");
                ++failed_starts;
            } catch (const std::system_error& error) {
                CHECK(error.code().value() == EIO);
            }
            tests::until_reaped();
            CHECK(tests::no_children());
            CHECK(tests::open_descriptors() == before);
        });
        CHECK(calls > 8);
        CHECK(failed_starts > 4);
    });
}

TEST_CASE("fork_process: a child in which a system call fails runs its function or none of it",
          "[core][fork]") {
    run_and_reap([] {
        int ran = 0;
        for (int nth = 0; nth < 150; ++nth) {
            const FailInChild failing{nth};
            const ExitStatus status = end_of([] { return 5; });
            CHECK((status == exited(5) || status == exited(127)));
            ran += status.code == 5;
        }
        CHECK(ran > 50);
        CHECK(ran < 150);
    });
}

TEST_CASE("fork_process: a child that is killed before it begins is one that was killed",
          "[core][fork]") {
    run_and_reap([] {
        kill_next_child = true;
        Process child = fork_process([] {});
        kill_next_child = false;
        CHECK(child.join()->text() == "killed by SIGKILL");
    });
}

TEST_CASE("fork_process: a child whose parent dies before it is told to go on runs nothing",
          "[core][fork]") {
    REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);  // what the parent leaves becomes ours
    Pipe held;
    Pipe trace;
    CHECK(tests::in_a_child([&] {
              const DiesBeforeGo dies{held};
              (void)fork_process([&] { trace.put("it ran"); });
              return 1;
          }) == 0);
    // Although somebody holds the line of the two open.
    const siginfo_t child = next_end();
    CHECK(child.si_code == CLD_EXITED);
    CHECK(child.si_status == 127);
    held.writer.close();
    CHECK(next_end().si_status == 0);
    trace.writer.close();
    char byte;
    CHECK(sys::read(trace.reader.number(), &byte, 1).value == 0);
    REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
}

TEST_CASE("fork_process: a simulation has no processes", "[core][fork]") {
    const Simulation world{1};
    CHECK_THROWS_AS(fork_process([] {}), UsageError);
}
