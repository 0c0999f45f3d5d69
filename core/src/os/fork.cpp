// Both sides of fork_process(). They talk over a pair of sockets until the child runs its function:
// it tells that it is ready, or why not, and is told to go on. So a start that throws has run
// nothing, and a child whose parent dies meanwhile ends too.

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <linux/close_range.h>
#include <stdio_ext.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <green/errors.hpp>
#include <green/fork.hpp>
#include <green/hub.hpp>
#include <green/log.hpp>
#include <green/sys.hpp>

#include "os/child.hpp"
#include "os/kept_descriptors.hpp"
#include "os/log_sink.hpp"
#include "os/signals_blocked.hpp"
#include "os/spawn_child.hpp"
#include "sched/hub.hpp"
#include "sched/symbols.hpp"

namespace green::detail {
namespace {

constexpr int never_began = 127;  // the exit code of a child that did not come to its function

/// What the child says before it begins.
struct Note {
    SpawnStage stage = SpawnStage::clone;
    int error = 0;
};

struct Line {
    explicit Line(int (&ends)[2]) noexcept : ours{ends[0]}, childs{ends[1]} {}
    Fd ours;
    Fd childs;
};

[[noreturn]] void fail(SpawnStage stage, int error) {
    throw SpawnError(stage, error, std::string(name(stage)) + " of a forked process");
}

std::intptr_t must(sys::Outcome outcome, SpawnStage stage) {
    if (!outcome.ok()) fail(stage, outcome.error);
    return outcome.value;
}

Line make_line() {
    int ends[2];
    must(sys::socketpair(AF_UNIX, SOCK_SEQPACKET, ends), SpawnStage::clone);
    return Line{ends};
}

/// Rising, and among them the line and what is handed down from program to program as 0, 1 and 2.
std::vector<KeptDescriptor> kept_descriptors(const std::vector<int>& listed, int line) {
    std::vector<int> kept{listed};
    for (const int fd : kept) {
        must(sys::fcntl(fd, F_GETFD), SpawnStage::descriptors);
    }
    kept.push_back(line);
    // In a program that began without them these numbers are another file's, the end of a pipe for
    // instance: who waits for the end of that would wait for the child, too.
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        const sys::Outcome flags = sys::fcntl(fd, F_GETFD);
        if (flags.ok() && (flags.value & FD_CLOEXEC) == 0) kept.push_back(fd);
    }
    std::sort(kept.begin(), kept.end());
    return to_be_kept(kept);
}

// --- in the child ---

// stdio's buffers: what is in them now is the parent's to write.
void forget_parents_output() noexcept {
    ::__fpurge(stdout);
    ::__fpurge(stderr);
}

[[noreturn]] void leave(int code) noexcept {
    (void)log::flush(std::chrono::seconds(1));
    (void)std::fflush(stdout);
    (void)std::fflush(stderr);
    ::_exit(code);
}

bool tells_of_a_fault(int signal) noexcept {
    constexpr std::array faults{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    return std::find(faults.begin(), faults.end(), signal) != faults.end();
}

// Those that the C library keeps for itself it refuses to change.
void reset_signals() noexcept {
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    for (int signal = 1; signal < NSIG; ++signal) {
        struct sigaction present {};
        if (tells_of_a_fault(signal)) continue;
        if (signal == SIGPIPE && sys::sigaction(signal, nullptr, &present).ok() &&
            present.sa_handler == SIG_IGN) {
            continue;
        }
        (void)sys::sigaction(signal, &standard, nullptr);
    }
    sigset_t none;
    sigemptyset(&none);
    (void)sys::sigprocmask(SIG_SETMASK, &none, nullptr);
}

class ChildSide {
 public:
    ChildSide(const ForkOptions& options, std::vector<KeptDescriptor> kept, const Line& line,
              pid_t parent) noexcept
        : options_{&options}, kept_{std::move(kept)}, line_{&line}, parent_{parent} {}

    [[noreturn]] void run(ForkedMain& main, Hub* parents_hub) noexcept {
        Hub::begin_anew(parents_hub);
        forget_parents_output();
        (void)sys::close(line_->ours.number());
        const Note note = settle();
        const int line = line_->childs.number();
        const bool told = sys::send(line, &note, sizeof(note)).ok();
        if (!told || note.error != 0 || !told_to_go(line)) ::_exit(never_began);
        (void)sys::close(line);
        reset_signals();
        const int code = call(main);
        Hub::end_for_thread();
        leave(code);
    }

 private:
    [[nodiscard]] Note settle() noexcept {
        if (options_->new_session && ::setsid() < 0) return {SpawnStage::session, errno};
        if (const int signal = options_->parent_death_signal.value_or(0)) {
            if (::prctl(PR_SET_PDEATHSIG, signal) < 0) return {SpawnStage::session, errno};
            // A parent that died before this line sends nothing.
            if (is_orphan(::getppid(), parent_)) ::_exit(never_began);
        }
        if (const int error = close_others()) return {SpawnStage::descriptors, error};
        if (::on_exit([](int code, void*) { leave(code); }, nullptr) != 0)
            return {SpawnStage::clone, ENOMEM};
        return {};
    }

    [[nodiscard]] int close_others() noexcept {
        if (!options_->descriptors) return 0;
        log::detail::check_parents_target();
        unsigned int from = 0;
        for (const KeptDescriptor& each : kept_) {
            const auto kept = static_cast<unsigned int>(each.number);
            if (kept < from) continue;
            if (kept > from && ::close_range(from, kept - 1, 0) < 0) return errno;
            from = kept + 1;
        }
        if (::close_range(from, ~0U, 0) < 0) return errno;
        note_descriptor_loss(std::move(kept_));
        log::detail::forget_parents_sink();
        return 0;
    }

    [[nodiscard]] bool told_to_go(int line) const noexcept {
        pollfd one{line, POLLIN, 0};
        char go = 0;
        // No signal can come, and somebody may have forked a copy of the parent's end: so its death
        // is looked for, too.
        while (sys::poll(&one, 1, 1000).value == 0) {
            if (is_orphan(::getppid(), parent_)) return false;
        }
        return sys::recv(line, &go, 1).value == 1;
    }

    static int call(ForkedMain& main) noexcept {
        try {
            return main.run();
        } catch (const GreenletExit&) {
            return 0;
        } catch (...) {
            report(main, std::current_exception());
            return 1;
        }
    }

    static void report(const ForkedMain& main, const std::exception_ptr& error) noexcept {
        try {
            const ErrorReport report{type_name(main.function()), error, {}, nullptr};
            const std::string text = "greensup: forked process: " + report.text();
            (void)std::fwrite(text.data(), 1, text.size(), stderr);
        } catch (...) {  // no memory for the text
            (void)std::fputs("greensup: a forked process failed\n", stderr);
        }
    }

    const ForkOptions* options_;
    std::vector<KeptDescriptor> kept_;
    const Line* line_;
    pid_t parent_;
};

// --- in the parent ---

/// Of a child that nothing but its number leads to. It has no line any more, so it ends by itself,
/// too.
void end_by_number(pid_t pid) noexcept {
    (void)sys::kill(pid, SIGKILL);
    siginfo_t info{};
    const auto id = static_cast<id_t>(pid);
    if (!sys::waitid(P_PID, id, info, WEXITED).ok())
        (void)sys::waitid(P_PID, id, info, WEXITED);  // the first cannot fail but in a test
}

/// Nothing when it has ended without a word. The socket alone might not tell: a child that another
/// thread forked just now has a copy of its other end.
std::optional<Note> hear(int line, int pidfd) {
    std::array<pollfd, 2> both{{{line, POLLIN, 0}, {pidfd, POLLIN, 0}}};
    while (must(sys::poll(both.data(), both.size(), -1), SpawnStage::clone) == 0) {
    }
    Note note;
    const sys::Outcome got = sys::recv(line, &note, sizeof(note));
    if (got.would_block() || got.value == 0) return std::nullopt;
    must(got, SpawnStage::clone);
    return note;
}

/// The child that was killed meanwhile is found ended by its Process.
void let_go_on(int line, int pidfd) {
    const std::optional<Note> note = hear(line, pidfd);
    if (!note) return;
    if (note->error != 0) fail(note->stage, note->error);
    const char go = 1;
    const sys::Outcome told = sys::send(line, &go, 1);
    if (told.error != EPIPE && told.error != ECONNRESET) must(told, SpawnStage::clone);
}

}  // namespace

Process Child::fork(ForkedMain& main, const ForkOptions& options) {
    Hub::refuse_in_forked_child();
    if (sys::world() != nullptr) throw UsageError("there are no processes in a simulation");
    auto child = std::make_shared<Child>(options.new_session);
    Line line = make_line();
    std::vector<KeptDescriptor> kept;
    if (options.descriptors) kept = kept_descriptors(*options.descriptors, line.childs.number());
    ChildSide side{options, std::move(kept), line, ::getpid()};
    sys::Outcome forked;
    {
        const SignalsBlocked quiet;  // no handler of ours may run in the child
        must(quiet.outcome(), SpawnStage::clone);
        Hub* const hub = Hub::current_or_null();
        forked = sys::fork();
        if (forked.ok() && forked.value == 0) side.run(main, hub);
    }
    const auto pid = static_cast<pid_t>(must(forked, SpawnStage::clone));
    line.childs.close();
    const sys::Outcome opened = sys::pidfd_open(pid);
    if (!opened.ok()) {
        line.ours.close();
        end_by_number(pid);
        fail(SpawnStage::clone, opened.error);
    }
    child->pid_ = pid;
    child->pidfd_ = Fd{opened.as_int()};
    try {
        let_go_on(line.ours.number(), child->pidfd());
    } catch (...) {
        child->doom();  // its last holder, we, reaps it
        throw;
    }
    return Process{std::move(child)};
}

Process fork_process(ForkedMain& main, const ForkOptions& options) {
    return Child::fork(main, options);
}

}  // namespace green::detail
