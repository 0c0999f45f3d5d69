// Waiting: how a greenlet leaves the ring, and what it finds when it is back.
#include <array>

#include "sched/switching.hpp"

namespace green::detail {

/// Registers all of them. Returns false, with none registered, when one was satisfied at once: that
/// one has fired.
template <std::size_t Extent>
[[gnu::always_inline]] inline bool Hub::arm(Task& me, std::span<WaitNode* const, Extent> nodes) {
    std::size_t armed = 0;
    const auto undo = [&] {
        // Those that it did not come to leave the places that they kept from their last wait.
        for (std::size_t i = armed + 1; i < nodes.size(); ++i) nodes[i]->unlink();
        while (armed > 0) nodes[--armed]->disarm();
    };
    if constexpr (Extent != 1) {
        for (WaitNode* node : nodes) node->prepare();
    }
    for (WaitNode* node : nodes) {
        node->begin();
        node->waker_ = Waker{me};
    }
    try {
        for (; armed < nodes.size(); ++armed) {
            WaitNode& node = *nodes[armed];
            if (!node.arm()) continue;
            node.end_ = WaitNode::End::fired;
            undo();
            return false;
        }
    } catch (...) {
        undo();
        throw;
    }
    return true;
}

template <std::size_t Extent>
[[gnu::always_inline]] inline void Hub::sleep_on(
    Task& me, std::span<WaitNode* const, Extent> nodes) noexcept {
    std::size_t outside = 0;
    for (WaitNode* node : nodes) outside += node->reach() == Reach::outside;
    outside_waits_ += outside;
    me.waits = nodes.data();
    me.wait_count = static_cast<std::uint32_t>(nodes.size());
    me.since = turn_time_;
    me.state = TaskState::parked;
    switch_away();
    me.wait_count = 0;
    outside_waits_ -= outside;
}

/// Returns whether it was the time that ended it. Throws std::bad_alloc, and has not slept then.
[[gnu::noinline]] bool Hub::sleep_on_until(Task& me, std::span<WaitNode* const> nodes,
                                           TimePoint when) {
    me.limit_passed = false;
    timers_.start(static_cast<WaitLimit&>(me), when, [](Timer& timer) noexcept {
        auto& task = static_cast<Task&>(static_cast<WaitLimit&>(timer));
        if (task.state != TaskState::parked) return;  // something else has woken it
        task.limit_passed = true;
        ++task.epoch;
        task.hub->make_ready(task);
    });
    sleep_on(me, nodes);
    timers_.cancel(me);
    return me.limit_passed;
}

template <std::size_t Extent>
[[gnu::always_inline]] inline bool Hub::park_on(std::span<WaitNode* const, Extent> nodes,
                                                Deadline deadline) {
    check_may_switch();
    Task& me = *running_;
    if (me.attention) deliver(false);
    for (;;) {
        if (!arm(me, nodes)) return true;
        bool limit_passed = false;
        if (deadline.is_never()) [[likely]] {
            sleep_on(me, nodes);
        } else if (deadline.when() > turn_time_) {
            try {
                limit_passed = sleep_on_until(me, nodes, deadline.when());
            } catch (...) {  // no memory for the timer
                for (WaitNode* node : nodes) node->disarm();
                throw;
            }
        } else {
            limit_passed = true;  // without asking the clock
        }
        bool fired = false;
        WaitNode* lost = nullptr;
        WaitNode* missed = nullptr;
        bool beyond_recall = false;
        for (WaitNode* node : nodes) {
            if (node->fired()) {
                fired = true;
                if (me.attention) [[unlikely]]
                    beyond_recall = node->beyond_recall();
            } else if (node->lost()) {
                if (lost == nullptr) lost = node;
            } else {
                node->disarm();  // where some learn only now what they have missed
                if (missed == nullptr && node->missed()) missed = node;
            }
        }
        if (me.attention && !beyond_recall) [[unlikely]] {
            try {
                deliver(fired);
            } catch (...) {
                for (WaitNode* node : nodes) {
                    if (node->fired()) node->abandon();
                }
                throw;
            }
        }
        if (fired) [[likely]]
            return true;
        if (lost != nullptr) lost->throw_lost();
        if (limit_passed) return false;
        // The limit of a scope had woken it, and was taken back before it came to run: nothing has
        // ended this wait. What it missed on the way counts.
        if (missed != nullptr) {
            missed->end_ = WaitNode::End::fired;
            return true;
        }
    }
}

void WaitNode::throw_lost() const { throw Closed("what was waited for was destroyed"); }

bool park(std::span<WaitNode* const> nodes, Deadline deadline) {
    return Hub::current().park_on(nodes, deadline);
}
bool park(WaitNode& node, Deadline deadline) {
    WaitNode* const one = &node;
    return Hub::current().park_on(std::span<WaitNode* const, 1>{&one, 1}, deadline);
}

void Hub::yield() {
    check_may_switch();
    Task& me = *running_;
    if (me.attention) deliver(false);
    make_ready(me);
    switch_away();
    if (me.attention) deliver(false);
}

void Hub::sleep_until(TimePoint when) {
    check_may_switch();
    Task& me = *running_;
    if (me.attention) deliver(false);
    bool slept_out = false;
    while (!slept_out) {  // else it was woken by a limit that was taken back before it came to run
        slept_out = sleep_on_until(me, {}, when);
        if (me.attention) deliver(slept_out);
    }
}

void Hub::wait_idle() {
    ListNode node{idle_, "idle"};
    detail::park(node, Deadline::never());
}

}  // namespace green::detail
