#include "slots.hpp"

#include <algorithm>

#include "crash_point.hpp"
#include "pins.hpp"

namespace green::ipc::shm {

Slots::Slots(const Segment& segment, Chunks& chunks, WaitTable& waits, Owner self) noexcept
    : segment_{segment},
      chunks_{chunks},
      waits_{waits},
      self_{self},
      fresh_{segment.control().fresh.head, segment.control().fresh.tail, segment.fresh_cells(),
             segment.config().capacity},
      again_{segment.control().again.head, segment.control().again.tail, segment.again_cells(),
             segment.config().capacity},
      free_{segment.control().free.head, segment.control().free.tail, segment.free_cells(),
            segment.config().capacity} {}

bool Slots::taken(Ringed outcome) const {
    if (outcome == Ringed::damaged) segment_.damaged("damaged: the cells of a ring fit no lap");
    return outcome == Ringed::done;
}

bool Slots::reserve(std::uint32_t& slot, std::uint64_t& word) {
    return taken(free_.pop([&](std::uint64_t index, std::uint64_t tag) {
        Word& state = segment_.slot(index).state;
        const std::uint64_t seen = state.load();
        const SlotWord now = SlotWord::of(seen);
        if (now.state != SlotState::free || tag_of(now.generation) != tag) return Claim::stale;
        const std::uint64_t mine = now.reserved_by(self_).pack();
        if (!state.swap(seen, mine)) return Claim::retry;
        slot = static_cast<std::uint32_t>(index);
        word = mine;
        return Claim::taken;
    }));
}

// A ring that is full is a damaged one (Q6). Even then nothing is lost: the slot's word says what
// it is, and the keeper finds it at the next repair.
void Slots::queue(std::uint32_t slot, SlotWord word) {
    const std::uint64_t expires = segment_.slot(slot).expires.peek();
    // A branch, for who puts shall not wait for the choice.
    if (word.turn() == Turn::last) [[likely]]
        (void)taken(fresh_.push(slot, word.generation));
    else
        (void)taken(again_.push(slot, word.generation));
    crash_point(CrashPoint::put_queued);
    waits_.announce(Interest::items);
    // Only now: the keeper looks for it in the ring, and forgets what he does not find.
    if (expires != 0) remind(segment_.control().due, expires);
    // Where the oldest is dropped for what is new, a message that waits is room.
    if (drops_oldest()) {
        waits_.announce(Interest::slots);
        waits_.announce(Interest::memory);
    }
}

Slots::Memory Slots::drop_extent(std::uint32_t slot) {
    SlotRecord& record = segment_.slot(slot);
    const std::uint64_t ref = record.extent.load();
    if (ref == 0) return {};
    const Memory memory{ref, chunks_.count(ref, slot)};
    chunks_.release(ref, slot);
    record.extent.store(0);
    crash_point(CrashPoint::extent_forgotten);
    return memory;
}

// Where the oldest is dropped, a chunk is room as soon as nothing but what can be dropped is left
// in it.
void Slots::announce_memory(Memory memory) {
    if (memory.ref == 0 || !waits_.has_sleepers(Interest::memory)) return;
    if (chunks_.is_empty(memory.ref) ||
        (drops_oldest() && chunks_.holds_only_ready(ExtentRef::of(memory.ref).chunk)))
        waits_.wake_for_memory(std::max<std::uint64_t>(1, memory.chunks));
}

void Slots::release_extent(std::uint32_t slot) { announce_memory(drop_extent(slot)); }

void Slots::abandon(std::uint32_t slot, SlotWord word) { finish(slot, word.abandoned()); }

bool Slots::bury(std::uint32_t slot, SlotWord word, std::uint32_t own) {
    if (word.deliveries > own && Pins::is_pinned(segment_, slot)) {
        segment_.slot(slot).state.store(word.haunted().pack());
        crash_point(CrashPoint::ack_haunted);
        return bury_if_haunted(slot);
    }
    finish(slot, word.freed());
    return true;
}

bool Slots::bury_if_haunted(std::uint32_t slot) {
    full_fence();
    Word& state = segment_.slot(slot).state;
    const std::uint64_t seen = state.load();
    const SlotWord word = SlotWord::of(seen);
    // Now its slot and its memory are free as soon as it is dropped.
    if (word.state == SlotState::ready && drops_oldest()) {
        waits_.announce(Interest::slots);
        const std::uint64_t ref = segment_.slot(slot).extent.load();
        announce_memory({ref, chunks_.count(ref, slot)});
    }
    if (word.state != SlotState::zombie || Pins::is_pinned(segment_, slot)) return false;
    const SlotWord mine = word.buried_by(self_);
    if (!state.swap(seen, mine.pack())) return false;  // another one buries it
    crash_point(CrashPoint::ack_exorcised);
    finish(slot, mine.freed());
    return true;
}

void Slots::look_ahead() const noexcept {
    const std::uint64_t none = segment_.config().capacity;
    if (const std::uint64_t after = fresh_.at_head(1); after < none)
        fetch_to_change(&segment_.slot(after));
    // Its slot's line was asked for a message ago: it names the rest.
    if (const std::uint64_t next = fresh_.at_head(); next < none)
        chunks_.look_ahead(segment_.slot(next).extent.peek());
}

bool Slots::bring_forward(Word& due, std::uint64_t when) noexcept {
    if (when == for_ever) return false;
    for (;;) {
        const std::uint64_t seen = due.load();
        if (seen != 0 && seen <= when) return false;
        if (due.swap(seen, when)) return true;
    }
}

// The slot is exclusively ours, so a store is enough.
void Slots::finish(std::uint32_t slot, SlotWord after) {
    const Memory memory = drop_extent(slot);
    segment_.slot(slot).state.store(after.pack());
    crash_point(CrashPoint::ack_slot_freed);
    offer(slot, after);
    waits_.announce(Interest::slots);
    announce_memory(memory);
}

bool Slots::has_droppable() const noexcept {
    return has_droppable(again_) || has_droppable(fresh_);
}

bool Slots::has_droppable(const Ring& ring) const noexcept {
    constexpr std::size_t slice = 64;  // the first one found is enough
    bool has_one = false;
    const auto see = [&](std::uint64_t slot, std::uint64_t tag) {
        const SlotWord word = SlotWord::of(segment_.slot(slot).state.load());
        if (word.state != SlotState::ready || tag_of(word.generation) != tag) return;
        has_one = has_one || word.deliveries == 0 ||
                  !Pins::is_pinned(segment_, static_cast<std::uint32_t>(slot));
    };
    Ring::Walk walk = ring.walk();
    for (std::size_t budget = slice; !has_one && !ring.go_on(walk, budget, see);) budget = slice;
    return has_one;
}

void Slots::reset_rings() noexcept {
    fresh_.reset();
    again_.reset();
    free_.reset();
}

}  // namespace green::ipc::shm
