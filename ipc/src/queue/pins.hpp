#pragma once
// Who may still be reading what, and until when he has the message for himself. A lease can be
// taken away; the memory under a reader's eyes cannot.
//
// Q12 A consumer pins the slot, then claims it by compare-and-swap. The chain of swaps on the state
//     word (claim, taken away, claimed by another, acked) carries the sight of that pin to whoever
//     ends the message, so he finds it when he looks. He looks only if the delivery count says that
//     somebody else had it before.
// Q13 A reader lifts its pin after it has ended its lease, and after all else that its call has to
//     do for others to get the message. So whatever it leaves half done when it is stopped, the
//     keeper finds by the pin. Then, unless the message ended by its own hand, it looks whether the
//     slot has become a ZOMBIE because of that pin: lift, fence, look on the one side, ZOMBIE,
//     fence, look on the other. One of the two sees it.
// Q17 A pin names the stay of the message that it belongs to (slot and generation), and the keeper
//     ends a lease only while the slot is LEASED to the pin's owner in that very stay, or RETURNING
//     in the one behind it. So an old pin never ends a newer lease of the same slot by the same
//     member. READY in the one behind it says that a cell may be missing.
// Q18 Holder and keeper agree on the end of a lease by one word, `until`: the keeper swaps it to
//     `over` before he takes the message away, and the holder can move it only by a swap that
//     finds another value there. An extension that was granted is one that the keeper has seen.

#include <cstdint>
#include <optional>
#include <vector>

#include "segment.hpp"
#include "slot.hpp"

namespace green::ipc::shm {

/// What a pin is on: generation (36) | slot + 1 (21).
struct PinWord {
    std::uint32_t slot = 0;
    std::uint64_t generation = 0;

    static constexpr std::uint64_t slot_mask = (std::uint64_t{1} << 21) - 1;

    [[nodiscard]] constexpr std::uint64_t pack() const noexcept {
        return (generation << 21) | (std::uint64_t{slot} + 1);
    }
    /// Of a word that is not 0.
    static constexpr PinWord of(std::uint64_t word) noexcept {
        return {static_cast<std::uint32_t>((word & slot_mask) - 1), word >> 21};
    }
    /// Of the stay that begins when a lease ends without its message's end.
    static constexpr std::uint64_t after(std::uint64_t generation) noexcept {
        return (generation + 1) & SlotWord::generation_mask;
    }
    /// Whether the word is a pin on the slot, in whichever stay.
    [[nodiscard]] static constexpr bool is_on(std::uint64_t word, std::uint32_t slot) noexcept {
        return (word & slot_mask) == std::uint64_t{slot} + 1;
    }
};

/// Values of PinRecord::until that are no times.
inline constexpr std::uint64_t over = 0;
inline constexpr std::uint64_t for_ever = ~std::uint64_t{0};

class Pins {
 public:
    /// Borrows the segment.
    Pins(const Segment& segment, Owner owner);

    [[nodiscard]] bool is_full() const noexcept { return free_.empty(); }
    /// Needs !is_full(). The pin stands before the caller's next compare-and-swap.
    [[nodiscard]] std::uint32_t place(PinWord what, std::uint64_t until);
    void lift(std::uint32_t pin);
    /// False: the keeper has ended the lease.
    [[nodiscard]] bool extend(std::uint32_t pin, std::uint64_t until);

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
