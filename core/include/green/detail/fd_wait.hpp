#pragma once
// Waiting for a descriptor.
//
// Each direction is either worth trying or known to block. A call that would have blocked, or a
// short read, makes it known; a report of the reactor makes it worth trying again. So a descriptor
// is registered once, at its first wait, and a request on a kept-alive connection costs no
// epoll_ctl and no read that finds nothing.

#include <cstdint>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>

namespace green::detail {

class FdNode;

enum class Direction : std::uint8_t { read, write };

struct FdEntry {
    struct Side {
        bool worth_trying = true;
        FdNode* waiter = nullptr;  // to be fired
        FdNode* holder = nullptr;  // whose call has waited and goes on, fired or not
    };
    [[nodiscard]] Side& side(Direction direction) noexcept {
        return sides[static_cast<std::size_t>(direction)];
    }
    /// Nothing will be reported to those who wait any more.
    void lose_waiters() noexcept;

    Side sides[2];
    std::uint32_t generation = 0;
    bool open = false;
    bool watched = false;
    bool more_behind = false;  // reported: a read may stop short of the end, an error, urgent data
};

/// Waits until the direction is worth trying. Throws ConcurrentUse when somebody waits for it or
/// holds it already, and std::system_error (EBADF) when the descriptor is closed meanwhile.
class FdNode : public WaitNode {
 public:
    FdNode(int fd, Direction direction, Reach reach = Reach::outside);
    ~FdNode() override {
        if (!holds_) return;  // it may outlive the hub
        FdEntry::Side& side = entry_->side(direction_);
        if (side.holder == this) side.holder = nullptr;
    }

    bool arm() override;
    void disarm() noexcept override;
    void describe(std::string& into) const override;
    [[noreturn]] void throw_lost() const override;

    /// For a call that waits again when it finds nothing: from now on until this goes, nobody else
    /// can begin to wait, also not after it fired and before its greenlet runs. Throws
    /// ConcurrentUse.
    void hold();
    /// Throws when the descriptor was closed since: call when the wait is over, for who was woken
    /// runs later.
    void check_open() const;
    /// For callers that tried and would have blocked.
    void blocked() noexcept { entry_->side(direction_).worth_trying = false; }
    /// For callers that got less than they asked for, which proves that nothing is left: unless a
    /// hang-up or urgent data was reported. A read stops there, whatever stands behind it, and the
    /// edge of that came together with the bytes, so nothing would report it again. If it was not
    /// reported yet it will be, after the read, and makes the direction worth trying again. Only
    /// who takes urgent data out of band before the hub has looked hides it from us.
    void drained() noexcept {
        if (entry_->watched && !entry_->more_behind) blocked();
    }
    [[nodiscard]] bool worth_trying() const noexcept {
        return entry_->side(direction_).worth_trying;
    }

 protected:
    [[nodiscard]] int number() const noexcept { return fd_; }
    [[nodiscard]] Direction direction() const noexcept { return direction_; }

 private:
    void check_alone() const;

    int fd_;
    Direction direction_;
    FdEntry* entry_;
    std::uint32_t generation_;
    bool holds_ = false;
};

}  // namespace green::detail
