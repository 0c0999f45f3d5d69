#include <cassert>
#include <chrono>
#include <utility>

#include <green/detail/thread_gate.hpp>
#include <green/errors.hpp>

#include "sched/hub.hpp"
#include "sched/mailbox.hpp"

namespace green::detail {
namespace {
constexpr const char* gone = "what was waited for was destroyed";
}  // namespace

/// Outlives the greenlet's wait while news is on its way to the hub.
struct ThreadGate::HubWaiter final : Waiter, std::enable_shared_from_this<HubWaiter> {
    /// Sent once at the most.
    struct News final : Letter {
        News(HubWaiter& its_waiter, void (HubWaiter::*its_effect)() noexcept) noexcept
            : waiter{&its_waiter}, effect{its_effect} {}
        bool send() noexcept {
            kept = waiter->shared_from_this();
            return waiter->mailbox->post(*this);
        }
        void arrive() override { (waiter->*effect)(); }
        void let_go() noexcept override { const auto last = std::move(kept); }

        HubWaiter* waiter;
        void (HubWaiter::*effect)() noexcept;
        std::shared_ptr<HubWaiter> kept;  // on its way
    };

    HubWaiter(ThreadGate* its_gate, Node& its_node) : gate{its_gate}, node{&its_node} {}

    bool wake() noexcept override {
        if (!granted.send()) return false;
        gate->granted_.push_back(*this);
        return true;
    }
    void on_granted() noexcept {
        // Where something else has ended the wait already, the node is about to leave, and gives
        // back what it was granted.
        if (node != nullptr && node->open()) std::exchange(node, nullptr)->fire();
    }
    void on_lost() noexcept {
        if (node != nullptr) std::exchange(node, nullptr)->lose_source();
    }
    /// Leaves the gate. Holds the owner's mutex afterwards, unless that has gone.
    std::unique_lock<std::mutex> leave() noexcept {
        if (!home.is_here()) return {};
        const std::lock_guard mine{mutex};
        node = nullptr;
        if (gate == nullptr) return {};
        std::unique_lock lock{*gate->mutex_};
        unlink();
        return lock;
    }
    /// The same, but it stays in there: its greenlet may come again, and must learn then whether
    /// the gate has gone meanwhile.
    std::unique_lock<std::mutex> step_aside() noexcept {
        auto lock = leave();
        if (lock) gate->aside_.push_back(*this);
        return lock;
    }
    void lose_gate(std::unique_lock<std::mutex>& lock) noexcept override {
        const auto self = shared_from_this();
        lock.unlock();
        const std::lock_guard mine{mutex};
        lock.lock();
        if (!linked()) return;  // it has left meanwhile
        unlink();
        gate = nullptr;
        if (grant != Grant::none) return;  // it learns of it when it wants to enter
        (void)lost.send();
    }

    const std::shared_ptr<Mailbox> mailbox = Hub::current().mailbox();
    News granted{*this, &HubWaiter::on_granted};
    News lost{*this, &HubWaiter::on_lost};
    const Home home;
    std::mutex mutex;  // G8
    ThreadGate* gate;  // nullptr when it has gone; changes with both mutexes held
    Node* node;        // the hub's; nullptr when it has left
};

struct ThreadGate::ThreadWaiter final : Waiter {
    bool wake() noexcept override {
        granted.notify_one();
        return true;
    }
    void lose_gate(std::unique_lock<std::mutex>&) noexcept override {
        assert(!"a thread without a hub waits for what is destroyed");
        unlink();
    }

    std::condition_variable granted;
};

ThreadGate::Node::~Node() {
    if (waiter_) (void)waiter_->leave();
}

bool ThreadGate::Node::arm() {
    auto next = std::make_shared<HubWaiter>(gate_, *this);
    const auto lock = waiter_ ? waiter_->leave() : std::unique_lock{*gate_->mutex_};
    if (!lock) throw Closed(gone);
    waiter_ = std::move(next);
    const bool looks = wants_ == Wants::look;
    if (looks ? gate_->open_ || gate_->permits_ > 0 : gate_->try_pass()) {
        waiter_->grant = looks || gate_->open_ ? Grant::open : Grant::permit;
        gate_->granted_.push_back(*waiter_);
        return true;
    }
    (looks ? gate_->lookers_ : gate_->waiters_).push_back(*waiter_);
    return false;
}

void ThreadGate::Node::disarm() noexcept {
    if (!waiter_) return;
    const auto lock = waiter_->step_aside();
    const Grant granted = std::exchange(waiter_->grant, Grant::none);
    if (granted == Grant::open) miss();  // it would have fired soon
    if (granted == Grant::permit && lock) gate_->admit();
}

std::unique_lock<std::mutex> ThreadGate::Node::enter() {
    auto lock = std::exchange(waiter_, nullptr)->leave();
    if (!lock) throw Closed(gone);
    return lock;
}

void ThreadGate::lose_waiters() noexcept {
    if (!home_.is_here()) return;
    std::unique_lock lock{*mutex_};
    // They may change from one list to another while they lose it.
    for (bool all = false; !all;) {
        all = true;
        for (IntrusiveList<Waiter>* waiters : {&waiters_, &lookers_, &granted_, &aside_}) {
            for (; !waiters->empty(); all = false) waiters->front().lose_gate(lock);
        }
    }
}

bool ThreadGate::try_pass() noexcept {
    if (open_) return true;
    if (permits_ <= 0) return false;
    --permits_;
    return true;
}

bool ThreadGate::pass(std::unique_lock<std::mutex>& lock, Deadline deadline) {
    if (try_pass()) return true;
    if (Hub::current_or_null() == nullptr) return block(lock, deadline);
    lock.unlock();
    Node node{*this};
    if (!park(node, deadline)) return false;
    lock = node.enter();
    return true;
}

bool ThreadGate::wait(std::unique_lock<std::mutex>& lock, Deadline deadline) {
    if (try_pass()) return true;
    if (Hub::current_or_null() == nullptr) return block(lock, deadline);
    lock.unlock();
    Node node{*this};
    return park(node, deadline) || node.missed();
}

bool ThreadGate::block(std::unique_lock<std::mutex>& lock, Deadline deadline) {
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
