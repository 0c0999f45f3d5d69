// What the keeper does because time has passed, in slices.
//
// A pass begins by forgetting when it is due and ends by noting the earliest thing that is still to
// come. Who sets a later date meanwhile notes it himself (Slots::remind()): he changes first and
// looks at the due time then, the keeper clears it first and looks then, so one of them sees the
// other. Slots are walked over only when something in them falls due; leases always.
//
// Who changes and is stopped before he notes it, or before he lists it in a ring, leaves what
// nobody knows of, for as long as he stands still. When the lease is over his pin tells where to
// look; and for one who puts, and has none, slots and rings are walked over once in a while in any
// case.

#include <algorithm>

#include "crash_point.hpp"
#include "keeper.hpp"
#include "pins.hpp"

namespace green::ipc::shm {
namespace {

void note(std::uint64_t& due, std::uint64_t when) noexcept {
    if (due == 0 || when < due) due = when;
}

// A look at a slot costs about as much as copying so many bytes.
constexpr std::size_t copied_per_look = 1024;

// To find that there is no room for a letter all chunks of the other queue are looked at.
constexpr std::size_t looks_for_room = 1024;

// And so many looks a drop that makes room for it.
constexpr std::size_t looks_per_drop = 4;

// How long what was not noted may go unseen.
constexpr std::uint64_t patience = 60'000'000'000;

/// Room comes with time; what is too large waits for another configuration.
constexpr std::uint64_t retry_after(Kept kept) noexcept {
    if (kept == Kept::goes_on) return 1;
    return kept == Kept::no_room ? 1'000'000'000 : 60'000'000'000;
}

}  // namespace

Sweep Keeper::sweep(std::int64_t at, std::size_t budget) {
    const std::uint64_t now = segment_.from_machine(at);
    try {
        return go_on(now, budget);
    } catch (const SegmentError&) {
        step_over(now);
        throw;
    }
}

// The place that could not be looked at is left. Behind the head of a ring there are others whose
// time may be over, so they are looked at soon again.
void Keeper::step_over(std::uint64_t now) noexcept {
    if (pass_->has_pins) {
        ++pass_->pin;
    } else if (pass_->has_heads) {
        pass_->has_heads = false;
        note(pass_->due, now + retry_after(Kept::no_room));
    } else if (!pass_->has_come_to_rings) {
        ++pass_->slot;
    } else if (refill_) {
        refill_.reset();
        wants_refill_ = false;
        rings_seen_ = now;
    }
}

Sweep Keeper::go_on(std::uint64_t now, std::size_t budget) {
    Control& control = segment_.control();
    if (!pass_) {
        pass_.emplace();
        control.clock.poke(now);
        control.due.swap(control.due.load(), 0);
        const std::uint64_t slot_due = control.slot_due.load();
        const bool is_due = slot_due != 0 && slot_due <= now;
        pass_->has_slots = is_due || now >= slots_seen_ + patience;
        if (pass_->has_slots) slots_seen_ = now;
        if (now >= rings_seen_ + patience) wants_refill_ = true;
        if (is_due) control.slot_due.swap(slot_due, 0);
        full_fence();
        crash_point(CrashPoint::sweep_begun);
    }
    if (pass_->has_pins && !sweep_pins(now, budget)) return {false, 0};
    pass_->has_pins = false;
    if (pass_->has_heads && !sweep_heads(now, budget)) return {false, 0};
    pass_->has_heads = false;
    if (pass_->has_slots && !sweep_slots(now, budget)) return {false, 0};
    pass_->has_come_to_rings = true;
    if (!sweep_rings(now, budget)) return {false, 0};
    if (!sweep_end(budget)) return {false, 0};
    if (looked_ && looked_(pass_->has_slots))
        note(pass_->slot_due, now + retry_after(Kept::no_room));
    watch_level(now);
    tell_end();
    crash_point(CrashPoint::sweep_pass);
    if (pass_->due != 0) Slots::bring_forward(control.due, pass_->due);
    if (pass_->slot_due != 0) Slots::bring_forward(control.slot_due, pass_->slot_due);
    pass_.reset();
    return {true, next_due()};
}

// To the first slot in which there is something, or to the end.
bool Keeper::sweep_end(std::size_t& budget) {
    if (segment_.control().is_closed.peek() == 0) return true;
    for (; pass_->empty_to < segment_.config().capacity; ++pass_->empty_to, --budget) {
        if (budget == 0) return false;
        if (!is_empty(segment_.slot(pass_->empty_to))) break;
    }
    return true;
}

// Once: the keeper hears his own doorbell too, and would look again for ever.
void Keeper::tell_end() {
    const bool is_over = pass_->empty_to == segment_.config().capacity;
    if (is_over && !has_told_end_) waits_.wake_all();
    has_told_end_ = is_over;
}

std::int64_t Keeper::next_due() const noexcept {
    const Control& control = segment_.control();
    std::uint64_t due = control.due.load();
    if (const std::uint64_t slot_due = control.slot_due.load(); slot_due != 0) note(due, slot_due);
    return due == 0 ? 0 : std::max<std::int64_t>(1, segment_.to_machine(due));
}

// Who takes the place or the chunk with which the high mark is passed tells us; for the low one we
// look, and as long as empty chunks that producers keep would pass the high one: they fill those
// without a word.
void Keeper::watch_level(std::uint64_t now) {
    constexpr std::uint64_t each = 100'000'000;
    Control& control = segment_.control();
    const std::uint64_t high = control.high.peek();
    const bool was_high = control.is_high.peek() != 0;
    if (high == 0 && !was_high) return;
    const std::uint64_t now_used = level();
    const bool is_high = high != 0 && (was_high ? now_used > low_ : now_used >= high);
    const bool is_near = high != 0 && chunks_.taken_percent() >= high;
    if (is_high || was_high || is_near) note(pass_->due, now + each);
    if (is_high == was_high) return;
    control.is_high.poke(is_high ? 1 : 0);
    if (watcher_) watcher_(is_high);
}

// Leases are found by the pins of their holders: there are few of them, however large the queue.
bool Keeper::sweep_pins(std::uint64_t now, std::size_t& budget) {
    for (; pass_->owner <= segment_.config().members; ++pass_->owner, pass_->pin = 0) {
        const std::span<PinRecord> pins = segment_.pins(pass_->owner);
        const std::uint64_t used = segment_.member(pass_->owner).pins_used.load();
        for (; pass_->pin < used && pass_->pin < pins.size(); ++pass_->pin, --budget) {
            if (budget == 0) return false;
            sweep_pin(pass_->owner, pins[pass_->pin], now);
        }
    }
    return true;
}

// Q17, Q18. A pin that says `over` already is one whose keeper was killed on the way, or one whose
// owner still reads what was taken away.
void Keeper::sweep_pin(Owner owner, PinRecord& pin, std::uint64_t now) {
    const std::uint64_t what = pin.what.load();
    if (what == 0) return;
    const std::uint64_t until = pin.until.load();
    if (until == for_ever) return;
    if (until > now) return note(pass_->due, until);
    const PinWord pinned = PinWord::of(what);
    if (pinned.slot >= segment_.config().capacity) return;
    const std::uint64_t seen = segment_.slot(pinned.slot).state.load();
    const SlotWord word = SlotWord::of(seen);
    // Its owner is giving it back, or has done so, and may be stopped.
    const bool is_next = word.generation == PinWord::after(pinned.generation);
    const bool is_unlisted = is_next && word.state == SlotState::ready && until != over;
    const bool is_held = word.generation == pinned.generation && word.state == SlotState::leased &&
                         word.owner == owner;
    const bool is_returning = is_next && word.state == SlotState::returning && word.owner == owner;
    const bool is_unnoted = is_next && until != over &&
                            (word.state == SlotState::delayed || word.state == SlotState::dead);
    if (!is_unlisted && !is_held && !is_returning && !is_unnoted) return;
    if (until != over && !pin.until.swap(until, over)) return note(pass_->due, now);
    crash_point(CrashPoint::sweep_ended);
    if (is_unlisted) wants_refill_ = true;
    if (is_unnoted) note(pass_->slot_due, at_once);
    if (is_held || is_returning) {
        const bool is_ours = is_held ? take_back(pinned.slot, seen) : make_ready(pinned.slot, seen);
        if (is_held && is_ours) segment_.control().expired.count();
        // He was quicker, and may be stopped now, before he tells anybody.
        if (!is_ours) {
            wants_refill_ = true;
            note(pass_->slot_due, at_once);
        }
    }
}

// One who is stopped may have listed a message or a place, or given memory back, and told nobody;
// or have chosen whom to wake.
bool Keeper::sweep_rings(std::uint64_t now, std::size_t& budget) {
    if (!wants_refill_) return true;
    if (repairs_ > 0) {  // they do the same, but may have looked before: once more behind them
        note(pass_->due, now + 1);
        return true;
    }
    if (!refill_) refill_.emplace();
    if (!refill(*refill_, budget)) return false;
    refill_.reset();
    wants_refill_ = false;
    rings_seen_ = now;
    waits_.wake_all();
    return true;
}

// Messages whose time is over are ended where consumers take them, at the heads of the rings: a
// slot that stopped being READY anywhere else would leave a stale cell in the middle, and those
// could fill the ring (Q6). All live equally long, so the first to end are the first there.
bool Keeper::sweep_heads(std::uint64_t now, std::size_t& budget) {
    std::uint32_t slot = 0;
    std::uint64_t ended = 0;
    const auto claim = [&](std::uint64_t index, std::uint64_t tag) {
        SlotRecord& record = segment_.slot(index);
        const std::uint64_t seen = record.state.load();
        const SlotWord word = SlotWord::of(seen);
        if (word.state != SlotState::ready || tag_of(word.generation) != tag) return Claim::stale;
        const auto after = slots_.expired(record, word, now);
        if (!after) {
            if (const std::uint64_t expires = record.expires.peek(); expires != 0)
                note(pass_->due, std::max(expires, now + 1));
            return Claim::leave;
        }
        slot = static_cast<std::uint32_t>(index);
        ended = after->pack();
        return record.state.swap(seen, ended) ? Claim::taken : Claim::retry;
    };
    while (slots_.next(claim)) {
        crash_point(CrashPoint::sweep_expired);
        if (SlotWord::of(ended).state == SlotState::dead) {
            move_dead(slot, ended, now, budget);
        } else {
            segment_.control().died.count();
            slots_.bury(slot, SlotWord::of(ended));
        }
        if (budget < 2) return false;
        --budget;
    }
    return true;
}

bool Keeper::sweep_slots(std::uint64_t now, std::size_t& budget) {
    for (; pass_->slot < segment_.config().capacity; ++pass_->slot, --budget) {
        if (budget == 0) return false;
        sweep_slot(pass_->slot, now, budget);
        if (budget == 0) budget = 1;  // this one is done
    }
    return true;
}

void Keeper::sweep_slot(std::uint32_t slot, std::uint64_t now, std::size_t& budget) {
    SlotRecord& record = segment_.slot(slot);
    const std::uint64_t seen = record.state.load();
    const SlotWord word = SlotWord::of(seen);
    // What an earlier keeper left when it was killed.
    if (word.state == SlotState::retiring && word.owner == nobody)
        return (void)slots_.bury(slot, word);
    if (word.state == SlotState::dead) {
        // Without a place for the dead there is no limit any more, so this one has not passed it.
        if (word.reason() == Reason::deliveries && segment_.control().has_dead_letter.peek() == 0)
            return (void)make_ready(slot, seen);
        return move_dead(slot, seen, now, budget);
    }
    if (word.state != SlotState::delayed) return;
    const std::uint64_t until = NotBefore::of(record.not_before.peek()).time;
    if (until > now) return note(pass_->slot_due, until);
    (void)make_ready(slot, seen);
}

bool Keeper::make_ready(std::uint32_t slot, std::uint64_t seen) {
    const SlotWord ready = SlotWord::of(seen).ready_again();
    if (!segment_.slot(slot).state.swap(seen, ready.pack())) return false;
    crash_point(CrashPoint::sweep_due);
    slots_.queue(slot, ready);
    return true;
}

// First it is kept there, then it ends here. A keeper who is killed between the two comes again and
// finds that it is kept already.
void Keeper::move_dead(std::uint32_t slot, std::uint64_t seen, std::uint64_t now,
                       std::size_t& budget) {
    if (!mover_) return;
    const SlotRecord& record = segment_.slot(slot);
    const SlotWord word = SlotWord::of(seen);
    Letter letter;
    letter.message = dead_message(slot);
    letter.reason = word.reason();
    letter.deliveries = word.deliveries;
    letter.sequence = record.sequence.peek();
    letter.put_time = segment_.to_machine(record.put_time.peek());
    for (std::size_t i = 0; i < letter.killers.size(); ++i) {
        if (record.about.peek() == letter.sequence) letter.killers[i] = record.killers[i].peek();
    }
    // Smaller ones may find room where this one did not.
    const bool is_vain = letter.message.size() >= pass_->no_room_from;
    const Keeping kept =
        is_vain ? Keeping{Kept::no_room} : mover_(letter, segment_.to_machine(now));
    budget -= std::min(budget, kept.cost * looks_per_drop);
    if (!is_vain && (kept == Kept::no_room || kept == Kept::goes_on)) {
        pass_->no_room_from = letter.message.size();
        budget -= std::min(budget, looks_for_room);
    }
    if (kept != Kept::kept) return note(pass_->slot_due, now + retry_after(kept));
    budget -= std::min(budget, letter.message.size() / copied_per_look);
    crash_point(CrashPoint::dead_moved);
    if (bury_dead(slot, seen)) segment_.control().moved.count();
}

}  // namespace green::ipc::shm
