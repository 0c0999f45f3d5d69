#pragma once
// One member's allocator: small extents from a chunk of its own, one behind the other; large ones
// as runs of chunks. Small ones come from the low end of the payload and large ones from the high
// end, so that they do not pepper each other's space.
//
// Steps, so that a kill leaves what the keeper can tell apart:
//   E1  swap the chunk's word: the place is ours (an entry of an older epoch: "being made")
//   E2  store the reference in the slot, which is RESERVED by us
//   E3  store the entry: LIVE
//
// After a death in E1 or E2 the keeper frees the slot, finds no LIVE entry for it, and marks the
// place FREED.

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "chunks.hpp"

namespace green::ipc::shm {

class Extents {
 public:
    /// Borrows the segment.
    Extents(const Segment& segment, Chunks& chunks, Owner owner) noexcept;
    Extents(const Extents&) = delete;
    Extents& operator=(const Extents&) = delete;

    /// An extent of at least `bytes` for a slot that is RESERVED by us and has none; zeroed, and
    /// never empty. Empty: no room. (In two registers: what goes through memory waits until the
    /// extent was zeroed.)
    [[nodiscard]] std::span<std::byte> take(std::uint32_t slot, std::uint64_t bytes);

    /// Whether take() would find room if all messages that are READY were gone. May be wrong while
    /// others go on.
    [[nodiscard]] bool could_take(std::uint64_t bytes) const noexcept;

    /// How many chunks side by side have nothing in use in them, that of a reference among them;
    /// not more than so many bytes need. For after an extent was given back.
    [[nodiscard]] std::uint64_t vacant_around(std::uint64_t ref,
                                              std::uint64_t bytes) const noexcept;
    [[nodiscard]] std::uint64_t chunks_for(std::uint64_t bytes) const noexcept {
        return need_of(bytes).chunks;
    }

    /// Whether take() held chunks for a moment and gave them back: others may have missed them and
    /// gone to sleep.
    [[nodiscard]] bool has_disturbed() noexcept { return std::exchange(has_disturbed_, false); }

    /// Whether take() has taken a chunk from those that nobody has, since this was asked last.
    [[nodiscard]] bool has_grown() noexcept { return std::exchange(has_grown_, false); }

    /// Notes that only the first `bytes` of the extent were written, so that the next one need not
    /// zero all of it. Call before anybody else can give the extent back.
    void written(std::uint64_t ref, std::uint64_t bytes) noexcept;

    /// Gives up the chunk that is being filled.
    void retire();

 private:
    struct Place {
        std::uint64_t chunk;
        std::uint32_t unit_index;
        std::uint32_t epoch;
    };

    /// What a message of that size takes.
    struct Need {
        std::uint64_t units;
        std::uint64_t chunks;
        bool is_small;
    };
    [[nodiscard]] Need need_of(std::uint64_t bytes) const noexcept;
    /// Whether so many chunks that the predicate holds for stand side by side.
    template <class F>
    [[nodiscard]] bool has_run(std::uint64_t count, F&& is_good) const noexcept;
    [[nodiscard]] std::optional<Place> take_small(std::uint32_t units);
    [[nodiscard]] std::optional<Place> take_in_current(std::uint32_t units);
    [[nodiscard]] std::optional<Place> take_free_chunk(std::uint32_t units);
    [[nodiscard]] std::optional<Place> take_run(std::uint64_t count);
    [[nodiscard]] std::optional<Place> claim_run(std::uint64_t begin, std::uint64_t count);
    [[nodiscard]] bool claim_chunk(std::uint64_t index, ChunkWord wanted, std::uint32_t& epoch);
    void zero(std::uint64_t chunk, std::uint64_t begin, std::uint64_t end) noexcept;

    const Segment& segment_;
    Chunks& chunks_;
    Owner owner_;
    std::optional<std::uint64_t> current_;
    bool has_disturbed_ = false;
    bool has_grown_ = false;
};

}  // namespace green::ipc::shm
