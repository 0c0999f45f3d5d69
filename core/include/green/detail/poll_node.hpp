#pragma once

#include <cstdint>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>

namespace green::detail {

/// What a hub may do before it sleeps: look again and again for some microseconds, or let those go
/// first who wait for its processor, and then look.
enum class Linger : std::uint8_t { none, yield, spin };

/// Waits for memory that somebody else writes, without being told: the hub looks at it in each of
/// its turns. Only when it is about to sleep it asks to be woken, which is another node's affair,
/// of the same wait.
class PollNode : public WaitNode {
 public:
    PollNode() noexcept : WaitNode{Reach::inside} {}

    bool arm() override;

    /// Whether there is what is waited for, or news about it. A few loads.
    [[nodiscard]] virtual bool look() noexcept = 0;
    /// From now on somebody must wake the hub. Returns look(), afterwards.
    [[nodiscard]] virtual bool ask_to_be_woken() noexcept = 0;
    /// What is worth to be done before that.
    [[nodiscard]] virtual Linger lingers() noexcept = 0;
    /// How that went: whether there is something now, and how long it took, to a yield at least.
    virtual void lingered(bool found, Duration took) noexcept = 0;

    /// It has asked: it is not looked at any more.
    [[nodiscard]] bool asked() const noexcept { return asked_; }

 private:
    friend class Polls;
    bool asked_ = false;
    Linger linger_ = Linger::none;
};

/// For a greenlet that is about to wait for it: where nobody else has work, looks again and again
/// in the hub's place, as the hub would before it sleeps, without the way there and back. Now and
/// then it does not, so that the hub has its turn. Returns whether there is something. Never
/// switches.
[[nodiscard]] bool look_in_place(PollNode& node, Deadline deadline);

/// The same for who looks by a system call: lets those go first who wait for the processor. Returns
/// whether it did.
[[nodiscard]] bool yield_in_place(Deadline deadline);

}  // namespace green::detail
