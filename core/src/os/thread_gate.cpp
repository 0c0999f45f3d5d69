#include <chrono>
#include <utility>

#include <green/detail/thread_gate.hpp>
#include <green/hub.hpp>

#include "sched/hub.hpp"

namespace green::detail {

/// Outlives the greenlet's wait while the news of it is on its way to the hub.
struct ThreadGate::HubWaiter final : Waiter, std::enable_shared_from_this<HubWaiter> {
    explicit HubWaiter(Node& its_node) : node{&its_node} {}

    bool wake() noexcept override {
        return hub.post([self = shared_from_this()] { self->arrive(); });
    }
    void arrive() noexcept {
        // Where something else has ended the wait already, the node is about to leave, and gives
        // back what it was granted.
        if (node != nullptr && node->open()) std::exchange(node, nullptr)->fire();
    }

    HubRef hub;
    Node* node;  // the hub's; nullptr when it has left
};

struct ThreadGate::ThreadWaiter final : Waiter {
    bool wake() noexcept override {
        granted.notify_one();
        return true;
    }

    std::condition_variable granted;
};

bool ThreadGate::Node::arm() {
    const std::lock_guard lock{*gate_->mutex_};
    const bool looks = wants_ == Wants::look;
    if (looks ? gate_->open_ || gate_->permits_ > 0 : gate_->try_pass()) return true;
    waiter_ = std::make_shared<HubWaiter>(*this);
    (looks ? gate_->lookers_ : gate_->waiters_).push_back(*waiter_);
    return false;
}

void ThreadGate::Node::leave() noexcept {
    const auto waiter = std::exchange(waiter_, nullptr);
    if (!waiter) return;
    waiter->node = nullptr;
    const std::lock_guard lock{*gate_->mutex_};
    waiter->unlink();
    if (waiter->grant == Grant::permit) gate_->admit();
}

ThreadGate::~ThreadGate() {
    if (Hub::is_forked_child()) return;  // whoever held the mutex holds it for ever there
    const std::lock_guard last{*mutex_};
}

bool ThreadGate::try_pass() noexcept {
    if (open_) return true;
    if (permits_ <= 0) return false;
    --permits_;
    return true;
}

bool ThreadGate::pass(std::unique_lock<std::mutex>& lock, Deadline deadline) {
    if (try_pass()) return true;
    if (Hub::current_or_null() != nullptr) {
        lock.unlock();
        Node node{*this};
        const bool passed = park(node, deadline);
        lock.lock();
        return passed;
    }
    if (deadline.has_passed()) return false;
    ThreadWaiter me;
    waiters_.push_back(me);
    const auto granted = [&me] { return me.grant != Grant::none; };
    if (deadline.is_never()) {
        me.granted.wait(lock, granted);
        return true;
    }
    return me.granted.wait_until(lock, deadline.when(), granted);  // leaves the list with `me`
}

bool ThreadGate::grant(IntrusiveList<Waiter>& waiters, Grant grant) noexcept {
    Waiter& first = waiters.front();
    first.unlink();
    first.grant = grant;
    return first.wake();
}

void ThreadGate::admit(std::ptrdiff_t permits) noexcept {
    permits_ += permits;
    while (permits_ > 0 && !waiters_.empty()) {
        if (grant(waiters_, Grant::permit)) --permits_;
    }
    while (permits_ > 0 && !lookers_.empty()) (void)grant(lookers_, Grant::open);
}

void ThreadGate::open() noexcept {
    open_ = true;
    for (IntrusiveList<Waiter>* waiters : {&waiters_, &lookers_}) {
        while (!waiters->empty()) (void)grant(*waiters, Grant::open);
    }
}

}  // namespace green::detail
