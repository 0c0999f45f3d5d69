#pragma once
// What a hub looks at by itself, without being told.

#include <green/deadline.hpp>
#include <green/detail/poll_node.hpp>

namespace green::detail {

class Polls {
 public:
    void add(PollNode& node) noexcept { nodes_.push_back(node); }
    [[nodiscard]] bool empty() const noexcept { return nodes_.empty(); }
    /// In each turn: looks at some of them, by turns, and fires those whose wait is over.
    void look() noexcept;
    /// The hub is about to sleep, for so long: looks a little longer, and then all that are left
    /// ask to be woken. Returns whether one fired.
    bool linger(Duration longest) noexcept;
    /// The same for this one, which is not asked for anything. Returns whether there is something.
    [[nodiscard]] static bool linger_at(PollNode& node, Duration longest) noexcept;
    /// Gives the processor away if there is so much time. Returns whether it did.
    static bool yield(Duration longest) noexcept;

 private:
    IntrusiveList<PollNode> nodes_;
};

}  // namespace green::detail
