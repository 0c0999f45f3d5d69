#pragma once
// Which ids were put lately: a put whose id is among them is accepted and dropped.
//
// A table of cells, eight to a bucket; an id belongs to one bucket and stands in any of its cells.
// A cell names the slot and the generation of the message that claims the id, so what became of the
// claim is read from the slot: RESERVED (or REVOKED) in that generation is a put on its way,
// anything else is a message that was published, since who gives a RESERVED slot up first drops his
// claim. The steps, with our slot RESERVED and the message in it:
//
//   D1  take a cell: swap its claim to WRITING(me), write id and time, set the claim to (slot,
//       generation)
//   D2  look at the other cells of the bucket. One with our id that was published: ours is a
//       duplicate; drop our claim, then give the slot up. One that is on its way: revoke it, by a
//       swap of its slot from RESERVED to REVOKED
//   D3  publish: swap our slot from RESERVED to READY. It was revoked: swap it back to RESERVED and
//       go to D2
//
// Q19 Of two puts of one id at most one publishes: each sets its claim before it looks, so at least
//     one of the two sees the other, and revokes it, or sees that it has published. Who was
//     revoked looks again before it can publish.
// Q20 Nobody waits for another one, and nobody relies on one who has not published: a put returns
//     "duplicate" only if a message with its id is in the queue, or was. So one who is killed or
//     stopped anywhere swallows nothing and holds up nobody.
// Q21 A cell is a claim as long as it stands: a verdict that rests on a slot's state counts only if
//     the claim is still there after the slot was read.
//
// A template over the word so that tests can run it step by step (tests/ipc/shm_dedup_test.cpp).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <green/ipc/detail/tokens.hpp>

#include "crash_point.hpp"
#include "slot.hpp"

namespace green::ipc::shm {

enum class ClaimKind : std::uint8_t { none = 0, writing = 1, set = 2 };

/// kind (2) | slot (20) or owner | generation (36), the kind in the highest bits.
struct ClaimWord {
    ClaimKind kind = ClaimKind::none;
    std::uint32_t slot = 0;  // the owner, while WRITING
    std::uint64_t generation = 0;

    static constexpr ClaimWord of(std::uint64_t word) noexcept {
        return {static_cast<ClaimKind>(word >> 62),
                static_cast<std::uint32_t>((word >> 36) & 0xfffff),
                word & SlotWord::generation_mask};
    }
    [[nodiscard]] constexpr std::uint64_t pack() const noexcept {
        return (static_cast<std::uint64_t>(kind) << 62) | (static_cast<std::uint64_t>(slot) << 36) |
               generation;
    }
    /// Whether `slot`'s word says that this claim's put is still on its way.
    [[nodiscard]] constexpr bool is_on_its_way(SlotWord word) const noexcept {
        return word.generation == generation &&
               (word.state == SlotState::reserved || word.state == SlotState::revoked);
    }
};

template <class W>
struct DedupCell {
    W claim;
    W id[2];
    W time;  // of the claim
};
inline constexpr std::size_t bucket_cells = 8;

enum class Entered : std::uint8_t { published, duplicate };

/// A number by which ids are spread over buckets.
[[nodiscard]] constexpr std::uint64_t mix(MessageId id) noexcept {
    std::uint64_t value = (id.high ^ (id.low * 0x9e3779b97f4a7c15)) * 0xff51afd7ed558ccd;
    value ^= value >> 32;
    return value * 0xc4ceb9fe1a85ec53 >> 16;
}

/// One bucket. `StateOf` gives the state word of a slot.
template <class W, class StateOf>
class BasicBucket {
 public:
    using Cell = DedupCell<W>;
    BasicBucket(std::span<Cell> cells, StateOf state_of, Owner self) noexcept
        : cells_{cells}, state_of_{state_of}, self_{self} {}

    /// How long an id counts, and what time it is.
    struct Span {
        std::uint64_t now;
        std::uint64_t window;
        [[nodiscard]] bool holds(std::uint64_t time) const noexcept {
            return time > now || now - time < window;
        }
    };

    /// Whether a message with the id was published within the span.
    [[nodiscard]] bool has_seen(MessageId id, Span span) const {
        for (Cell& cell : cells_) {
            if (judge(cell, id, span) == Verdict::published) return true;
        }
        return false;
    }

    /// D1 to D3 for a slot that is RESERVED by us. After `duplicate` the slot is still ours.
    [[nodiscard]] Entered enter(MessageId id, std::uint32_t slot, SlotWord reserved, Span span) {
        W& state = state_of_(slot);
        const std::uint64_t mine = ClaimWord{ClaimKind::set, slot, reserved.generation}.pack();
        Cell* const own = take(id, mine, span);
        for (;;) {
            if (!has_right_of_way(own, id, span)) {
                if (own != nullptr) own->claim.swap(mine, 0);
                crash_point(CrashPoint::dedup_dropped);
                return Entered::duplicate;
            }
            if (state.swap(reserved.pack(), reserved.published().pack())) return Entered::published;
            state.swap(reserved.revoked().pack(), reserved.pack());
            crash_point(CrashPoint::dedup_restored);
        }
    }

    /// Drops the claim of a put that will never publish: before its slot is given up.
    void forget(std::uint32_t slot, std::uint64_t generation) {
        for (Cell& cell : cells_)
            cell.claim.swap(ClaimWord{ClaimKind::set, slot, generation}.pack(), 0);
    }

 private:
    enum class Verdict : std::uint8_t { another, on_its_way, published };

    // Revoking is part of looking: one that is on its way may publish in between.
    [[nodiscard]] bool has_right_of_way(const Cell* own, MessageId id, Span span) {
        for (Cell& cell : cells_) {
            if (&cell == own) continue;
            for (;;) {
                const Verdict verdict = judge(cell, id, span);
                if (verdict == Verdict::published) return false;
                if (verdict == Verdict::another) break;
                const ClaimWord claim = ClaimWord::of(cell.claim.load());
                if (claim.kind != ClaimKind::set) continue;
                W& state = state_of_(claim.slot);
                const std::uint64_t seen = state.load();
                const SlotWord word = SlotWord::of(seen);
                if (!claim.is_on_its_way(word)) continue;
                if (word.state == SlotState::revoked || state.swap(seen, word.revoked().pack())) {
                    crash_point(CrashPoint::dedup_revoked);
                    break;
                }
            }
        }
        return true;
    }

    [[nodiscard]] Verdict judge(Cell& cell, MessageId id, Span span) const {
        for (;;) {
            const std::uint64_t seen = cell.claim.load();
            const ClaimWord claim = ClaimWord::of(seen);
            if (claim.kind != ClaimKind::set) return Verdict::another;
            const bool is_it = cell.id[0].load() == id.high && cell.id[1].load() == id.low;
            const std::uint64_t time = cell.time.load();
            const SlotWord word = SlotWord::of(state_of_(claim.slot).load());
            if (cell.claim.load() != seen) continue;
            if (!is_it) return Verdict::another;
            if (claim.is_on_its_way(word)) return Verdict::on_its_way;
            return span.holds(time) ? Verdict::published : Verdict::another;
        }
    }

    // D1. An empty cell, else one whose time is over, else the oldest of those that are published:
    // then the window is shorter than it should be. None while all eight are of puts on their way:
    // the message goes without a claim and could come twice, but never not at all.
    [[nodiscard]] Cell* take(MessageId id, std::uint64_t mine, Span span) {
        const std::uint64_t writing = ClaimWord{ClaimKind::writing, self_, 0}.pack();
        for (std::size_t attempt = 0; attempt < 2 * cells_.size(); ++attempt) {
            const Candidate best = most_dispensable(span);
            if (best.cell == nullptr) return nullptr;
            if (!best.cell->claim.swap(best.seen, writing)) continue;
            crash_point(CrashPoint::dedup_taken);
            best.cell->id[0].store(id.high);
            best.cell->id[1].store(id.low);
            best.cell->time.store(span.now);
            best.cell->claim.swap(writing, mine);
            crash_point(CrashPoint::dedup_claimed);
            return best.cell;
        }
        return nullptr;
    }

    enum class Worth : std::uint8_t { empty, over, counts };
    struct Candidate {
        Cell* cell = nullptr;
        std::uint64_t seen = 0;
        Worth worth = Worth::empty;
        std::uint64_t time = 0;
    };

    [[nodiscard]] Candidate most_dispensable(Span span) const {
        Candidate best;
        for (Cell& cell : cells_) {
            const std::uint64_t seen = cell.claim.load();
            const ClaimWord claim = ClaimWord::of(seen);
            if (claim.kind == ClaimKind::none) return {&cell, seen, Worth::empty, 0};
            if (claim.kind == ClaimKind::writing ||
                claim.is_on_its_way(SlotWord::of(state_of_(claim.slot).load())))
                continue;
            const std::uint64_t time = cell.time.load();
            const Worth worth = span.holds(time) ? Worth::counts : Worth::over;
            const bool is_better = best.cell == nullptr || worth < best.worth ||
                                   (worth == best.worth && time < best.time);
            if (is_better) best = {&cell, seen, worth, time};
        }
        return best;
    }

    std::span<Cell> cells_;
    StateOf state_of_;
    Owner self_;
};

}  // namespace green::ipc::shm
