// What the keeper does after one death, while everybody else goes on.
//
// Each step looks at words that only the dead could have changed, or changes them by
// compare-and-swap, and leaves nothing half done that the same step would not find again. So it may
// be killed anywhere; the member's record is cleared last and says that work is left. And it may be
// put off anywhere between two places: all that is to be found was there before the death, and
// nobody makes more of it.

#include "repair.hpp"

#include <algorithm>
#include <iterator>

#include "crash_point.hpp"
#include "pins.hpp"

namespace green::ipc::shm {

void Keeper::repair(Owner owner) { (void)Repair{*this, owner}.go_on(~std::size_t{0}); }

Keeper::Repair::Repair(Keeper& keeper, Owner owner) : keeper_{keeper}, owner_{owner} {
    ++keeper_.repairs_;
}

Keeper::Repair::~Repair() { --keeper_.repairs_; }

bool Keeper::Repair::go_on(std::size_t budget) {
    if (owner_ == nobody || owner_ > keeper_.segment_.config().members) return true;
    while (stage_ != Stage::done) {
        if (!step(budget)) return false;
        stage_ = static_cast<Stage>(static_cast<unsigned>(stage_) + 1);
        at_ = 0;
    }
    return true;
}

template <class F>
bool Keeper::Repair::each(std::uint64_t end, std::size_t cost, std::size_t& budget, F&& look) {
    for (; at_ < end; budget -= std::min(budget, cost)) {
        if (budget == 0) return false;
        look(at_++);
    }
    return true;
}

bool Keeper::Repair::step(std::size_t& budget) {
    constexpr std::size_t bucket_cost = 4;
    constexpr std::size_t chunk_cost = 16;  // up to 512 entries, side by side
    Keeper& keeper = keeper_;
    const Segment& segment = keeper.segment_;
    bool is_done = true;
    switch (stage_) {
        case Stage::pins:
            crash_point(CrashPoint::repair_begun);
            // First: the dead do not read, and nothing shall wait for them.
            Pins::clear(segment, owner_);
            // Before the looks at slots: who stores ZOMBIE meanwhile sees no pin, or we see that.
            full_fence();
            crash_point(CrashPoint::repair_unpinned);
            return true;
        case Stage::slots:
            return each(segment.config().capacity, 1, budget, [&](std::uint64_t slot) {
                keeper.return_slot(static_cast<std::uint32_t>(slot), owner_);
            });
        case Stage::claims:
            is_done = each(segment.geometry().dedup_buckets, bucket_cost, budget,
                           [&](std::uint64_t bucket) { keeper.drop_unwritten(bucket, owner_); });
            if (is_done) crash_point(CrashPoint::repair_slots_done);
            return is_done;
        case Stage::zombies:
            is_done = each(segment.config().capacity, 1, budget, [&](std::uint64_t slot) {
                keeper.bury_zombie(static_cast<std::uint32_t>(slot));
            });
            if (is_done) crash_point(CrashPoint::repair_zombies_done);
            return is_done;
        case Stage::chunks:
            is_done = each(segment.geometry().chunk_count, chunk_cost, budget,
                           [&](std::uint64_t chunk) { keeper.mend_chunk(chunk, owner_); });
            if (is_done) crash_point(CrashPoint::repair_chunks_done);
            return is_done;
        case Stage::rings:
            is_done = keeper.refill(rings_, budget);
            if (is_done) crash_point(CrashPoint::repair_rings_done);
            return is_done;
        case Stage::rest:
            keeper.waits_.release(owner_);
            crash_point(CrashPoint::repair_waits_done);
            // What the dead one noted for the keeper, or should have noted, may be gone with him.
            Slots::bring_forward(segment.control().slot_due, at_once);
            keeper.waits_.wake_all();
            crash_point(CrashPoint::repair_woken);
            segment.control().repairs.count();
            segment.member(owner_).pid.store(0);
            return true;
        case Stage::done:
            break;
    }
    return true;
}

// RETIRING by nobody is what an earlier keeper left when it was killed.
void Keeper::return_slot(std::uint32_t index, Owner owner) {
    Word& state = segment_.slot(index).state;
    const std::uint64_t seen = state.load();
    const SlotWord word = SlotWord::of(seen);
    const bool is_keepers = word.state == SlotState::retiring && word.owner == nobody;
    if (word.holder() != owner && !is_keepers) return;
    if (word.is_draft()) {
        unclaim(index, word);
        slots_.abandon(index, word);
    }
    // refill() queues what is READY then.
    if (word.state == SlotState::leased) {
        note_killer(index, owner);
        state.swap(seen, slots_.after_return(word).pack());
    }
    if (word.state == SlotState::returning) state.swap(seen, word.ready_again().pack());
    if (word.state == SlotState::retiring) slots_.bury(index, word);
    crash_point(CrashPoint::repair_slot);
}

// Before the slot is given up: a claim whose slot is not a draft any more counts as a message.
void Keeper::unclaim(std::uint32_t slot, SlotWord draft) {
    const SlotRecord& record = segment_.slot(slot);
    const ClaimWord claim{ClaimKind::set, slot, draft.generation};
    for (auto& cell : segment_.bucket({record.dedup_id[0].load(), record.dedup_id[1].load()}))
        cell.claim.swap(claim.pack(), 0);
    crash_point(CrashPoint::repair_unclaimed);
}

// Cells that the dead one had taken and not claimed yet.
void Keeper::drop_unwritten(std::uint64_t bucket, Owner owner) {
    const std::uint64_t claim = ClaimWord{ClaimKind::writing, owner, 0}.pack();
    for (auto& cell : segment_.bucket_at(bucket)) {
        if (cell.claim.load() == claim) cell.claim.swap(claim, 0);
    }
}

// The slot is LEASED to a dead one, so the keeper alone writes there. Killed before the slot is
// returned it comes here again: the same pid is not noted twice. Only the last four are kept.
void Keeper::note_killer(std::uint32_t slot, Owner owner) {
    SlotRecord& record = segment_.slot(slot);
    const std::uint64_t pid = segment_.member(owner).pid.load();
    const std::uint64_t sequence = record.sequence.peek();
    if (pid == 0) return;
    if (record.about.peek() != sequence) {
        for (Word& killer : record.killers) killer.poke(0);
        record.letter.poke(0);
        record.about.store(sequence);
    }
    for (const Word& killer : record.killers) {
        if (killer.peek() == pid) return;
    }
    crash_point(CrashPoint::repair_killer);
    for (Word& killer : record.killers) {
        if (killer.peek() == 0) return killer.store(pid);
    }
    for (std::size_t i = 1; i < std::size(record.killers); ++i)
        record.killers[i - 1].poke(record.killers[i].peek());
    record.killers[3].store(pid);
}

void Keeper::bury_zombie(std::uint32_t slot) {
    if (SlotWord::of(segment_.slot(slot).state.load()).state == SlotState::zombie)
        slots_.bury_if_haunted(slot);
}

// Whoever died may have taken a hint along wherever he gave something back, not only in his own
// chunks.
void Keeper::mend_chunk(std::uint64_t index, Owner owner) {
    Word& state = segment_.chunk(index).state;
    const std::uint64_t seen = state.load();
    ChunkWord word = ChunkWord::of(seen);
    crash_point(CrashPoint::repair_chunk_seen);
    if (word.owner == owner && word.state == ChunkState::current) {
        finish_extents(index, seen);
        word.state = ChunkState::retired;
        state.swap(seen, word.pack());
    }
    if (word.owner == owner && word.state == ChunkState::head) {
        const EntryWord entry = EntryWord::of(segment_.entry(index, 0).load());
        const bool is_unfinished = entry.epoch != word.epoch || entry.state == EntryState::unset;
        if (is_unfinished) chunks_.free_run(index, seen);
    }
    if (word.state == ChunkState::current || word.state == ChunkState::retired)
        chunks_.distrust(index);
    chunks_.settle(index);
    if (ChunkWord::of(state.load()).state == ChunkState::free) chunks_.mark_free(index);
    crash_point(CrashPoint::repair_chunk);
}

// Only the last extent of a chunk can have been in the making. Its slot is free already, so the
// place is nobody's. If the chunk's word stands after the entry was read, the entry is of no later
// epoch; and as long as the entry stands nobody takes the chunk away, since it is not drained.
void Keeper::finish_extents(std::uint64_t index, std::uint64_t seen) {
    const ChunkWord word = ChunkWord::of(seen);
    const std::uint64_t end = std::min<std::uint64_t>(word.used, segment_.geometry().chunk_units);
    for (std::uint64_t at = 0; at < end;) {
        Word& place = segment_.entry(index, at);
        EntryWord entry = EntryWord::of(place.load());
        if (entry.epoch != word.epoch || entry.state == EntryState::unset || entry.units == 0) {
            if (segment_.chunk(index).state.load() != seen) return;
            entry = {EntryState::freed, 0, static_cast<std::uint32_t>(end - at), word.epoch};
            place.store(entry.pack());
        }
        at += entry.units;
    }
}

}  // namespace green::ipc::shm
