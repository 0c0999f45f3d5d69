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
        while (armed > 0) nodes[--armed]->disarm();
    };
    for (WaitNode* node : nodes) {
        node->begin();
        node->waker_ = Waker{me};
    }
    try {
        for (; armed < nodes.size(); ++armed) {
            WaitNode& node = *nodes[armed];
            if (!node.arm()) continue;
            node.fired_ = true;
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

[[gnu::noinline]] void Hub::sleep_until(Task& me, std::span<WaitNode* const> nodes,
                                        Deadline deadline) {
    struct Limit : Timer {
        Waker waker;
    } limit;
    limit.waker = Waker{me};
    timers_.start(limit, deadline.when(),
                  [](Timer& timer) noexcept { static_cast<Limit&>(timer).waker.wake(); });
    sleep_on(me, nodes);
    timers_.cancel(limit);
}

template <std::size_t Extent>
[[gnu::always_inline]] inline bool Hub::park_on(std::span<WaitNode* const, Extent> nodes,
                                                Deadline deadline) {
    check_may_switch();
    Task& me = *running_;
    if (me.attention) deliver(false);
    if (!arm(me, nodes)) return true;
    if (deadline.is_never()) [[likely]] {
        sleep_on(me, nodes);
    } else if (deadline.when() > turn_time_) {  // else it has passed, without asking the clock
        try {
            sleep_until(me, nodes, deadline);
        } catch (...) {  // no memory for the timer
            for (WaitNode* node : nodes) node->disarm();
            throw;
        }
    }
    bool fired = false;
    bool lost = false;
    bool beyond_recall = false;
    for (WaitNode* node : nodes) {
        if (node->fired()) {
            fired = true;
            if (me.attention) [[unlikely]]
                beyond_recall = node->beyond_recall();
        } else if (node->lost()) {
            lost = true;
        } else {
            node->disarm();
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
    if (lost && !fired) throw Closed("what was waited for was destroyed");
    return fired;
}

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

void Hub::wait_idle() {
    ListNode node{idle_, "idle"};
    detail::park(node, Deadline::never());
}

}  // namespace green::detail
