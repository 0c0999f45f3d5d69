#pragma once

#include <cstdint>

#include <green/detail/park.hpp>

namespace green::detail {

/// What a hub does before it sleeps, where it could see that a wait is over by itself.
enum class Patience : std::uint8_t {
    none,
    yields,  // lets others have the processor, once
    spins,   // looks again and again, for a few microseconds
};

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
    /// How long it is worth to look before that.
    [[nodiscard]] virtual Patience patience() noexcept = 0;
    /// Whether that was rewarded.
    virtual void patience_ended(bool rewarded) noexcept = 0;

    /// It has asked: it is not looked at any more.
    [[nodiscard]] bool asked() const noexcept { return asked_; }

 private:
    friend class Polls;
    bool asked_ = false;
    Patience has_ = Patience::none;
};

}  // namespace green::detail
