#pragma once
// Being promised something that is taken only when the waiter runs.

#include <cstdint>

#include <green/detail/park.hpp>

namespace green::detail {

/// A node that its source tells what to expect. Between the news and the waiter's run the source
/// may go: what has ended needs it no more, and who was promised something loses it (P8).
class PromiseNode : public WaitNode {
 protected:
    using WaitNode::WaitNode;

    void arm_anew() noexcept { told_ = Told::nothing; }
    /// `woken` are the source's; it stands there until it redeems the promise, or has gone.
    void promise(WaitList<WaitNode>& woken) noexcept {
        told_ = Told::promised;
        fire();
        woken.push_back(*this);
    }
    /// Nothing will come any more.
    void end() noexcept {
        told_ = Told::ended;
        fire();
    }
    [[nodiscard]] bool ended() const noexcept { return told_ == Told::ended; }
    /// Whether it was promised something, which the caller takes or gives back now.
    [[nodiscard]] bool redeem() noexcept {
        if (told_ != Told::promised) return false;
        told_ = Told::nothing;
        unlink();
        return true;
    }

 private:
    enum class Told : std::uint8_t { nothing, promised, ended };
    Told told_ = Told::nothing;
};

}  // namespace green::detail
