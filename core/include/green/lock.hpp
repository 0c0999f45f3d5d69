#pragma once

#include <cstddef>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>
#include <green/errors.hpp>

namespace green {

/// A number of permits. First come, first served: a permit that is released goes straight to the
/// one who has waited longest, so that nobody who releases and takes again at once can overtake.
class Semaphore {
 public:
    explicit Semaphore(std::size_t permits = 1) noexcept : permits_{permits} {}
    Semaphore(const Semaphore&) = delete;
    Semaphore& operator=(const Semaphore&) = delete;

    /// Takes a permit, waiting for one. Switches, unless one is free.
    /// Returns false once `deadline` has passed; the permit was not taken then, nor when an
    /// interrupt is thrown.
    bool acquire(Deadline deadline = Deadline::never()) {
        if (try_acquire()) return true;
        Node node{*this};
        return detail::park(node, deadline);
    }
    [[nodiscard]] bool try_acquire() noexcept {
        if (permits_ == 0) return false;
        --permits_;
        return true;
    }
    /// Gives a permit back. Never switches; safe in hub callbacks.
    void release() noexcept {
        if (!waiters_.fire_one()) ++permits_;
    }
    [[nodiscard]] std::size_t permits() const noexcept { return permits_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
    class Node final : public detail::WaitNode {
     public:
        explicit Node(Semaphore& semaphore) noexcept
            : WaitNode{detail::Reach::inside}, semaphore_{&semaphore} {}
        bool arm() override {
            if (semaphore_->try_acquire()) return true;
            semaphore_->waiters_.push_back(*this);
            return false;
        }
        void abandon() noexcept override { semaphore_->release(); }
        void describe(std::string& into) const override { into += "a semaphore"; }

     private:
        Semaphore* semaphore_;
    };

    std::size_t permits_;
    detail::WaitList<Node> waiters_;
};

/// A semaphore that refuses to be released more often than it was acquired.
class BoundedSemaphore {
 public:
    explicit BoundedSemaphore(std::size_t permits = 1) noexcept
        : semaphore_{permits}, bound_{permits} {}

    bool acquire(Deadline deadline = Deadline::never()) { return semaphore_.acquire(deadline); }
    [[nodiscard]] bool try_acquire() noexcept { return semaphore_.try_acquire(); }
    /// Throws UsageError when every permit is back already; the count stays.
    void release() {
        if (semaphore_.permits() == bound_) throw UsageError("BoundedSemaphore released too often");
        semaphore_.release();
    }
    [[nodiscard]] std::size_t permits() const noexcept { return semaphore_.permits(); }

 private:
    Semaphore semaphore_;
    std::size_t bound_;
};

}  // namespace green
