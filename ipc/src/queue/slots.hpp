#pragma once
// The transitions of slots that members and the keeper have in common, and the three rings that
// index the slots.

#include <cstdint>
#include <optional>

#include "chunks.hpp"
#include "order_ring.hpp"
#include "slot.hpp"
#include "wait_table.hpp"

namespace green::ipc::shm {

using Ring = BasicRing<Word>;

/// The earliest time that remind() can be given.
inline constexpr std::uint64_t at_once = 1;

class Slots {
 public:
    /// Borrows all of them. `self` is who acts here; the keeper is nobody.
    Slots(const Segment& segment, Chunks& chunks, WaitTable& waits, Owner self) noexcept;

    /// FREE → RESERVED. False: there is none.
    [[nodiscard]] bool reserve(std::uint32_t& slot, std::uint64_t& word);

    /// Puts a READY slot where it is found, and wakes somebody for it.
    void queue(std::uint32_t slot, SlotWord word);

    /// RETIRING, by us → FREE, or → ZOMBIE while somebody may still read. `own`: how many of its
    /// deliveries were to us, who do not read any more. False: it is not FREE yet.
    bool bury(std::uint32_t slot, SlotWord word, std::uint32_t own = 0);
    /// After a pin was lifted without a lease: a slot that only waited for that is buried, and who
    /// waited for that to drop it is woken. Whether it was buried.
    bool bury_if_haunted(std::uint32_t slot);

    /// RESERVED, by us or by a dead one whom we act for → FREE, the extent given back.
    void abandon(std::uint32_t slot, SlotWord word);

    /// Gives back the extent of a slot that is exclusively ours.
    void release_extent(std::uint32_t slot);

    /// Sees to it that the keeper looks at `when`, if he would not before. `due` is a word of the
    /// control area.
    void remind(Word& due, std::uint64_t when) {
        const std::uint64_t seen = due.load();
        if ((seen == 0 || when < seen) && bring_forward(due, when))
            waits_.announce(Interest::timers);
    }
    /// The same without telling him: for himself. False: it was no earlier.
    static bool bring_forward(Word& due, std::uint64_t when) noexcept;

    /// What becomes of a LEASED message that its holder does not want or cannot have any more.
    [[nodiscard]] SlotWord after_return(SlotWord leased, Turn turn = Turn::first) const noexcept {
        const std::uint64_t most = segment_.control().max_deliveries.peek();
        return most != 0 && leased.deliveries >= most ? leased.died_of(Reason::deliveries)
                                                      : leased.returned(turn);
    }

    /// Puts a FREE slot where it is found. Wakes nobody.
    void offer(std::uint32_t slot, SlotWord word) {
        (void)taken(free_.push(slot, word.generation));
    }

    [[nodiscard]] const Ring& fresh() const noexcept { return fresh_; }
    [[nodiscard]] const Ring& again() const noexcept { return again_; }
    [[nodiscard]] const Ring& free() const noexcept { return free_; }

    /// Takes from the ring of redelivered messages, then from that of fresh ones. `claim`: see
    /// BasicRing::pop().
    template <class F>
    [[nodiscard]] bool next(F&& claim) {
        return taken(again_.pop(claim)) || taken(fresh_.pop(claim));
    }

    /// Whether a message seems to be there to be had; may be wrong for an instant.
    [[nodiscard]] bool has_ready() const noexcept {
        const Control& control = segment_.control();
        return control.fresh.head.load() != control.fresh.tail.load() ||
               control.again.head.load() != control.again.tail.load();
    }
    /// How many percent of the slots are in use.
    [[nodiscard]] std::uint64_t used_percent() const noexcept {
        const RingEnds& free = segment_.control().free;
        const std::uint64_t capacity = segment_.config().capacity;
        const std::uint64_t left = free.tail.load() - free.head.load();
        return left >= capacity ? 0 : (capacity - left) * 100 / capacity;
    }

    /// What a READY message becomes at `now`, ended by us, if its time is over.
    [[nodiscard]] std::optional<SlotWord> expired(const SlotRecord& record, SlotWord ready,
                                                  std::uint64_t now) const noexcept {
        const std::uint64_t expires = record.expires.peek();
        if (expires == 0 || expires > now) [[likely]]
            return std::nullopt;
        return segment_.control().has_dead_letter.peek() != 0 ? ready.died_of(Reason::expired)
                                                              : ready.acked_by(self_);
    }

    /// Whether a message waits that nobody may still read, so that its slot comes free when it is
    /// dropped. Looks at those before it in their rings, too.
    [[nodiscard]] bool has_droppable() const noexcept;

    void reset_rings() noexcept;

 private:
    [[nodiscard]] bool has_droppable(const Ring& ring) const noexcept;
    /// Throws SegmentError for a ring that contradicts itself.
    bool taken(Ringed outcome) const;
    void finish(std::uint32_t slot, SlotWord after);
    [[nodiscard]] std::uint64_t drop_extent(std::uint32_t slot);
    /// An extent was given back: wakes for it, if there is something to look at. 0 is none.
    void announce_memory(std::uint64_t ref);
    [[nodiscard]] bool drops_oldest() const noexcept {
        return segment_.control().when_full.peek() ==
               static_cast<std::uint64_t>(WhenFull::drop_oldest);
    }

    const Segment& segment_;
    Chunks& chunks_;
    WaitTable& waits_;
    Owner self_;
    Ring fresh_;
    Ring again_;
    Ring free_;
};

}  // namespace green::ipc::shm
