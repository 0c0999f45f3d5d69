// Main waits for what would otherwise be reported to it as a deadlock.

#include <array>

#include <green/detail/timer.hpp>
#include <green/hub.hpp>

#include "sched/hub.hpp"

namespace green {
namespace detail {
namespace {

/// Fired by the hub when nothing is left, or by its own timer, which keeps nothing alive.
class NothingLeft final : public WaitNode {
 public:
    NothingLeft(WaitNode*& seat, Deadline deadline) noexcept
        : WaitNode{Reach::background}, seat_{&seat}, deadline_{deadline} {
        timer_.node = this;
        timer_.keeps_alive = false;
    }
    ~NothingLeft() override { cancel_timer(timer_); }

    bool arm() override {
        if (!deadline_.is_never()) start_timer(timer_, deadline_.when(), &NothingLeft::expired);
        *seat_ = this;
        return false;
    }
    void disarm() noexcept override {
        *seat_ = nullptr;
        cancel_timer(timer_);
    }
    void describe(std::string& into) const override { into += "the end of all the others"; }
    [[nodiscard]] bool too_late() const noexcept { return too_late_; }

 private:
    struct Limit : Timer {
        NothingLeft* node = nullptr;
    };
    static void expired(Timer& timer) noexcept {
        NothingLeft& node = *static_cast<Limit&>(timer).node;
        *node.seat_ = nullptr;
        node.too_late_ = true;
        node.fire();
    }

    WaitNode** seat_;
    Deadline deadline_;
    Limit timer_;
    bool too_late_ = false;
};

}  // namespace

bool Hub::join(Deadline deadline) {
    check_may_switch();
    if (running_ != main_.get()) throw UsageError("hub_join is for the main greenlet");
    if (nobody_has_work() && nothing_keeps_alive()) return true;
    if (deadline.has_passed()) return false;
    NothingLeft node{joiner_, deadline};
    park(node, Deadline::never());
    return !node.too_late();
}

/// Has the hub look outside once, and wait there for what can happen by itself. Returns false when
/// nothing can, or once `deadline` has passed.
bool Hub::wait_for_turn(Deadline deadline) {
    if (nobody_has_work() && nothing_keeps_alive()) return false;
    ListNode turned{turned_, "the world"};
    NothingLeft nothing_left{joiner_, deadline};
    park(std::array<WaitNode*, 2>{&turned, &nothing_left}, Deadline::never());
    return turned.fired();
}

}  // namespace detail

bool hub_join(Deadline deadline) { return detail::Hub::current().join(deadline); }

}  // namespace green
