// Waiting: how a greenlet leaves the ring, and what it finds when it is back.
#include <array>

#include "sched/hub.hpp"

namespace green::detail {

void Hub::refuse_to_switch() const {
    if (running_ == &hub_) throw BlockingInHub("a hub callback must not wait");
    throw BlockingInHub(std::string("waiting inside a NoSwitch fence: ") + fence_);
}

std::size_t Hub::arm(Task& me, std::span<WaitNode* const> nodes) {
    std::size_t armed = 0;
    const auto undo = [&] {
        while (armed > 0) nodes[--armed]->disarm();
    };
    try {
        for (; armed < nodes.size(); ++armed) {
            WaitNode& node = *nodes[armed];
            node.fired_ = false;
            node.waker_ = Waker{me};
            if (node.arm()) {
                node.fired_ = true;
                undo();
                return 0;
            }
        }
    } catch (...) {
        undo();
        throw;
    }
    return armed;
}

namespace {

struct Limit : Timer {
    Waker waker;
};

}  // namespace

bool Hub::park(std::span<WaitNode* const> nodes, Deadline deadline) {
    check_may_switch();
    Task& me = *running_;
    if (me.attention) deliver(false);
    if (arm(me, nodes) != nodes.size()) return true;

    Limit limit;
    limit.waker = Waker{me};
    bool sleeps = !deadline.has_passed();
    if (sleeps && !deadline.is_never()) {
        try {
            timers_.start(limit, deadline.when(),
                          [](Timer& timer) noexcept { static_cast<Limit&>(timer).waker.wake(); });
        } catch (...) {
            for (WaitNode* node : nodes) node->disarm();
            throw;
        }
    }
    if (sleeps) {
        std::size_t outside = 0;
        for (WaitNode* node : nodes) outside += node->reach() == Reach::outside;
        outside_waits_ += outside;
        me.waits = nodes.data();
        me.wait_count = nodes.size();
        me.since = turn_time_;
        me.state = TaskState::parked;
        switch_away();
        me.waits = nullptr;
        me.wait_count = 0;
        outside_waits_ -= outside;
        timers_.cancel(limit);
    }
    bool fired = false;
    for (WaitNode* node : nodes) {
        if (node->fired()) {
            fired = true;
        } else {
            node->disarm();
        }
    }
    if (me.attention) {
        try {
            deliver(fired);
        } catch (...) {
            for (WaitNode* node : nodes) {
                if (node->fired()) node->abandon();
            }
            throw;
        }
    }
    return fired;
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
    park(std::span<WaitNode* const>{std::array<WaitNode*, 1>{&node}}, Deadline::never());
}

}  // namespace green::detail
