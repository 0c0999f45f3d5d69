// What the keeper does after one death, while everybody else goes on.
//
// Each step looks at words that only the dead could have changed, or changes them by
// compare-and-swap, and leaves nothing half done that the same step would not find again. So it may
// be killed anywhere; the member's record is cleared last and says that work is left.

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "crash_point.hpp"
#include "keeper.hpp"
#include "pins.hpp"

namespace green::ipc::shm {

void Keeper::repair(Owner owner) {
    if (owner == nobody || owner > segment_.config().members) return;
    crash_point(CrashPoint::repair_begun);
    Pins::clear(segment_, owner);  // first: the dead do not read, and nothing shall wait for them
    crash_point(CrashPoint::repair_unpinned);
    return_slots(owner);
    drop_unwritten(owner);
    crash_point(CrashPoint::repair_slots_done);
    bury_zombies();
    crash_point(CrashPoint::repair_zombies_done);
    mend_chunks(owner);
    crash_point(CrashPoint::repair_chunks_done);
    refill_rings();
    crash_point(CrashPoint::repair_rings_done);
    waits_.release(owner);
    crash_point(CrashPoint::repair_waits_done);
    // What the dead one noted for the keeper, or should have noted, may be gone with him.
    Slots::bring_forward(segment_.control().slot_due, at_once);
    waits_.wake_all();
    crash_point(CrashPoint::repair_woken);
    segment_.control().repairs.count();
    segment_.member(owner).pid.store(0);
}

// RETIRING by nobody is what an earlier keeper left when it was killed.
void Keeper::return_slots(Owner owner) {
    for (std::uint32_t index = 0; index < segment_.config().capacity; ++index) {
        Word& state = segment_.slot(index).state;
        const std::uint64_t seen = state.load();
        const SlotWord word = SlotWord::of(seen);
        const bool is_keepers = word.state == SlotState::retiring && word.owner == nobody;
        if (word.holder() != owner && !is_keepers) continue;
        if (word.is_draft()) {
            unclaim(index, word);
            slots_.abandon(index, word);
        }
        // refill_rings() queues what is READY then.
        if (word.state == SlotState::leased) {
            note_killer(index, owner);
            state.swap(seen, slots_.after_return(word).pack());
        }
        if (word.state == SlotState::returning) state.swap(seen, word.ready_again().pack());
        if (word.state == SlotState::retiring) slots_.bury(index, word);
        crash_point(CrashPoint::repair_slot);
    }
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
void Keeper::drop_unwritten(Owner owner) {
    const ClaimWord claim{ClaimKind::writing, owner, 0};
    for (std::uint64_t index = 0; index < segment_.geometry().dedup_buckets; ++index) {
        for (auto& cell : segment_.bucket_at(index)) cell.claim.swap(claim.pack(), 0);
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

void Keeper::bury_zombies() {
    for (std::uint32_t index = 0; index < segment_.config().capacity; ++index) {
        if (SlotWord::of(segment_.slot(index).state.load()).state == SlotState::zombie)
            slots_.bury_if_haunted(index);
    }
}

// Whoever died may have taken a hint along wherever he gave something back, not only in his own
// chunks.
void Keeper::mend_chunks(Owner owner) {
    for (std::uint64_t index = 0; index < segment_.geometry().chunk_count; ++index) {
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
            const bool is_unfinished =
                entry.epoch != word.epoch || entry.state == EntryState::unset;
            if (is_unfinished) chunks_.free_run(index, seen);
        }
        if (word.state == ChunkState::current || word.state == ChunkState::retired)
            chunks_.distrust(index);
        chunks_.settle(index);
        if (ChunkWord::of(state.load()).state == ChunkState::free) {
            chunks_.mark_free(index);
        }
        crash_point(CrashPoint::repair_chunk);
    }
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

// First what the slots say, then which cells there are, then the slots again: what is still the
// same and has no cell gets one. A member that is just about to fill the cell itself makes a second
// one, which will be stale (Q5, Q6).
void Keeper::refill_rings() {
    const std::uint32_t capacity = segment_.config().capacity;
    std::vector<std::uint64_t> words(capacity);
    for (std::uint32_t slot = 0; slot < capacity; ++slot)
        words[slot] = segment_.slot(slot).state.load();

    std::vector<char> has_cell(capacity);
    const auto note = [&](SlotState state) {
        return [&, state](std::uint64_t slot, std::uint64_t tag) {
            const SlotWord word = SlotWord::of(words[slot]);
            if (word.state == state && tag_of(word.generation) == tag) has_cell[slot] = 1;
        };
    };
    slots_.fresh().for_each(note(SlotState::ready));
    slots_.again().for_each(note(SlotState::ready));
    slots_.free().for_each(note(SlotState::free));

    std::vector<std::pair<std::uint64_t, std::uint32_t>> ready;  // by sequence number
    for (std::uint32_t slot = 0; slot < capacity; ++slot) {
        const SlotWord word = SlotWord::of(words[slot]);
        if (has_cell[slot] != 0 || segment_.slot(slot).state.load() != words[slot]) continue;
        if (word.state == SlotState::free) slots_.offer(slot, word);
        if (word.state == SlotState::ready)
            ready.emplace_back(segment_.slot(slot).sequence.peek(), slot);
        crash_point(CrashPoint::repair_cell);
    }
    std::sort(ready.begin(), ready.end());
    for (const auto& [sequence, slot] : ready) {
        const SlotWord word = SlotWord::of(words[slot]);
        slots_.queue(slot, word, word.deliveries == 0 ? Turn::last : Turn::first);
        crash_point(CrashPoint::repair_cell);
    }
}

}  // namespace green::ipc::shm
