#pragma once
// The state word of a slot: state (8) | owner (12) | delivery count (8) | generation (36).
//
// Q1  The word is the only authority over a slot. Every transition, ack included, is one
//     compare-and-swap over all of it, or a store by the one owner that the word names. A kill
//     between any two instructions therefore leaves the slot in exactly one legal state.
// Q2  The generation grows by one whenever the slot stops being RESERVED without a message, and
//     whenever it stops being LEASED. So each stay in READY and each stay in FREE has a generation
//     of its own: what was true of (slot, generation) and has ended never comes back, and the
//     LEASED word is a fence token: a late ack fails. A message that is taken out of READY without
//     having been leased (it died of age) moves it too.
// Q3  The delivery count grows when a lease begins (the first holder sees 1) and saturates at 255;
//     a return, by nack or by death, leaves it.
//
//   FREE ──reserve──▶ RESERVED ──publish──▶ READY ──claim──▶ LEASED ──ack──▶ RETIRING ──▶ FREE
//     ▲                  │                    ▲                │                │  ▲
//     └──── abandon, ────┘                    └── nack, death ─┘        foreign │  │ last pin
//           death                                                        pins   ▼  │ gone
//                                                                             ZOMBIE
//
//   RESERVED ──another put of the same id──▶ REVOKED ──▶ RESERVED, FREE (dedup.hpp)
//   LEASED, RETIRING ──untake, before anybody looked──▶ READY
//   LEASED ──nack with a delay──▶ RETURNING ──▶ DELAYED ──its time──▶ READY
//   READY ──its time over──▶ DEAD, RETIRING; ──dropped for a newer one──▶ RETIRING
//   LEASED ──reject, too many deliveries──▶ DEAD ──moved to the dead letters──▶ RETIRING (keeper)
//   DEAD ──no limit to deliveries any more──▶ READY (keeper)

#include <algorithm>
#include <cstdint>

#include "layout.hpp"

namespace green::ipc::shm {

enum class SlotState : std::uint8_t {
    free = 0,
    reserved = 1,  // its owner builds a message
    ready = 2,
    leased = 3,     // its owner reads the message
    retiring = 4,   // acked; its owner (0: the keeper) gives the memory back
    zombie = 5,     // acked, but somebody whose lease was taken away may still read
    dead = 6,       // nobody gets it any more; `owner` is the reason why
    returning = 7,  // its last holder writes down when it may be had again
    delayed = 8,    // not to be had yet
    revoked = 9,    // RESERVED, but another put of the same id goes before
};
inline constexpr std::uint8_t slot_states = 10;

/// Where a message that is READY stands: before all that are fresh, or among them, behind the last.
enum class Turn : std::uint8_t { first, last };

/// Why a message is DEAD.
enum class Reason : std::uint8_t { rejected = 1, deliveries = 2, expired = 3 };
inline constexpr std::uint8_t last_reason = 3;

struct SlotWord {
    SlotState state = SlotState::free;
    Owner owner = nobody;
    std::uint32_t deliveries = 0;
    std::uint64_t generation = 0;

    static constexpr std::uint64_t generation_mask = (std::uint64_t{1} << 36) - 1;

    static constexpr SlotWord of(std::uint64_t word) noexcept {
        return {static_cast<SlotState>(word >> 56), static_cast<Owner>((word >> 44) & 0xfff),
                static_cast<std::uint32_t>((word >> 36) & 0xff), word & generation_mask};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept {
        return (static_cast<std::uint64_t>(state) << 56) |
               (static_cast<std::uint64_t>(owner & 0xfff) << 44) |
               (static_cast<std::uint64_t>(deliveries & 0xff) << 36) |
               (generation & generation_mask);
    }

    [[nodiscard]] constexpr SlotWord reserved_by(Owner who) const noexcept {
        return {SlotState::reserved, who, 0, generation};
    }
    [[nodiscard]] constexpr SlotWord revoked() const noexcept {
        return {SlotState::revoked, owner, 0, generation};
    }
    [[nodiscard]] constexpr SlotWord published() const noexcept {
        return {SlotState::ready, nobody, 0, generation};
    }
    [[nodiscard]] constexpr SlotWord leased_by(Owner who) const noexcept {
        return {SlotState::leased, who, std::min(deliveries + 1, 255u), generation};
    }
    [[nodiscard]] constexpr SlotWord returned(Turn turn = Turn::first) const noexcept {
        return SlotWord{SlotState::ready, nobody, deliveries, generation + 1}.to_stand(turn);
    }
    /// Of one that was handed out and that nobody has seen: as it was before.
    [[nodiscard]] constexpr SlotWord untaken() const noexcept {
        const bool is_moved = state == SlotState::retiring;  // its generation is that of its end
        return SlotWord{SlotState::ready, nobody, deliveries == 255 ? deliveries : deliveries - 1,
                        is_moved ? generation : generation + 1}
            .to_stand(Turn::first);
    }
    [[nodiscard]] constexpr SlotWord returning_by(Owner who) const noexcept {
        return {SlotState::returning, who, deliveries, generation + 1};
    }
    [[nodiscard]] constexpr SlotWord delayed() const noexcept {
        return {SlotState::delayed, nobody, deliveries, generation};
    }
    [[nodiscard]] constexpr SlotWord ready_again() const noexcept {
        return {SlotState::ready, nobody, deliveries, generation};
    }
    [[nodiscard]] constexpr SlotWord died_of(Reason reason) const noexcept {
        return {SlotState::dead, static_cast<Owner>(reason), deliveries, generation + 1};
    }
    /// Of a READY one: what was delivered stands before all others, what was not behind them,
    /// unless its word says the contrary.
    [[nodiscard]] constexpr Turn turn() const noexcept {
        return (deliveries == 0) == (owner == nobody) ? Turn::last : Turn::first;
    }
    /// Of a DEAD one.
    [[nodiscard]] constexpr Reason reason() const noexcept { return static_cast<Reason>(owner); }
    /// Who acts or would have to act; DEAD and READY ones have nobody, whatever stands in that
    /// place.
    [[nodiscard]] constexpr Owner holder() const noexcept {
        return state == SlotState::dead || state == SlotState::ready ? nobody : owner;
    }
    /// Whether somebody is about to put a message here.
    [[nodiscard]] constexpr bool is_draft() const noexcept {
        return state == SlotState::reserved || state == SlotState::revoked;
    }
    /// Whether a message stands in it that somebody may still get.
    [[nodiscard]] constexpr bool has_message() const noexcept {
        return state == SlotState::ready || state == SlotState::leased ||
               state == SlotState::returning || state == SlotState::delayed;
    }
    [[nodiscard]] constexpr SlotWord acked_by(Owner who) const noexcept {
        return {SlotState::retiring, who, deliveries, generation + 1};
    }
    [[nodiscard]] constexpr SlotWord haunted() const noexcept {
        return {SlotState::zombie, nobody, deliveries, generation};
    }
    [[nodiscard]] constexpr SlotWord buried_by(Owner who) const noexcept {
        return {SlotState::retiring, who, deliveries, generation};
    }
    [[nodiscard]] constexpr SlotWord freed() const noexcept {
        return {SlotState::free, nobody, 0, generation};
    }
    [[nodiscard]] constexpr SlotWord abandoned() const noexcept {
        return {SlotState::free, nobody, 0, generation + 1};
    }
    friend bool operator==(const SlotWord&, const SlotWord&) = default;

 private:
    [[nodiscard]] constexpr SlotWord to_stand(Turn wanted) const noexcept {
        return {state, turn() == wanted ? owner : contrary, deliveries, generation};
    }
    static constexpr Owner contrary = 1;
};

/// When a DELAYED message may be had again: generation, the low bits (4) | time (60, 36 years). So
/// the same time, written in another stay, is another word.
struct NotBefore {
    std::uint64_t time = 0;
    std::uint64_t generation = 0;

    static constexpr std::uint64_t latest = (std::uint64_t{1} << 60) - 1;

    static constexpr NotBefore of(std::uint64_t word) noexcept {
        return {word & latest, word >> 60};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept {
        return (generation << 60) | std::min(time, latest);
    }
};

/// Whether the word is one that the protocol can have written.
[[nodiscard]] constexpr bool is_legal(SlotWord word, Owner members) noexcept {
    switch (word.state) {
        case SlotState::free:
            return word.owner == nobody && word.deliveries == 0;
        case SlotState::reserved:
        case SlotState::revoked:
            return word.owner != nobody && word.owner <= members && word.deliveries == 0;
        case SlotState::ready:
            return word.owner <= 1;
        case SlotState::dead:
            return word.owner != nobody && word.owner <= last_reason;
        case SlotState::delayed:
            return word.owner == nobody && word.deliveries != 0;
        case SlotState::leased:
        case SlotState::returning:
            return word.owner != nobody && word.owner <= members && word.deliveries != 0;
        case SlotState::retiring:
            return word.owner <= members;
        case SlotState::zombie:
            return word.owner == nobody && word.deliveries != 0;
    }
    return false;
}

}  // namespace green::ipc::shm
