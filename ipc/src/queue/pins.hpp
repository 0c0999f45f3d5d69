#pragma once
// Who may still be reading what. A lease can be taken away; the memory under a reader's eyes
// cannot.
//
// Q12 A consumer pins the slot, then claims it by compare-and-swap. The chain of swaps on the state
//     word (claim, taken away, claimed by another, acked) carries the sight of that pin to whoever
//     acks, so he finds it when he looks. He looks only if the delivery count says that somebody
//     else had the message before.
// Q13 A reader lifts its pin before it acks or nacks: from then on it does not read, and while its
//     lease stands nobody reuses the memory. If its lease does not stand any more, it looks whether
//     the slot has become a ZOMBIE because of that pin: lift, fence, look on the one side, ZOMBIE,
//     fence, look on the other. One of the two sees it.

#include <cstdint>
#include <optional>
#include <vector>

#include "segment.hpp"

namespace green::ipc::shm {

class Pins {
 public:
    /// Borrows the segment.
    Pins(const Segment& segment, Owner owner);

    [[nodiscard]] bool is_full() const noexcept { return free_.empty(); }
    /// Needs !is_full(). The pin stands before the caller's next compare-and-swap.
    [[nodiscard]] std::uint32_t place(std::uint32_t slot);
    void lift(std::uint32_t pin);

    /// Whether anybody has a pin on the slot.
    [[nodiscard]] static bool is_pinned(const Segment& segment, std::uint32_t slot) noexcept;
    /// Lifts all pins of a dead member.
    static void clear(const Segment& segment, Owner owner) noexcept;

 private:
    const Segment& segment_;
    Owner owner_;
    std::vector<std::uint32_t>
        free_;  // last in, first out: few entries are ever used, and few are looked at
};

}  // namespace green::ipc::shm
