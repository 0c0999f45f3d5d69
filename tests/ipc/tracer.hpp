#pragma once
// A process that is traced with all that it starts, so that one of them can be killed when one is
// about to make a certain system call.

#include <cerrno>
#include <csignal>
#include <map>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>

namespace tests {

/// How processes have ended: by their exit code, or below 0 by a signal.
struct Ends {
    int subject = 0;
    std::map<pid_t, int> others{};
};

class Tracer {
 public:
    enum class Who { subject, child };
    /// Kills one of them before a system call of one of them.
    struct Plan {
        Who kills;
        Who at_call_of;
    };

    /// The subject, which waits in a system call, is let go on in run().
    Tracer(pid_t subject, Plan plan) : subject_{subject}, plan_{plan} {
        constexpr long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                                 PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
        if (::ptrace(PTRACE_SEIZE, subject_, nullptr, options) != 0) {
            error_ = errno;
        } else if (plan_.at_call_of == Who::subject) {
            (void)::ptrace(PTRACE_INTERRUPT, subject_, nullptr, nullptr);
        }
    }
    /// Why it cannot be traced, or 0.
    [[nodiscard]] int error() const noexcept { return error_; }

    /// Kills at the n-th call, counted from 0, if there are as many. Returns when no child of ours
    /// is left, how the subject and those that it started have ended.
    Ends run(int nth) {
        bool in_call = false;
        for (;;) {
            int status = 0;
            const pid_t pid = ::waitpid(-1, &status, __WALL);
            if (pid < 0) return ends_;
            if (!WIFSTOPPED(status)) {
                note_end(pid, status);
                continue;
            }
            const bool at_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
            if (at_call) in_call = !in_call;
            const bool is_due = at_call && in_call && nth-- == 0;
            if (is_due && kill_for(pid)) continue;
            const bool is_signal = !at_call && status >> 16 == 0;
            (void)::ptrace(is_counted(pid) ? PTRACE_SYSCALL : PTRACE_CONT, pid, nullptr,
                           is_signal ? WSTOPSIG(status) : 0);
        }
    }

 private:
    [[nodiscard]] bool is_counted(pid_t pid) const noexcept {
        return (pid == subject_) == (plan_.at_call_of == Who::subject);
    }
    void note_end(pid_t pid, int status) {
        const int end = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        if (pid == subject_) {
            ends_.subject = end;
            subject_ = 0;
        } else {
            // Again, when its parent ends between our hearing of it as who traces it, and as who
            // inherits it.
            ends_.others[pid] = end;
        }
    }
    /// Returns whether that was the one who is about to make the call; otherwise it is dead before
    /// the call is made.
    bool kill_for(pid_t caller) {
        if (plan_.kills == plan_.at_call_of) {
            (void)::kill(caller, SIGKILL);
            return true;
        }
        if (subject_ == 0) return false;
        (void)::kill(subject_, SIGKILL);
        int status = 0;
        REQUIRE(::waitpid(subject_, &status, __WALL) == subject_);
        note_end(subject_, status);
        return false;
    }

    pid_t subject_;
    Plan plan_;
    int error_ = 0;
    Ends ends_{};
};

}  // namespace tests
