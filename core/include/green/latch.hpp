#pragma once
// Meeting places: a Latch opens once, a Barrier again and again.

#include <cstddef>
#include <functional>
#include <string>

#include <green/deadline.hpp>
#include <green/detail/count.hpp>
#include <green/detail/park.hpp>
#include <green/errors.hpp>
#include <green/event.hpp>

namespace green {

/// Opens for good once it was counted down to zero.
class Latch {
 public:
    /// Throws UsageError when `count` was a negative number.
    explicit Latch(std::size_t count) : count_{detail::checked_count(count, "arrivals")} {
        if (count == 0) open_.set();
    }

    /// Never switches; safe in hub callbacks. Throws UsageError when fewer are left; the count
    /// stays.
    void count_down(std::size_t by = 1) {
        if (by > count_) throw UsageError("a Latch was counted down below zero");
        count_ -= by;
        if (count_ == 0) open_.set();
    }
    /// Whether it is open.
    [[nodiscard]] bool try_wait() const noexcept { return open_.is_set(); }
    /// Waits until it is open. Switches, unless it is. Returns false once `deadline` has passed.
    bool wait(Deadline deadline = Deadline::never()) {
        if (try_wait()) return true;
        Ready node{*this};
        return detail::park(node, deadline) || node.missed();
    }
    /// Counts down by one and waits. The arrival counts, however the wait ends.
    bool arrive_and_wait(Deadline deadline = Deadline::never()) {
        count_down();
        return wait(deadline);
    }
    /// How many are missing.
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return open_.waiting(); }

    /// Waits until it is open.
    struct Ready : Event::Ready {
        explicit Ready(Latch& latch) noexcept : Event::Ready{latch.open_, "a latch"} {}
    };

 private:
    std::size_t count_;
    Event open_;
};

/// Lets a fixed number of parties go on when all have arrived, again and again. Who leaves early,
/// by a kill or at his limit, takes his arrival back: the others go on waiting for that many.
class Barrier {
 public:
    class Ready;

    /// `completion` is called when the last one has arrived, by that one and before anybody goes
    /// on. It must not wait. Throws UsageError when `parties` is zero or was a negative number.
    explicit Barrier(std::size_t parties, std::function<void()> completion = {});
    Barrier(const Barrier&) = delete;
    Barrier& operator=(const Barrier&) = delete;

    /// Switches, unless the caller is the last.
    /// Returns false once `deadline` has passed. What `completion` throws comes out of the last
    /// one's call, whose arrival is taken back.
    bool arrive_and_wait(Deadline deadline = Deadline::never());
    /// Arrives without waiting, as a party that will not come again: from now on there is one
    /// less. Never switches. Throws as arrive_and_wait(), and UsageError when all have left.
    void arrive_and_drop();

    [[nodiscard]] std::size_t parties() const noexcept { return parties_; }
    /// How many have arrived and wait for the others.
    [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
    class Waiter;
    /// The caller is there. Returns whether that made them all.
    bool arrive();
    void describe(std::string& into) const;

    std::size_t parties_;
    std::size_t missing_;
    std::function<void()> completion_;
    detail::WaitList<Waiter> waiters_;
    detail::WaitList<Ready> lookers_;
};

/// Waits until all have arrived the next time, as none of them.
class Barrier::Ready final : public detail::WaitNode {
 public:
    explicit Ready(Barrier& barrier) noexcept
        : WaitNode{detail::Reach::inside}, barrier_{&barrier} {}
    bool arm() override {
        barrier_->lookers_.push_back(*this);
        return false;
    }
    void describe(std::string& into) const override { barrier_->describe(into); }

 private:
    Barrier* barrier_;
};

}  // namespace green
