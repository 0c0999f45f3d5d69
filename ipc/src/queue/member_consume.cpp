// A member as a consumer: what it gets, holds and ends.

#include <utility>

#include <green/errors.hpp>

#include "crash_point.hpp"
#include "member.hpp"

namespace green::ipc::shm {
namespace {

/// Whether the message had ended when it was handed out.
bool is_ended(const Lease& lease) noexcept {
    return SlotWord::of(lease.word).state == SlotState::retiring;
}

}  // namespace

std::uint32_t Lease::deliveries() const noexcept { return SlotWord::of(word).deliveries; }

Got Member::try_get(Lease& into, std::int64_t now) {
    if (pins_.is_full()) return Got::too_many_leases;
    const std::uint64_t time = segment_.from_machine(now);
    const std::uint64_t length = segment_.control().lease.peek();
    const std::uint64_t until = length == 0 ? for_ever : time + length;
    const bool is_once = segment_.control().at_most_once.peek() != 0;
    SlotWord after;
    bool is_handed_out = false;
    const auto claim = [&](std::uint64_t index, std::uint64_t tag) {
        const auto slot = static_cast<std::uint32_t>(index);
        SlotRecord& record = segment_.slot(slot);
        const std::uint64_t seen = record.state.load();
        const SlotWord word = SlotWord::of(seen);
        if (word.state != SlotState::ready || tag_of(word.generation) != tag) return Claim::stale;
        into.slot = slot;
        if (const auto ended = slots_.expired(record, word, time)) {
            after = *ended;
            return record.state.swap(seen, after.pack()) ? Claim::taken : Claim::retry;
        }
        const std::uint32_t pin = pins_.place({slot, word.generation}, until);
        crash_point(CrashPoint::get_pinned);
        // Before the claim, so that the keeper knows of it also if we are stopped right behind it.
        if (!is_once) slots_.remind(segment_.control().due, until);
        after = is_once ? word.leased_by(owner_).acked_by(owner_) : word.leased_by(owner_);
        if (!record.state.swap(seen, after.pack())) {
            pins_.lift(pin);
            slots_.bury_if_haunted(slot);
            return Claim::retry;
        }
        crash_point(CrashPoint::get_leased);
        into.pin = pin;
        into.word = after.pack();
        is_handed_out = true;
        return Claim::taken;
    };
    for (;;) {
        if (!slots_.next(claim)) return Got::nothing;
        if (is_handed_out) break;
        bury_expired(into.slot, after);
    }
    if (is_once)
        record_.acked.count();
    else  // again: until the claim a look that forgets what was noted may miss our pin
        slots_.remind(segment_.control().due, until);
    describe(into, now);
    crash_point(CrashPoint::get_done);
    return Got::message;
}

void Member::bury_expired(std::uint32_t slot, SlotWord after) {
    crash_point(CrashPoint::get_expired);
    if (after.state == SlotState::dead) return mourn();
    record_.died.count();
    slots_.bury(slot, after);
}

void Member::describe(Lease& lease, std::int64_t now) {
    SlotRecord& record = segment_.slot(lease.slot);
    const auto memory = chunks_.find(record.extent.load(), lease.slot);
    const std::uint64_t size = record.size.peek();
    if (!memory || size > memory->size()) {
        segment_.damaged("damaged: slot " + std::to_string(lease.slot) +
                         " holds a message without memory");
    }
    lease.message = memory->first(size);
    lease.sequence = record.sequence.peek();
    lease.put_time = segment_.to_machine(record.put_time.peek());
    if (record.first_get_time.peek() == 0) record.first_get_time.poke(segment_.from_machine(now));
    record_.delivered.count();
    if (lease.deliveries() > 1) record_.redelivered.count();
}

// The pin stays for now: by it the keeper finds what we leave half done if we are stopped (Q13).
bool Member::end(const Lease& lease, SlotWord after) {
    if (!lease) throw UsageError("no lease");
    if (segment_.slot(lease.slot).state.swap(lease.word, after.pack())) return true;
    refuse(lease);
    return false;
}

void Member::refuse(const Lease& lease) {
    let_go(lease);
    record_.refused.count();
}

void Member::let_go(const Lease& lease) {
    pins_.lift(lease.pin);
    crash_point(CrashPoint::ack_unpinned);
    slots_.bury_if_haunted(lease.slot);
}

// The message has ended by our hand, so nobody waits for our pin but we.
void Member::bury_own(const Lease& lease, SlotWord retiring) {
    pins_.lift(lease.pin);
    crash_point(CrashPoint::ack_unpinned);
    slots_.bury(lease.slot, retiring, 1);
}

bool Member::finish(Lease& lease) {
    const Lease gone = std::exchange(lease, {});
    bury_own(gone, SlotWord::of(gone.word));
    return true;
}

bool Member::ack(Lease& lease) {
    if (is_ended(lease)) return finish(lease);
    const Lease gone = std::exchange(lease, {});
    const SlotWord retiring = SlotWord::of(gone.word).acked_by(owner_);
    if (!end(gone, retiring)) return false;
    crash_point(CrashPoint::ack_committed);
    record_.acked.count();
    bury_own(gone, retiring);
    crash_point(CrashPoint::ack_done);
    return true;
}

bool Member::nack(Lease& lease, Turn turn) {
    if (is_ended(lease)) return finish(lease);
    const Lease gone = std::exchange(lease, {});
    const SlotWord after = slots_.after_return(SlotWord::of(gone.word), turn);
    if (!end(gone, after)) return false;
    crash_point(CrashPoint::nack_returned);
    record_.returned.count();
    if (after.state == SlotState::dead)
        mourn();
    else
        slots_.queue(gone.slot, after);
    let_go(gone);
    crash_point(CrashPoint::nack_done);
    return true;
}

// One that ended when it was handed out is still ours by its word until its memory is given back.
bool Member::untake(Lease& lease) {
    const Lease gone = std::exchange(lease, {});
    const SlotWord after = SlotWord::of(gone.word).untaken();
    if (!end(gone, after)) return false;
    crash_point(CrashPoint::nack_returned);
    if (is_ended(gone)) record_.acked.poke(record_.acked.peek() - 1);
    record_.delivered.poke(record_.delivered.peek() - 1);
    if (gone.deliveries() > 1) record_.redelivered.poke(record_.redelivered.peek() - 1);
    slots_.queue(gone.slot, after);
    let_go(gone);
    crash_point(CrashPoint::nack_done);
    return true;
}

// The time is written while the slot is ours by its word, and by a swap of what stood there then: a
// holder who was stopped, and from whom the keeper has taken it meanwhile, must not write into what
// is another one's.
bool Member::nack_until(Lease& lease, std::int64_t until) {
    if (is_ended(lease)) return finish(lease);
    if (slots_.after_return(SlotWord::of(lease.word)).state == SlotState::dead) return nack(lease);
    const Lease gone = std::exchange(lease, {});
    const SlotWord returning = SlotWord::of(gone.word).returning_by(owner_);
    if (!end(gone, returning)) return false;
    crash_point(CrashPoint::nack_returning);
    SlotRecord& record = segment_.slot(gone.slot);
    const NotBefore time{segment_.from_machine(until), returning.generation};
    std::uint64_t before = 0;
    do {
        before = record.not_before.load();
        if (record.state.load() != returning.pack()) break;
        crash_point(CrashPoint::nack_checked);
    } while (!record.not_before.swap(before, time.pack()));
    crash_point(CrashPoint::nack_timed);
    if (!record.state.swap(returning.pack(), returning.delayed().pack())) {
        refuse(gone);
        return false;
    }
    crash_point(CrashPoint::nack_delayed);
    record_.returned.count();
    slots_.remind(segment_.control().slot_due, time.time);
    let_go(gone);
    return true;
}

bool Member::reject(Lease& lease) {
    if (is_ended(lease)) return finish(lease);
    const Lease gone = std::exchange(lease, {});
    const SlotWord word = SlotWord::of(gone.word);
    if (segment_.control().has_dead_letter.peek() != 0) {
        if (!end(gone, word.died_of(Reason::rejected))) return false;
        crash_point(CrashPoint::reject_buried);
        mourn();
        let_go(gone);
        return true;
    }
    const SlotWord retiring = word.acked_by(owner_);
    if (!end(gone, retiring)) return false;
    crash_point(CrashPoint::reject_committed);
    record_.rejected.count();
    bury_own(gone, retiring);
    return true;
}

/// A message has died by our hand: the keeper fetches it.
void Member::mourn() {
    record_.buried.count();
    slots_.remind(segment_.control().slot_due, at_once);
}

bool Member::extend(const Lease& lease, std::int64_t until) {
    if (!lease) throw UsageError("no lease");
    if (is_ended(lease)) return true;  // nobody takes it away
    const std::uint64_t end = segment_.from_machine(until);
    const bool is_ours = pins_.extend(lease.pin, end) && holds(lease);
    crash_point(CrashPoint::lease_extended);
    if (is_ours)
        slots_.remind(segment_.control().due, end);
    else
        record_.refused.count();
    return is_ours;
}

bool Member::holds(const Lease& lease) const noexcept {
    return lease && segment_.slot(lease.slot).state.load() == lease.word;
}

}  // namespace green::ipc::shm
