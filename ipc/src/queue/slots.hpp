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
        return listed(control.fresh) > 0 || listed(control.again) > 0;
    }
    /// Whether nothing seems to stand behind the fresh message that was taken last.
    [[nodiscard]] bool is_last() const noexcept {
        return fresh_.at_head() == segment_.config().capacity;
    }
    /// Asks for the memory that the next two fresh messages will be taken from.
    void look_ahead() const noexcept;
    /// How many percent of the slots are in use.
    [[nodiscard]] std::uint64_t used_percent() const noexcept {
        const std::uint64_t capacity = segment_.config().capacity;
        const std::uint64_t left = listed(segment_.control().free);
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
    /// How many cells stand between the ends of a ring. The head may be before the tail: who filled
    /// the cell there was stopped, or killed, before he moved it on.
    static std::uint64_t listed(const RingEnds& ends) noexcept {
        const std::uint64_t head = ends.head.load();
        const std::uint64_t tail = ends.tail.load();
        return tail - head > ~std::uint64_t{0} / 2 ? 0 : tail - head;
    }
    [[nodiscard]] bool has_droppable(const Ring& ring) const noexcept;
    /// Throws SegmentError for a ring that contradicts itself.
    bool taken(Ringed outcome) const;
    void finish(std::uint32_t slot, SlotWord after);
    struct Memory {
        std::uint64_t ref = 0;  // of an extent; 0 is none
        std::uint64_t chunks = 0;
    };
    [[nodiscard]] Memory drop_extent(std::uint32_t slot);
    /// An extent was given back, or could be: wakes for it, if there is something to look at.
    void announce_memory(Memory memory);
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
