// Starts of children that go on with a function, which fail, or in which somebody dies.

#include <atomic>
#include <cerrno>
#include <csignal>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "core/fork_ends.hpp"
#include "support/commands.hpp"
#include "support/faults.hpp"
#include "support/in_a_child.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::end_of;
using tests::exited;
using tests::Pipe;
using tests::run_and_reap;

namespace {

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

TEST_CASE("fork_process: a child in another pid namespace can have a death signal",
          "[core][fork]") {
    run_and_reap([] {
        const bool by_fork = GENERATE(true, false);
        // Only the children of the one that calls it are there.
        const auto parent = [by_fork] {
            if (::unshare(CLONE_NEWPID) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0)
                return tests::left_out;
            Process child =
                by_fork ? fork_process([] {}, {.parent_death_signal = SIGTERM})
                        : Process::start({.argv = {"/bin/true"}, .parent_death_signal = SIGTERM});
            return child.join()->success() ? 0 : 1;
        };
        const ExitStatus status = end_of(parent);
        if (status == exited(tests::left_out))
            WARN("left out: nobody may make a pid namespace here");
        else
            CHECK(status == exited(0));
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
