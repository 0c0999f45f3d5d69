// A child that is killed at any step of its start. Another process, the subject, starts it and says
// how it ended; we trace both, and kill the child when it is about to make its n-th system call.

#include <cerrno>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/process.hpp>

#include "support/commands.hpp"
#include "support/faults.hpp"

using namespace green;
using namespace std::chrono_literals;
using ipc::Entry;
using ipc::start_process;
using tests::Pipe;

namespace {

void begin_and_sleep(const Fd& ready, const Fd&) {
    sys::must(sys::write(ready.number(), "x", 1), "write");
    sleep(1h);
}
const Entry begins{"begins", [](const Fd& ready, const Fd& more) { begin_and_sleep(ready, more); }};

/// What the subject found.
enum Found : int {
    killed_on_its_way = 10,
    came_to_its_entry,
    start_has_failed,
    end_is_wrong,
    something_is_left
};

Found start_and_see_end(int way) try {
    Pipe ready;
    Pipe given;
    ipc::Process child =
        way == 0 ? start_process(begins, std::move(ready.writer), std::move(given.reader))
                 : start_process(begin_and_sleep, std::move(ready.writer), std::move(given.reader));
    Found found = killed_on_its_way;
    ready.reader.wait_readable();
    char byte;
    if (sys::read(ready.reader.number(), &byte, 1).value == 1) {
        found = came_to_its_entry;
        (void)child.kill();
    }
    if (child.join()->text() != "killed by SIGKILL") return end_is_wrong;
    // What it was given went with it.
    return sys::write(given.writer.number(), "x", 1).error == EPIPE ? found : something_is_left;
} catch (const std::exception&) {
    return start_has_failed;
}

/// The subject.
int start_and_see(int way, const Pipe& warm, Pipe& go) {
    (void)std::signal(SIGPIPE, SIG_IGN);
    Process first = Process::start({.argv = {"/bin/sleep", "1000"}});
    (void)first.join(1ms);  // what is made once is made now
    (void)first.signal(SIGKILL);
    (void)first.join();
    warm.put();
    (void)go.reader.wait_readable();
    const std::size_t before = tests::open_descriptors();
    const Found found = start_and_see_end(way);
    tests::until_reaped();
    return tests::open_descriptors() == before && tests::no_children() ? found : something_is_left;
}

/// Traces the subject, which waits, and all that it starts.
class Tracer {
 public:
    explicit Tracer(pid_t subject) : subject_{subject} {
        constexpr long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                                 PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
        if (::ptrace(PTRACE_SEIZE, subject_, nullptr, options) != 0) error_ = errno;
    }
    /// Why it cannot be traced, or 0.
    [[nodiscard]] int error() const noexcept { return error_; }

    /// Kills the child before its n-th system call. Returns what the subject found.
    int kill_at(int nth) {
        bool in_call = false;  // the child
        for (;;) {
            int status = 0;
            const pid_t pid = ::waitpid(-1, &status, __WALL);
            REQUIRE(pid > 0);
            if (!WIFSTOPPED(status)) {
                if (pid != subject_) continue;
                return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
            }
            const bool at_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
            if (at_call) in_call = !in_call;
            if (at_call && in_call && nth-- == 0) {
                (void)::kill(pid, SIGKILL);
                continue;
            }
            const bool is_signal = !at_call && status >> 16 == 0;
            (void)::ptrace(pid == subject_ ? PTRACE_CONT : PTRACE_SYSCALL, pid, nullptr,
                           is_signal ? WSTOPSIG(status) : 0);
        }
    }

 private:
    pid_t subject_;
    int error_ = 0;
};

/// Where nobody may trace: at one of all the system calls, whichever that is.
void kill_at_some_call(int way) {
    tests::run_and_reap([way] {
        Pipe ready;
        Pipe given;
        ipc::Process child =
            way == 0
                ? start_process(begins, std::move(ready.writer), std::move(given.reader))
                : start_process(begin_and_sleep, std::move(ready.writer), std::move(given.reader));
        (void)child.kill();
        CHECK(child.join()->text() == "killed by SIGKILL");
    });
}

}  // namespace

TEST_CASE("start_process: at whichever system call a child is killed, join() says so",
          "[ipc][process]") {
    const int way = GENERATE(0, 1);
    INFO((way == 0 ? "by exec" : "by fork"));
    int found = killed_on_its_way;
    int calls = 0;
    for (; found == killed_on_its_way; ++calls) {
        Pipe warm;
        Pipe go;
        const pid_t subject = ::fork();
        REQUIRE(subject >= 0);
        if (subject == 0) {
            ::alarm(30);
            ::_exit(start_and_see(way, warm, go));
        }
        warm.writer.close();  // so that the end of the subject is one of the pipe, too
        pollfd one{warm.reader.number(), POLLIN, 0};
        REQUIRE(::poll(&one, 1, -1) == 1);
        REQUIRE((one.revents & POLLIN) != 0);
        Tracer tracer{subject};
        if (tracer.error() != 0) {
            (void)::kill(subject, SIGKILL);
            (void)::waitpid(subject, nullptr, 0);
            INFO(std::strerror(tracer.error()));
            REQUIRE((tracer.error() == EPERM || tracer.error() == EACCES));
            WARN("no process may be traced here");
            kill_at_some_call(way);
            return;
        }
        go.put();
        INFO("killed before system call number " << calls);
        found = tracer.kill_at(calls);
        CHECK((found == killed_on_its_way || found == came_to_its_entry));
    }
    CHECK(found == came_to_its_entry);
    CHECK(calls > (way == 0 ? 50 : 10));
}
