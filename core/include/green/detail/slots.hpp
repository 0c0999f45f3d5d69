#pragma once
// Room for a number of greenlets at a time, and the line of those who wait for it.

#include <cstddef>
#include <limits>
#include <string>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/home.hpp>
#include <green/detail/park.hpp>

namespace green::detail {

/// A number of slots, which may change. First come, first served: a slot that comes free goes
/// straight to the one who has waited longest. Unlike a Semaphore it can shrink, and what stands in
/// its line need not be a greenlet. In a forked child all are free: who has one is the parent's.
class Slots {
 public:
    static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

    /// A slot that was taken, or none. Given back with its owner.
    class Slot {
     public:
        Slot() noexcept = default;
        explicit Slot(Slots& slots) noexcept : slots_{&slots} {}
        Slot(Slot&& other) noexcept : slots_{std::exchange(other.slots_, nullptr)} {}
        Slot& operator=(Slot&& other) noexcept {
            std::swap(slots_, other.slots_);
            return *this;
        }
        ~Slot() {
            if (slots_ != nullptr) slots_->give_back();
        }
        explicit operator bool() const noexcept { return slots_ != nullptr; }

     private:
        Slots* slots_ = nullptr;
    };

    /// A wait for a slot.
    class Taker final : public WaitNode {
     public:
        explicit Taker(Slots& slots) noexcept : WaitNode{Reach::inside}, slots_{&slots} {}
        bool arm() override;
        void abandon() noexcept override { (void)taken(); }
        void describe(std::string& into) const override { into += "room in a pool"; }
        using WaitNode::arm_for;

        /// The slot it was handed. Call it once, when it has fired.
        [[nodiscard]] Slot taken() noexcept {
            took_ = true;
            unlink();
            return refused_ ? Slot{} : Slot{*slots_};
        }
        /// The line was closed. The slots may be gone by now.
        [[nodiscard]] bool refused() const noexcept { return refused_; }

     private:
        friend class Slots;
        Slots* slots_;
        bool refused_ = false;
        bool took_ = false;
    };

    explicit Slots(std::size_t limit) noexcept : limit_{limit} {}

    /// Takes a slot, waiting for one. Switches, unless one is free. Gives none once `deadline` has
    /// passed. Throws Closed when the line is closed.
    [[nodiscard]] Slot take(Deadline deadline = Deadline::never()) {
        Slot slot = try_take();
        return slot ? std::move(slot) : wait(deadline);
    }
    [[nodiscard]] Slot try_take() noexcept {
        come_home();
        if (taken_ >= limit_) return {};
        ++taken_;
        return Slot{*this};
    }

    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
    /// Slots above a lower limit are not handed out again when they come back.
    void set_limit(std::size_t limit) noexcept {
        limit_ = limit;
        hand_out();
    }
    [[nodiscard]] std::size_t free() const noexcept {
        if (limit_ == unlimited) return unlimited;
        const std::size_t taken = home_.is_here() ? taken_ : 0;
        return taken < limit_ ? limit_ - taken : 0;
    }
    /// Sends those who wait away, also those who were handed a slot and have not run since, and
    /// from now on everybody who would have to.
    void close_line() noexcept;

 private:
    [[nodiscard]] Slot wait(Deadline deadline);
    void give_back() noexcept {
        --taken_;
        hand_out();
    }
    void hand_out() noexcept;
    void come_home() noexcept {
        if (home_.is_here()) [[likely]]
            return;
        home_ = {};
        taken_ = 0;
    }

    Home home_;
    std::size_t limit_;
    std::size_t taken_ = 0;
    bool closed_ = false;
    WaitList<Taker> line_;
    WaitList<Taker> handed_;  // have got theirs, and have not run since
};

}  // namespace green::detail
