#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <mutex>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>
#include <green/errors.hpp>
#include <green/shield.hpp>

namespace green {

/// Greenlets that wait until something guarded by a lock has changed. The lock is any that
/// std::unique_lock takes.
///
/// What notify_one() gave to a waiter that is killed before it runs goes to the next one, also to
/// one that came later: who waits without a predicate looks himself whether what he waited for is
/// so.
class Condition {
    class Waiter;

 public:
    Condition() = default;
    Condition(const Condition&) = delete;
    Condition& operator=(const Condition&) = delete;
    ~Condition();

    /// Gives the lock up, waits for a notification, takes the lock back. Switches.
    /// Returns false once `deadline` has passed without one; taking the lock back may take longer.
    /// The lock is held again whatever is thrown, as taking it back cannot be interrupted, unless
    /// it was destroyed. Throws UsageError when it is not held to begin with, or more than once.
    template <class Lock>
    bool wait(std::unique_lock<Lock>& lock, Deadline deadline = Deadline::never());
    /// Waits until `predicate`, which is called with the lock held, gives true. Switches, unless it
    /// does at once.
    /// Returns what it gave last: false once `deadline` has passed.
    template <class Lock, class Predicate>
    requires std::predicate<Predicate&>
    bool wait(std::unique_lock<Lock>& lock, Predicate predicate,
              Deadline deadline = Deadline::never()) {
        while (!std::invoke(predicate)) {
            if (!wait(lock, deadline)) return std::invoke(predicate);
        }
        return true;
    }

    /// Wakes the one who has waited longest. Never switches; safe in hub callbacks, with or without
    /// the lock.
    void notify_one() noexcept;
    /// Wakes all who wait now.
    void notify_all() noexcept;

    [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
    detail::WaitList<Waiter> waiters_;
    detail::WaitList<Waiter> notified_;  // alone, and did not run yet
};

class Condition::Waiter final : public detail::WaitNode {
 public:
    explicit Waiter(Condition& condition) noexcept
        : WaitNode{detail::Reach::inside}, condition_{&condition} {}
    bool arm() override {
        condition_->waiters_.push_back(*this);
        return false;
    }
    void abandon() noexcept override {
        if (condition_ != nullptr && alone_) condition_->notify_one();
    }
    void describe(std::string& into) const override { into += "a condition"; }

 private:
    friend class Condition;
    Condition* condition_;  // nullptr: it went after it had notified
    bool alone_ = false;    // it was notified for all others too
};

inline Condition::~Condition() {
    while (!notified_.empty()) {
        Waiter& waiter = notified_.front();
        waiter.unlink();
        waiter.condition_ = nullptr;
    }
}

inline void Condition::notify_one() noexcept {
    // Those that were woken by something else miss it, and know so if that is taken back: it may
    // have found nobody.
    while (!waiters_.empty()) {
        Waiter& waiter = waiters_.front();
        waiter.alone_ = waiter.open();
        waiter.fire();
        if (waiter.alone_) return notified_.push_back(waiter);
    }
}

inline void Condition::notify_all() noexcept { waiters_.fire_all(); }

template <class Lock>
bool Condition::wait(std::unique_lock<Lock>& lock, Deadline deadline) {
    if (!lock.owns_lock()) throw UsageError("Condition::wait needs a lock that is held");
    lock.unlock();
    if constexpr (requires { lock.mutex()->owned(); }) {
        if (lock.mutex()->owned()) {  // nobody else could take it to change anything
            lock.lock();
            throw UsageError("Condition::wait with a lock that is held more than once");
        }
    }
    const auto take_back = [&lock] {
        const Shield shield;
        lock.lock();
    };
    Waiter node{*this};
    bool notified = false;
    try {
        notified = detail::park(node, deadline);
    } catch (...) {
        take_back();
        throw;
    }
    take_back();
    return notified;
}

}  // namespace green
