#pragma once
// A child of ours from its start until it is reaped. Several may hold it: the Process, those who
// wait in join(), the reaper. Only its own pidfd is ever waited for, so nobody else's child is
// reaped, and its pid cannot be given to another process while it is unreaped.
// In a forked child of ours it is a sibling, whose status is lost: nothing there touches it.

#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <unistd.h>

#include <green/detail/home.hpp>
#include <green/detail/park.hpp>
#include <green/fd.hpp>
#include <green/fork.hpp>
#include <green/process.hpp>

namespace green::detail {

class Child {
 public:
    explicit Child(bool leads_group) noexcept : leads_group_{leads_group} {}
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child();

    /// Starts the command; spawn.cpp. Throws SpawnError and UsageError.
    static std::shared_ptr<Child> start(const Command& command);
    /// Forks; fork.cpp. Throws SpawnError and UsageError.
    static Process fork(ForkedMain& main, const ForkOptions& options);
    /// A child of ours that something else has started. Throws UsageError and std::system_error.
    static std::shared_ptr<Child> adopt(pid_t pid);

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] int pidfd() const noexcept { return pidfd_.number(); }
    [[nodiscard]] const std::optional<ExitStatus>& status() const noexcept { return status_; }

    /// Whether it has ended; leaves it as it is.
    [[nodiscard]] bool ended();
    /// Takes its status if it has ended.
    bool reap();
    /// Waits until it has ended. Switches, unless it has.
    bool await_end(Deadline deadline, Reach reach);
    bool signal(int signal);
    bool signal_group(int signal);

    /// Kills it; from now on whoever holds it last sees to it that it is reaped.
    void doom() noexcept;
    /// Leaves it to a greenlet that reaps it once it has ended.
    static void hand_over(std::shared_ptr<Child> child) noexcept;

 private:
    class Watch;
    class Follower final : public WaitNode {
     public:
        Follower(Child& child, Reach reach) noexcept : WaitNode{reach}, child_{&child} {}
        bool arm() override {
            child_->followers_.push_back(*this);
            return false;
        }
        void describe(std::string& into) const override {
            into += "the end of pid " + std::to_string(child_->pid_);
        }

     private:
        Child* child_;
    };

    /// Not in the child of a raw clone(2) either, which Home does not notice. The system refuses
    /// such a one to wait, but not to send signals.
    [[nodiscard]] bool is_ours() const noexcept;
    [[nodiscard]] siginfo_t wait(int options);
    void end_natively() noexcept;

    const Home home_;
    const pid_t parent_ = ::getpid();
    pid_t pid_ = 0;
    Fd pidfd_;
    bool leads_group_;
    bool doomed_ = false;
    std::optional<ExitStatus> status_;
    // One of those who wait watches the pidfd, the others follow it; when it leaves, another takes
    // over.
    bool watched_ = false;
    WaitList<Follower> followers_;
};

}  // namespace green::detail
