// What the keeper does when nobody else is alive: after creation, after a crash of everything, or
// when a supervisor finds the segments of the one before it.
//
// It looks at everything first and throws before it changes anything. Then it goes from slots,
// which decide, to what follows from them. Killed anywhere, it starts again from slots that are no
// further from the truth than before.

#include <algorithm>
#include <tuple>
#include <vector>

#include "crash_point.hpp"
#include "keeper.hpp"
#include "pins.hpp"

namespace green::ipc::shm {

void Keeper::recover(const Moment& moment) {
    check();
    pass_.reset();
    refill_.reset();
    crash_point(CrashPoint::recover_begun);
    set_clock(moment);
    reset_slots();  // first: the members' records say who had what
    reset_members();
    crash_point(CrashPoint::recover_slots_done);
    reset_chunks();
    fill_rings();
    segment_.control().is_closed.store(0);
    segment_.control().slot_due.store(at_once);
    segment_.control().generation.add(1);
    crash_point(CrashPoint::recover_done);
}

void Keeper::check() const {
    for (std::uint32_t index = 0; index < segment_.config().capacity; ++index) {
        const SlotRecord& slot = segment_.slot(index);
        const SlotWord word = SlotWord::of(slot.state.load());
        const std::string name = "damaged: slot " + std::to_string(index);
        if (!is_legal(word, segment_.config().members))
            segment_.damaged(name + " is in an impossible state");
        if (!word.has_message() && word.state != SlotState::dead) continue;
        const auto memory = chunks_.find(slot.extent.load(), index);
        if (!memory || slot.size.peek() > memory->size())
            segment_.damaged(name + " holds a message without memory");
    }
}

// Killed in the middle it is done again, from the same time at which the clock stood still: nobody
// looks at it before the end of a recovery.
void Keeper::set_clock(const Moment& moment) {
    Control& control = segment_.control();
    const std::array<std::uint64_t, 2> last{control.boot[0].load(), control.boot[1].load()};
    const std::array<std::uint64_t, 2> unknown{};
    if (moment.boot == unknown || moment.boot == last) return;
    if (last != unknown)
        control.shift.store(control.clock.load() - static_cast<std::uint64_t>(moment.now));
    for (std::size_t half = 0; half < 2; ++half) control.boot[half].store(moment.boot[half]);
}

void Keeper::reset_members() {
    for (std::uint64_t index = 0; index < segment_.geometry().dedup_buckets; ++index) {
        for (auto& cell : segment_.bucket_at(index)) {
            if (ClaimWord::of(cell.claim.load()).kind != ClaimKind::set) cell.claim.store(0);
        }
    }
    for (Owner owner = 1; owner <= segment_.config().members; ++owner) {
        Pins::clear(segment_, owner);
        waits_.release(owner);
        segment_.member(owner).pid.store(0);
    }
    for (unsigned i = 0; i < interests; ++i) {
        for (Word& bits : segment_.control().sleepers[i].bits) bits.store(0);
    }
}

void Keeper::reset_slots() {
    std::uint64_t last = segment_.control().fresh.sequence.load();
    for (std::uint32_t index = 0; index < segment_.config().capacity; ++index) {
        SlotRecord& slot = segment_.slot(index);
        const SlotWord word = SlotWord::of(slot.state.load());
        const bool is_acked = word.state == SlotState::retiring || word.state == SlotState::zombie;
        if (word.is_draft()) {
            unclaim(index, word);
            slot.state.store(word.abandoned().pack());
        }
        if (word.state == SlotState::leased) {
            note_killer(index, word.owner);
            slot.state.store(slots_.after_return(word).pack());
        }
        if (word.state == SlotState::returning) slot.state.store(word.ready_again().pack());
        if (is_acked) slot.state.store(word.freed().pack());
        crash_point(CrashPoint::recover_slot);
        if (SlotWord::of(slot.state.load()).has_message())
            last = std::max(last, slot.sequence.peek());
    }
    segment_.control().fresh.sequence.store(last);
}

void Keeper::reset_chunks() {
    for (std::uint64_t index = 0; index < segment_.geometry().chunk_count; ++index) {
        reset_chunk(index);
        crash_point(CrashPoint::recover_chunk);
    }
    for (std::uint32_t index = 0; index < segment_.config().capacity; ++index) {
        SlotRecord& slot = segment_.slot(index);
        if (SlotWord::of(slot.state.load()).state == SlotState::free) slot.extent.store(0);
    }
}

void Keeper::reset_chunk(std::uint64_t index) {
    Word& state = segment_.chunk(index).state;
    ChunkWord word = ChunkWord::of(state.load());
    const auto is_owned = [&](std::uint64_t at, EntryWord entry) {
        const ExtentRef ref{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(at),
                            word.epoch};
        if (entry.slot >= segment_.config().capacity) return false;
        const SlotRecord& slot = segment_.slot(entry.slot);
        return SlotWord::of(slot.state.load()).state != SlotState::free &&
               slot.extent.load() == ref.pack();
    };
    const auto drop_unowned = [&](std::uint64_t at) {
        Word& place = segment_.entry(index, at);
        EntryWord entry = EntryWord::of(place.load());
        if (entry.state == EntryState::live && !is_owned(at, entry)) {
            entry.state = EntryState::freed;
            place.store(entry.pack());
        }
        return entry.units;
    };

    if (word.state == ChunkState::current || word.state == ChunkState::retired) {
        word.used = static_cast<std::uint32_t>(
            std::min<std::uint64_t>(word.used, segment_.geometry().chunk_units));
        state.store(word.pack());
        finish_extents(index, word.pack());
        for (std::uint64_t at = 0; at < word.used; at += drop_unowned(at)) {
        }
        word.state = ChunkState::retired;
        word.owner = nobody;
        state.store(word.pack());
        chunks_.distrust(index);
        chunks_.settle(index);
    }
    if (word.state == ChunkState::head) {
        const EntryWord entry = EntryWord::of(segment_.entry(index, 0).load());
        const bool is_unfinished = entry.epoch != word.epoch || entry.state == EntryState::unset;
        if (!is_unfinished) drop_unowned(0);
        if (is_unfinished || chunks_.is_drained(index, word)) chunks_.free_run(index, word.pack());
    }
    if (ChunkWord::of(state.load()).state == ChunkState::free) {
        chunks_.mark_free(index);
    }
}

void Keeper::fill_rings() {
    slots_.reset_rings();
    crash_point(CrashPoint::recover_ring_empty);
    std::vector<std::tuple<std::uint64_t, std::uint32_t>> ready;
    for (std::uint32_t index = 0; index < segment_.config().capacity; ++index) {
        const SlotWord word = SlotWord::of(segment_.slot(index).state.load());
        if (word.state == SlotState::free) slots_.offer(index, word);
        if (word.state == SlotState::ready)
            ready.emplace_back(segment_.slot(index).sequence.peek(), index);
    }
    std::sort(ready.begin(), ready.end());
    for (const auto& [sequence, index] : ready) {
        const SlotWord word = SlotWord::of(segment_.slot(index).state.load());
        slots_.queue(index, word);
    }
    crash_point(CrashPoint::recover_ring_filled);
}

}  // namespace green::ipc::shm
