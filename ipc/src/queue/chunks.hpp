#pragma once
// Payload memory, as far as everybody may touch it: looking at an extent, giving one back, freeing
// a drained chunk. Taking memory is the business of Extents.
//
// The payload is cut into chunks, and a chunk's state word is state (4) | owner (12) | used (16) |
// epoch (32).
//
//   FREE ──▶ CURRENT ──▶ RETIRED ──▶ FREE    many small extents; `used` units are given out
//   FREE ──▶ HEAD ──▶ FREE                   one extent of `used` chunks; those behind its head
//   FREE ──▶ PART ──▶ FREE                   are PART, and `used` is their distance from it
//
// Each extent has an entry, found by the place where it begins: state (2) | slot (20) | units (10)
// | epoch (32).
//
// Q7  Only the owner takes memory in a CURRENT chunk, and he takes it with a compare-and-swap of
//     the chunk's word. So anybody may swap a drained chunk to FREE: if the owner takes a piece at
//     the same time, one of the two fails.
// Q8  The epoch grows whenever a chunk is taken or emptied in place. An entry whose epoch is not
//     the chunk's says nothing: the extent there is being made, which counts as in use. A late
//     compare-and-swap on an entry fails.
// Q9  An extent belongs to the slot that its entry names, and that slot's `extent` field names it,
//     from before the entry is LIVE until after it is FREED; meanwhile the slot is not FREE. So no
//     memory is without a slot, and who holds the slot exclusively (RESERVED, RETIRING; the keeper,
//     for a dead owner) gives the memory back, once.
// Q10 Of a run the head is taken first and freed last. A PART at distance d, read while the head's
//     word stays the same before and after, belongs to that very run; so anybody may finish freeing
//     a run whose entry is FREED.
// Q11 `freed` and the busy bits are hints. They are exact but for kills; repair() sets them to the
//     side where somebody looks once too often.

#include <cstdint>
#include <optional>

#include "segment.hpp"

namespace green::ipc::shm {

enum class ChunkState : std::uint8_t { free = 0, current = 1, retired = 2, head = 3, part = 4 };

struct ChunkWord {
    ChunkState state = ChunkState::free;
    Owner owner = nobody;
    std::uint32_t used = 0;
    std::uint32_t epoch = 0;

    static constexpr ChunkWord of(std::uint64_t word) noexcept {
        return {static_cast<ChunkState>(word >> 60), static_cast<Owner>((word >> 48) & 0xfff),
                static_cast<std::uint32_t>((word >> 32) & 0xffff),
                static_cast<std::uint32_t>(word)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept {
        return (static_cast<std::uint64_t>(state) << 60) |
               (static_cast<std::uint64_t>(owner & 0xfff) << 48) |
               (static_cast<std::uint64_t>(used & 0xffff) << 32) | epoch;
    }
    /// Never 0, so that no reference to an extent is 0.
    [[nodiscard]] constexpr std::uint32_t next_epoch() const noexcept {
        return epoch + 1 == 0 ? 1 : epoch + 1;
    }
    [[nodiscard]] constexpr ChunkWord freed() const noexcept {
        return {ChunkState::free, nobody, 0, epoch};
    }
};

enum class EntryState : std::uint8_t { unset = 0, live = 1, freed = 2 };

struct EntryWord {
    EntryState state = EntryState::unset;
    std::uint32_t slot = 0;
    std::uint32_t units = 0;  // 0 for a run: its length is in the head's word
    std::uint32_t epoch = 0;

    static constexpr EntryWord of(std::uint64_t word) noexcept {
        return {static_cast<EntryState>(word >> 62),
                static_cast<std::uint32_t>((word >> 42) & 0xfffff),
                static_cast<std::uint32_t>((word >> 32) & 0x3ff), static_cast<std::uint32_t>(word)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept {
        return (static_cast<std::uint64_t>(state) << 62) |
               (static_cast<std::uint64_t>(slot & 0xfffff) << 42) |
               (static_cast<std::uint64_t>(units & 0x3ff) << 32) | epoch;
    }
};

/// The place of an extent, as it stands in its slot; 0 is none.
struct ExtentRef {
    std::uint32_t chunk = 0;
    std::uint32_t unit_index = 0;
    std::uint32_t epoch = 0;

    static constexpr ExtentRef of(std::uint64_t word) noexcept {
        return {static_cast<std::uint32_t>(word >> 44),
                static_cast<std::uint32_t>((word >> 32) & 0xfff), static_cast<std::uint32_t>(word)};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept {
        return (static_cast<std::uint64_t>(chunk) << 44) |
               (static_cast<std::uint64_t>(unit_index & 0xfff) << 32) | epoch;
    }
};

class Chunks {
 public:
    /// Borrows the segment.
    explicit Chunks(const Segment& segment) noexcept : segment_{segment} {}

    /// The bytes of a slot's extent, or nothing when the reference is none, or names no extent of
    /// that slot.
    [[nodiscard]] std::optional<std::span<std::byte>> find(std::uint64_t ref,
                                                           std::uint32_t slot) const noexcept;

    /// Asks for the memory that reading a message there and giving it back will need.
    void look_ahead(std::uint64_t ref) const noexcept;

    /// Gives a slot's extent back, if it still has it. Needs the slot exclusively (Q9).
    void release(std::uint64_t ref, std::uint32_t slot);

    /// How many chunks a slot's extent lies in; 0 when it has it no more. Needs the slot
    /// exclusively, or is a hint.
    [[nodiscard]] std::uint64_t count(std::uint64_t ref, std::uint32_t slot) const noexcept;

    /// Whether sleepers for memory have something to look at after release(): its chunk is empty.
    [[nodiscard]] bool is_empty(std::uint64_t ref) const noexcept;

    /// Frees the chunk if it is a retired one, or the head of a run, and nothing in it is in use.
    bool settle(std::uint64_t index);
    /// Frees every chunk in which nothing is in use, those that their owners are filling included.
    bool collect();
    /// From then on every extent given back in this chunk makes somebody look whether it is empty.
    void distrust(std::uint64_t index) noexcept { segment_.freed(index).store(distrusted); }

    /// Frees a run from its end. Whoever calls knows that its extent is not in use.
    void free_run(std::uint64_t index, std::uint64_t head_word);
    /// How many percent of the chunks are taken; also those count that producers keep and that are
    /// empty. A look at the bits.
    [[nodiscard]] std::uint64_t taken_percent() const noexcept;
    /// How many percent of the chunks are in use. Looks at all that are taken.
    [[nodiscard]] std::uint64_t used_percent() const noexcept;
    [[nodiscard]] bool is_marked_busy(std::uint64_t index) const noexcept;
    void mark_free(std::uint64_t index) noexcept;
    /// Whether nothing stands in the way of freeing the chunk but messages that are READY: nobody
    /// builds one in it, has one in hand or may still read one that was taken away from him.
    [[nodiscard]] bool holds_only_ready(std::uint64_t index) const noexcept;
    /// Whether nothing in the chunk is in use, so that it is free or can be freed.
    [[nodiscard]] bool is_vacant(std::uint64_t index) const noexcept;
    /// Whether all extents of a CURRENT or RETIRED chunk were given back.
    [[nodiscard]] bool is_drained(std::uint64_t index, ChunkWord word) const noexcept;

    // `freed` counts up from here and is corrected by -used when the chunk is retired: it becomes ≥
    // 0 in the hands of the last one who gives something back, or of the one who retires, whoever
    // comes later.
    static constexpr std::uint64_t filling = std::uint64_t{0} - (std::uint64_t{1} << 40);
    static constexpr std::uint64_t distrusted = std::uint64_t{1} << 41;
    [[nodiscard]] static constexpr bool says_look(std::uint64_t freed) noexcept {
        return (freed >> 63) == 0;
    }

 private:
    [[nodiscard]] bool is_free_or_ready(std::uint64_t chunk, std::uint64_t at,
                                        EntryWord entry) const noexcept;

    const Segment& segment_;
};

}  // namespace green::ipc::shm
