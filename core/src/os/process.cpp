#include <cerrno>
#include <csignal>
#include <cstring>
#include <unistd.h>
#include <utility>

#include <green/context.hpp>
#include <green/errors.hpp>
#include <green/greenlet.hpp>
#include <green/process.hpp>
#include <green/sys.hpp>

#include "os/child.hpp"
#include "sched/hub.hpp"

namespace green {
namespace detail {

class Child::Watch {
 public:
    explicit Watch(Child& child) noexcept : child_{&child} { child_->watched_ = true; }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() {
        child_->watched_ = false;
        child_->followers_.fire_all();
    }

 private:
    Child* child_;
};

std::shared_ptr<Child> Child::adopt(pid_t pid) {
    if (pid <= 0) throw UsageError("a child has a pid above 0, not " + std::to_string(pid));
    auto child = std::make_shared<Child>(false);
    const std::string who = "pid " + std::to_string(pid);
    child->pid_ = pid;
    child->pidfd_ =
        Fd{static_cast<int>(sys::must(sys::pidfd_open(pid), "pidfd_open(" + who + ")"))};
    (void)child->ended();
    if (child->status_) sys::fail(ECHILD, who);
    return child;
}

Child::~Child() {
    if (doomed_ && !status_) end_natively();
}

bool Child::is_ours() const noexcept { return home_.is_here() && ::getpid() == parent_; }

// An answer with si_pid 0 means: it runs.
siginfo_t Child::wait(int options) {
    constexpr ExitStatus lost{ExitStatus::Kind::lost, 255, false};
    siginfo_t info{};
    if (!home_.is_here()) {
        status_ = lost;
        return info;
    }
    const auto id = static_cast<id_t>(pidfd_.number());
    const sys::Outcome outcome = sys::waitid(P_PIDFD, id, info, WEXITED | WNOHANG | options);
    if (outcome.error == ECHILD) {
        status_ = lost;
    } else {
        sys::must(outcome, "waitid(pid " + std::to_string(pid_) + ")");
    }
    return info;
}

bool Child::ended() {
    if (status_) return true;
    return wait(WNOWAIT).si_pid != 0 || status_;  // the second: it was lost just now
}

bool Child::reap() {
    if (status_) return true;
    const siginfo_t info = wait(0);
    if (info.si_pid != 0) {
        status_ = ExitStatus{
            info.si_code == CLD_EXITED ? ExitStatus::Kind::exited : ExitStatus::Kind::signaled,
            info.si_status, info.si_code == CLD_DUMPED};
    }
    return status_.has_value();
}

bool Child::await_end(Deadline deadline, Reach reach) {
    while (!ended()) {
        if (deadline == Deadline::passed()) return false;
        if (watched_) {
            Follower node{*this, reach};
            if (!park(node, deadline)) return ended();
            continue;
        }
        const Watch watch{*this};
        for (FdOperation look{pidfd_, Direction::read, deadline, reach}; look.go();) {
            if (ended()) return true;
            look.blocked();
        }
        return ended();
    }
    return true;
}

bool Child::signal(int signal) {
    if (ended()) return false;
    const sys::Outcome sent = sys::pidfd_send_signal(pidfd_.number(), signal);
    if (sent.error == ESRCH) return false;
    sys::must(sent, "signal " + std::to_string(signal) + " to pid " + std::to_string(pid_));
    return true;
}

bool Child::signal_group(int signal) {
    if (!leads_group_) throw UsageError("a child without new_session has no group of its own");
    if (!is_ours()) return false;
    (void)ended();  // when somebody else has reaped it, the number is anybody's
    if (status_) return false;
    const sys::Outcome sent = sys::kill(-pid_, signal);
    if (sent.error == ESRCH) return false;
    sys::must(sent, "signal " + std::to_string(signal) + " to group " + std::to_string(pid_));
    return true;
}

void Child::doom() noexcept {
    if (!is_ours()) return;
    doomed_ = true;
    if (!status_) (void)sys::pidfd_send_signal(pidfd_.number(), SIGKILL);
}

void Child::hand_over(std::shared_ptr<Child> child) noexcept {
    try {
        if (child->reap() || Hub::current_or_null() == nullptr) return;
        const std::string name = "reaper of pid " + std::to_string(child->pid_);
        const Context::Scope nobodys{
            Context{}};  // a deadline of who lets it go is not the reaper's
        auto reaper = deferred([child = std::move(child)] {
            child->await_end(Deadline::never(), Reach::background);
            child->reap();
        });
        reaper.set_name(name);
        reaper.start();
    } catch (...) {  // no memory for a greenlet: the destructor does it
    }
}

// Where nobody can wait: no hub, or it is being torn down. A killed child ends at once, unless the
// kernel holds it in a disk: then it stays a zombie until we end too.
void Child::end_natively() noexcept {
    constexpr int tries = 10;
    for (int i = 0; i < tries; ++i) {
        try {
            if (reap()) return;
        } catch (...) {  // once more
        }
        pollfd one{pidfd_.number(), POLLIN, 0};
        (void)sys::poll(&one, 1, 1000 / tries);
    }
}

}  // namespace detail

const char* name(SpawnStage stage) noexcept {
    switch (stage) {
        case SpawnStage::clone:
            return "clone";
        case SpawnStage::session:
            return "session";
        case SpawnStage::cwd:
            return "cwd";
        case SpawnStage::descriptors:
            return "descriptors";
        case SpawnStage::limits:
            return "limits";
        case SpawnStage::exec:
            return "exec";
    }
    return "?";
}

std::string ExitStatus::text() const {
    if (kind == Kind::lost) return "ended, its status taken by somebody else";
    if (kind == Kind::exited) return "exited with " + std::to_string(code);
    const char* known = sigabbrev_np(code);
    return "killed by " +
           (known != nullptr ? std::string("SIG") + known : "signal " + std::to_string(code)) +
           (core ? " (core dumped)" : "");
}

Process Process::start(const Command& command) { return Process{detail::Child::start(command)}; }

Process& Process::operator=(Process&& other) noexcept {
    if (this != &other) {
        abandon();
        child_ = std::move(other.child_);
    }
    return *this;
}
Process::~Process() { abandon(); }

void Process::abandon() noexcept {
    if (!child_) return;
    child_->doom();
    detail::Child::hand_over(std::move(child_));
}

void Process::detach() {
    (void)child();
    detail::Child::hand_over(std::move(child_));
}

detail::Child& Process::child() const {
    if (!child_) throw UsageError("this Process is empty");
    return *child_;
}

pid_t Process::pid() const { return child().pid(); }
int Process::pidfd() const { return child().pidfd(); }

std::optional<ExitStatus> Process::join(Deadline deadline) {
    (void)child();
    const auto held = child_;  // this object may go while we wait
    if (held->await_end(deadline, detail::Reach::outside)) held->reap();
    return held->status();
}

std::optional<ExitStatus> Process::poll() {
    child().reap();
    return child().status();
}

bool Process::await_end(Deadline deadline) {
    (void)child();
    const auto held = child_;
    return held->await_end(deadline, detail::Reach::outside);
}

bool Process::signal(int signal) { return child().signal(signal); }
bool Process::signal_group(int signal) { return child().signal_group(signal); }

}  // namespace green
