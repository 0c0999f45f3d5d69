#pragma once
// Semaphores: numbers of permits that greenlets of one hub share.

#include <cstddef>
#include <limits>

#include <green/deadline.hpp>
#include <green/detail/count.hpp>
#include <green/detail/park.hpp>
#include <green/errors.hpp>

namespace green {

/// A number of permits. First come, first served: a permit that is released goes straight to the
/// one who has waited longest, so that nobody who releases and takes again at once can overtake.
/// That one holds it before he runs: a semaphore must live until he has given it back. Who still
/// waits when it is destroyed gets Closed.
class Semaphore {
    class Waiter;

 public:
    class Acquire;
    class Ready;

    /// Throws UsageError when `permits` was a negative number.
    explicit Semaphore(std::size_t permits = 1);
    Semaphore(const Semaphore&) = delete;
    Semaphore& operator=(const Semaphore&) = delete;

    /// Takes a permit, waiting for one. Switches, unless one is free.
    /// Returns false once `deadline` has passed; the permit was not taken then, nor when an
    /// interrupt is thrown.
    bool acquire(Deadline deadline = Deadline::never());
    [[nodiscard]] bool try_acquire() noexcept {
        if (permits_ == 0) return false;
        --permits_;
        return true;
    }
    /// Gives a permit back, or adds one. Never switches; safe in hub callbacks.
    /// Returns how many are free now: as many as before when one who waited got it.
    std::size_t release() noexcept {
        ++permits_;
        if (!waiters_.empty()) hand_out();
        return permits_;
    }

    /// Waits until a permit is free and leaves it there. Stands in line with those who acquire.
    /// Switches, unless one is free.
    /// Returns false once `deadline` has passed. Whoever stood behind may have taken it since:
    /// permits() tells.
    bool wait_available(Deadline deadline = Deadline::never());

    [[nodiscard]] std::size_t permits() const noexcept { return permits_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
    void hand_out() noexcept;

    std::size_t permits_;
    detail::WaitList<Waiter> waiters_;
};

class Semaphore::Waiter : public detail::WaitNode {
 public:
    bool arm() override {
        if (semaphore_->permits_ > 0) {
            if (takes_) --semaphore_->permits_;
            return true;
        }
        semaphore_->waiters_.push_back(*this);
        return false;
    }
    void abandon() noexcept override {
        if (takes_) semaphore_->release();
    }
    void describe(std::string& into) const override { into += "a semaphore"; }

 protected:
    Waiter(Semaphore& semaphore, bool takes) noexcept
        : WaitNode{detail::Reach::inside}, semaphore_{&semaphore}, takes_{takes} {}

 private:
    friend class Semaphore;
    Semaphore* semaphore_;
    bool takes_;
};

/// Waits for a permit and takes it.
class Semaphore::Acquire : public Waiter {
 public:
    explicit Acquire(Semaphore& semaphore) noexcept : Waiter{semaphore, true} {}
};

/// Waits until a permit is free and leaves it there.
class Semaphore::Ready : public Waiter {
 public:
    explicit Ready(Semaphore& semaphore) noexcept : Waiter{semaphore, false} {}
};

inline Semaphore::Semaphore(std::size_t permits)
    : permits_{detail::checked_count(permits, "permits")} {}

inline void Semaphore::hand_out() noexcept {
    while (permits_ > 0) {
        Waiter* waiter = waiters_.first_open();
        if (waiter == nullptr) return;
        if (waiter->takes_) --permits_;
        waiter->fire();
    }
}

inline bool Semaphore::acquire(Deadline deadline) {
    if (try_acquire()) return true;
    Acquire node{*this};
    return detail::park(node, deadline);
}

inline bool Semaphore::wait_available(Deadline deadline) {
    if (permits_ > 0) return true;
    Ready node{*this};
    return detail::park(node, deadline);
}

/// A semaphore that refuses to be released more often than it was acquired.
class BoundedSemaphore {
 public:
    /// Throws UsageError when `permits` was a negative number.
    explicit BoundedSemaphore(std::size_t permits = 1) : semaphore_{permits}, bound_{permits} {}

    /// As those of Semaphore.
    bool acquire(Deadline deadline = Deadline::never()) { return semaphore_.acquire(deadline); }
    [[nodiscard]] bool try_acquire() noexcept { return semaphore_.try_acquire(); }
    bool wait_available(Deadline deadline = Deadline::never()) {
        return semaphore_.wait_available(deadline);
    }
    /// Throws UsageError when every permit is back already; the count stays.
    std::size_t release() {
        if (semaphore_.permits() == bound_) throw UsageError("BoundedSemaphore released too often");
        return semaphore_.release();
    }
    [[nodiscard]] std::size_t permits() const noexcept { return semaphore_.permits(); }
    [[nodiscard]] std::size_t waiting() const noexcept { return semaphore_.waiting(); }

    struct Acquire : Semaphore::Acquire {
        explicit Acquire(BoundedSemaphore& bounded) noexcept
            : Semaphore::Acquire{bounded.semaphore_} {}
    };
    struct Ready : Semaphore::Ready {
        explicit Ready(BoundedSemaphore& bounded) noexcept : Semaphore::Ready{bounded.semaphore_} {}
    };

 private:
    Semaphore semaphore_;
    std::size_t bound_;
};

/// Takes the place of a semaphore where nothing is limited: a permit is always free.
class DummySemaphore {
 public:
    bool acquire(Deadline = Deadline::never()) noexcept { return true; }
    [[nodiscard]] bool try_acquire() noexcept { return true; }
    std::size_t release() noexcept { return permits(); }
    bool wait_available(Deadline = Deadline::never()) noexcept { return true; }
    [[nodiscard]] std::size_t permits() const noexcept {
        return std::numeric_limits<std::size_t>::max();
    }
    [[nodiscard]] std::size_t waiting() const noexcept { return 0; }

    class Acquire : public detail::WaitNode {
     public:
        explicit Acquire(DummySemaphore&) noexcept : WaitNode{detail::Reach::inside} {}
        bool arm() override { return true; }
        void describe(std::string& into) const override { into += "a dummy semaphore"; }
    };
    using Ready = Acquire;
};

}  // namespace green
