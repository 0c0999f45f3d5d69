#pragma once

#include <green/detail/intrusive.hpp>

namespace green::detail {

/// Something that is done once for all that happens in one turn of the hub: at its end, before the
/// hub looks outside.
class TurnEnd : public ListHook {
 public:
    /// Nothing happens when it was asked for already. Makes the hub when there is none.
    void ask();
    [[nodiscard]] bool asked() const noexcept { return linked(); }
    /// Called by the hub: must not wait. May ask for the end of the next turn.
    virtual void turn_ends() noexcept = 0;

 protected:
    ~TurnEnd() = default;
};

}  // namespace green::detail
