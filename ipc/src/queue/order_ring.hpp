#pragma once
// A ring of hints: which slots are READY, in order, or which are FREE. It can be rebuilt from the
// slots at any time.
//
// A cell is empty(lap) or full(lap, slot, tag), tag being the low bits of the slot's generation.
// Position p lives in cell p mod N, its lap is p / N. For each position the cell goes empty(lap) →
// full(lap, …) → empty(lap + 1), each step one compare-and-swap, and `head` and `tail` only follow:
//
//   push   R1  read tail t and its cell. empty(lap(t)): swap it to full, then move tail from t to t
//              + 1.
//          R2  already full, or emptied again: somebody has been here; move tail on for him, and
//              try anew.
//   pop    R3  read head h and its cell. empty(lap(h)): nothing is here.
//          R4  full: claim the slot, if it still is what the cell says. Claimed or not, it is that
//              no more: swap the cell to empty(lap + 1), move head from h to h + 1. Not claimed:
//              try anew.
//          R5  emptied already: move head on for him who did, and try anew.
//
// Q4  Nobody holds a ticket. Between any two steps the one who makes them may be stopped or killed;
//     the next one finds a cell from which he can go on. In particular a claimed slot whose cell
//     still stands is passed by R4.
// Q5  A cell says the truth or is stale, and stale for ever: (slot, generation) does not come back
//     (Q2). A tag is 24 bits and a cell stands for less than a lap, so an equal tag of another
//     generation would take 2^24 stays of one slot while fewer than N cells are filled; and even
//     that would only serve a message out of turn, since the claim compares the whole state word.
//     Clearing compares the lap too: a clearer would have to be stopped for 2^41 pushes and resume
//     at the very same cell content to clear what it did not read.
// Q6  N ≥ 2 × capacity + 2 × members + 2 cells are never all taken. The slot's word says in which
//     ring the cells of a stay stand, whoever fills them, and a slot is claimed only at the head of
//     that ring, so a cell that was filled once for its stay is live or stands at the head: at most
//     capacity + 1. The keeper may add one copy for a stay whose cell it did not see, because the
//     member that is to fill it is between publishing and pushing: at most one copy per live stay,
//     capacity. A copy or a late push that is stale yet not at the head belongs to a member's last
//     stay in this ring: both cells of his next one stand behind it, and for that one to end the
//     head has to pass it first. At most two per member. All in all less than N; push() reports
//     `full` only for a damaged segment.
//
// A template over the word so that tests can run it step by step (tests/ipc/shm_explorer_test.cpp).

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "crash_point.hpp"

namespace green::ipc::shm {

inline constexpr unsigned tag_bits = 24;

[[nodiscard]] constexpr std::uint64_t tag_of(std::uint64_t generation) noexcept {
    return generation & ((std::uint64_t{1} << tag_bits) - 1);
}

/// What became of the slot that a cell names: ours, not what the cell says, or changed while we
/// looked. `leave`: it stays where it is, and nothing is taken.
enum class Claim : std::uint8_t { taken, stale, retry, leave };
enum class Ringed : std::uint8_t { done, nothing, full, damaged };

template <class W>
class BasicRing {
 public:
    BasicRing(W& head, W& tail, std::span<W> cells, std::uint64_t capacity) noexcept
        : head_{head},
          tail_{tail},
          cells_{cells},
          capacity_{capacity},
          lap_shift_{static_cast<unsigned>(std::bit_width(capacity - 1)) + tag_bits},
          index_bits_{static_cast<unsigned>(std::countr_zero(cells.size()))} {}

    [[nodiscard]] Ringed push(std::uint64_t slot, std::uint64_t generation) {
        for (unsigned attempt = 0; attempt < patience; ++attempt) {
            const std::uint64_t at = tail_.load();
            W& cell = cell_of(at);
            const std::uint64_t seen = cell.load();
            const std::uint64_t mine = full(lap_of(at), slot, tag_of(generation));
            if (seen == lap_of(at)) {
                if (!cell.swap(seen, mine)) continue;
                crash_point(CrashPoint::ring_filled);
                tail_.swap(at, at + 1);
                return Ringed::done;
            }
            if (seen == lap_of(at) + 1 || same_lap(seen, mine)) {
                tail_.swap(at, at + 1);
            } else if (tail_.load() == at) {
                return Ringed::full;
            }
        }
        return Ringed::damaged;
    }

    /// Calls `claim(slot, tag)` for what stands at the head until one is taken.
    template <class F>
    [[nodiscard]] Ringed pop(F&& claim) {
        for (unsigned attempt = 0; attempt < patience; ++attempt) {
            const std::uint64_t at = head_.load();
            W& cell = cell_of(at);
            const std::uint64_t seen = cell.load();
            if (seen == lap_of(at)) return Ringed::nothing;
            Claim verdict = Claim::stale;
            if (same_lap(seen, full(lap_of(at), 0, 0))) {
                if (slot_in(seen) < capacity_) verdict = claim(slot_in(seen), tag_of(seen));
                if (verdict == Claim::retry) continue;
                if (verdict == Claim::leave) return Ringed::nothing;
                if (verdict == Claim::taken) crash_point(CrashPoint::ring_claimed);
                cell.swap(seen, lap_of(at) + 1);
                crash_point(CrashPoint::ring_cleared);
            } else if (seen != lap_of(at) + 1) {
                // No cell of the head's is of another lap, unless the head has moved since.
                if (head_.load() == at) return Ringed::damaged;
                continue;
            }
            head_.swap(at, at + 1);
            if (verdict == Claim::taken) return Ringed::done;
        }
        return Ringed::damaged;
    }

    /// The slot in the cell so far behind the head, the capacity if there is none: a hint.
    [[nodiscard]] std::uint64_t at_head(std::uint64_t distance = 0) const noexcept {
        const std::uint64_t seen = cell_of(head_.load() + distance).load();
        return (seen & full_bit) != 0 ? slot_in(seen) : capacity_;
    }

    /// How far a look at all cells has come.
    struct Walk {
        std::uint64_t begin;
        std::uint64_t at;
    };
    [[nodiscard]] Walk walk() const noexcept {
        const std::uint64_t head = head_.load();
        return {head, head};
    }
    /// Calls `see(slot, tag)` for every full cell: they stand between head and tail, and one may
    /// stand at the tail that has not moved on yet. What was filled before walk() and still is full
    /// at the end is seen, however many slices there are. One is taken from `budget` for each cell;
    /// false: there are more.
    template <class F>
    [[nodiscard]] bool go_on(Walk& walk, std::size_t& budget, F&& see) const {
        for (; walk.at - walk.begin < cells_.size(); ++walk.at, --budget) {
            if (budget == 0) return false;
            const std::uint64_t seen = cell_of(walk.at).load();
            if ((seen & full_bit) != 0 && slot_in(seen) < capacity_)
                see(slot_in(seen), tag_of(seen));
            if (walk.at >= tail_.load()) return true;
        }
        return true;
    }
    template <class F>
    void for_each(F&& see) const {
        Walk all = walk();
        std::size_t budget = ~std::size_t{0};
        (void)go_on(all, budget, see);
    }

    /// Makes it empty; for the keeper, when nobody else is alive.
    void reset() noexcept {
        for (W& cell : cells_) cell.store(0);
        head_.store(0);
        tail_.store(0);
    }

 private:
    static constexpr std::uint64_t full_bit = std::uint64_t{1} << 63;
    // Each failed attempt is somebody else's success; so many in a row means words that fit
    // nowhere.
    static constexpr unsigned patience = 1u << 24;

    [[nodiscard]] W& cell_of(std::uint64_t at) const noexcept {
        return cells_[at & (cells_.size() - 1)];
    }
    [[nodiscard]] std::uint64_t lap_of(std::uint64_t at) const noexcept {
        return at >> index_bits_;
    }
    [[nodiscard]] std::uint64_t full(std::uint64_t lap, std::uint64_t slot,
                                     std::uint64_t tag) const noexcept {
        return full_bit | (lap << lap_shift_) | (slot << tag_bits) | tag;
    }
    [[nodiscard]] bool same_lap(std::uint64_t a, std::uint64_t b) const noexcept {
        return (a >> lap_shift_) == (b >> lap_shift_);
    }
    [[nodiscard]] std::uint64_t slot_in(std::uint64_t cell) const noexcept {
        return (cell >> tag_bits) & ((std::uint64_t{1} << (lap_shift_ - tag_bits)) - 1);
    }

    W& head_;
    W& tail_;
    std::span<W> cells_;
    std::uint64_t capacity_;
    unsigned lap_shift_;
    unsigned index_bits_;
};

}  // namespace green::ipc::shm
