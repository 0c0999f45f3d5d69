#include "member.hpp"

#include <algorithm>
#include <stdexcept>
#include <unistd.h>
#include <utility>

#include <green/errors.hpp>

#include "crash_point.hpp"
#include "inspect.hpp"

namespace green::ipc::shm {
namespace {

const Segment& joinable(const Segment& segment, Owner owner) {
    if (owner == nobody || owner > segment.config().members) {
        throw UsageError(segment.path() + ": owner " + std::to_string(owner) +
                         " is not one of 1 to " + std::to_string(segment.config().members));
    }
    return segment;
}

}  // namespace

Member::Member(Segment segment, Owner owner, std::span<const int> doorbells,
               std::uint64_t start_time)
    : segment_{std::move(segment)},
      owner_{owner},
      waits_{joinable(segment_, owner), doorbells},
      chunks_{segment_},
      slots_{segment_, chunks_, waits_, owner},
      extents_{segment_, chunks_, owner},
      pins_{segment_, owner},
      record_{segment_.member(owner)} {
    if (!record_.pid.swap(0, static_cast<std::uint64_t>(::getpid()))) {
        throw UsageError(segment_.path() + ": owner " + std::to_string(owner) +
                         " is still process " + std::to_string(record_.pid.load()));
    }
    crash_point(CrashPoint::attach_registered);
    record_.start_time.store(start_time);
}

Member::~Member() {
    if (!home_.is_here()) return;
    crash_point(CrashPoint::leave_begun);
    extents_.retire();
    if (wait_slot_) waits_.release(owner_);
    crash_point(CrashPoint::leave_done);
}

bool Member::is_over() const { return is_closed() && !slots_.has_ready() && empty(segment_); }

void Member::announce_end() {
    if (is_over()) waits_.wake_all();
}

bool Member::is_watched() const noexcept {
    const Control& control = segment_.control();
    return control.high.peek() != 0 && control.is_high.peek() == 0;
}

void Member::watch(std::uint64_t used_percent) {
    if (used_percent >= segment_.control().high.peek())
        slots_.remind(segment_.control().due, at_once);
}

Shortage Member::try_reserve(std::size_t bytes, Reservation& into) {
    check_size(bytes);
    Shortage shortage = Shortage::slots;
    if (slots_.reserve(into.slot, into.word)) {
        crash_point(CrashPoint::reserve_claimed);
        shortage = try_extent(into, bytes);
        if (shortage != Shortage::none) abandon(into);
    }
    if (shortage != Shortage::none && is_watched())
        watch(std::max(slots_.used_percent(), chunks_.taken_percent()));
    return shortage;
}

Shortage Member::try_extent(Reservation& reservation, std::size_t bytes) {
    check_size(bytes);
    (void)checked(reservation);
    if (!reservation.memory.empty()) throw UsageError("this reservation needs no extent");
    reservation.memory = take_extent(reservation.slot, bytes);
    if (reservation.memory.empty()) return Shortage::memory;
    crash_point(CrashPoint::reserve_done);
    return Shortage::none;
}

std::span<std::byte> Member::take_extent(std::uint32_t slot, std::size_t bytes) {
    const std::span<std::byte> memory = extents_.take(slot, bytes);
    if (extents_.has_disturbed() && waits_.has_sleepers(Interest::memory))
        waits_.wake_for_memory(extents_.chunks_for(bytes));
    if (extents_.has_grown() && is_watched()) watch(chunks_.taken_percent());
    return memory;
}

SlotRecord& Member::checked(const Reservation& reservation) const {
    SlotRecord& record = segment_.slot(reservation.slot);
    if (!reservation || record.state.load() != reservation.word)
        throw UsageError("this reservation is over");
    return record;
}

void Member::check_size(std::size_t bytes) const {
    if (bytes <= max_message()) return;
    throw std::length_error(segment_.path() + ": a message of " + std::to_string(bytes) +
                            " bytes; max_message is " + std::to_string(max_message()));
}

void Member::release_extent(Reservation& reservation, std::size_t touched) {
    extents_.written(checked(reservation).extent.peek(), touched);
    slots_.release_extent(reservation.slot);
    reservation.memory = {};
    crash_point(CrashPoint::grow_released);
}

std::uint64_t Member::describe(const Reservation& reservation, std::size_t size,
                               std::size_t touched, std::int64_t now) {
    SlotRecord& record = checked(reservation);
    if (size > reservation.memory.size() || reservation.memory.empty()) {
        throw UsageError("put() of more than was reserved");
    }
    const std::uint64_t sequence = segment_.control().fresh.sequence.add(1) + 1;
    record.size.poke(size);
    record.sequence.poke(sequence);
    const std::uint64_t time = segment_.from_machine(now);
    record.put_time.poke(time);
    record.first_get_time.poke(0);
    const std::uint64_t length = segment_.control().time_to_live.peek();
    record.expires.poke(length == 0 ? 0 : time + length);
    extents_.written(record.extent.peek(), touched);
    crash_point(CrashPoint::put_numbered);
    return sequence;
}

// The slot may be somebody else's already.
void Member::published(Reservation& reservation, std::uint64_t sequence) {
    crash_point(CrashPoint::put_published);
    record_.put.count();
    const Reservation gone = std::exchange(reservation, {});
    slots_.queue(gone.slot, SlotWord::of(gone.word).published());
    crash_point(CrashPoint::put_announced);
    // Not at each message: what counts free slots is written by everybody.
    const bool is_its_turn = config().capacity < 1024 || sequence % 16 == 0;
    if (is_its_turn && is_watched()) watch(slots_.used_percent());
}

std::uint64_t Member::put(Reservation& reservation, std::size_t size, std::int64_t now,
                          std::size_t touched) {
    const std::uint64_t sequence = describe(reservation, size, touched, now);
    const SlotWord ready = SlotWord::of(reservation.word).published();
    if (!segment_.slot(reservation.slot).state.swap(reservation.word, ready.pack()))
        throw UsageError("this reservation is over");
    published(reservation, sequence);
    return sequence;
}

Entered Member::put_once(Reservation& reservation, std::size_t size, MessageId id, std::int64_t now,
                         std::size_t touched) {
    const std::uint64_t window = segment_.control().dedup_window.peek();
    return enter(reservation, size, touched, id, now, window, nullptr);
}

Entered Member::enter(Reservation& reservation, std::size_t size, std::size_t touched, MessageId id,
                      std::int64_t now, std::uint64_t window, const Letter* letter) {
    SlotRecord& record = checked(reservation);
    const std::span<DedupCell<Word>> cells = segment_.bucket(id);
    if (cells.empty()) throw UsageError(segment_.path() + ": this queue remembers no ids");
    const auto state_of = [this](std::uint32_t slot) -> Word& {
        return segment_.slot(slot < config().capacity ? slot : 0).state;
    };
    BasicBucket<Word, decltype(state_of)> bucket{cells, state_of, owner_};
    const typename decltype(bucket)::Span span{segment_.from_machine(now), window};
    Entered entered = Entered::duplicate;
    std::uint64_t sequence = 0;
    if (!bucket.has_seen(id, span)) {
        sequence = describe(reservation, size, touched, now);
        if (letter != nullptr) write_letter(record, *letter);
        // Where repair finds what we claim.
        record.dedup_id[0].store(id.high);
        record.dedup_id[1].store(id.low);
        entered = bucket.enter(id, reservation.slot, SlotWord::of(reservation.word), span);
    }
    if (entered == Entered::published) {
        published(reservation, sequence);
        return entered;
    }
    record_.duplicates.count();
    const Reservation gone = std::exchange(reservation, {});
    slots_.abandon(gone.slot, SlotWord::of(gone.word));
    return entered;
}

void Member::abandon(Reservation& reservation) {
    (void)checked(reservation);
    const Reservation gone = std::exchange(reservation, {});
    slots_.abandon(gone.slot, SlotWord::of(gone.word));
}

// One that somebody still has a pin on, as who is just giving it back, leaves neither its slot nor
// its memory yet: it is dropped only if there is no other at the head of a ring, and only to reach
// those behind it.
std::optional<Member::Drop> Member::drop_next(Shortage missing) {
    std::uint32_t dropped = 0;
    SlotWord after;
    bool takes_any = false;
    const auto claim = [&](std::uint64_t index, std::uint64_t tag) {
        const auto slot = static_cast<std::uint32_t>(index);
        Word& state = segment_.slot(slot).state;
        const std::uint64_t seen = state.load();
        const SlotWord word = SlotWord::of(seen);
        if (word.state != SlotState::ready || tag_of(word.generation) != tag) return Claim::stale;
        if (!takes_any && word.deliveries > 0 && Pins::is_pinned(segment_, slot))
            return Claim::leave;
        after = word.acked_by(owner_);
        dropped = slot;
        return state.swap(seen, after.pack()) ? Claim::taken : Claim::retry;
    };
    if (!slots_.next(claim)) {
        if (missing == Shortage::slots && !slots_.has_droppable()) return std::nullopt;
        takes_any = true;
        if (!slots_.next(claim)) return std::nullopt;
    }
    crash_point(CrashPoint::drop_committed);
    record_.dropped_oldest.count();
    const std::uint64_t ref = segment_.slot(dropped).extent.load();
    return Drop{ref, slots_.bury(dropped, after)};
}

// All chunks are looked at once, not once for each that is dropped: from then on only where one has
// come free, and beside it.
Dropped Member::make_room(Shortage missing, std::size_t bytes, std::size_t& budget) {
    constexpr std::uint64_t looks = 64;  // cost as much as a drop
    if (when_full() != WhenFull::drop_oldest) return Dropped::none;
    if (!extents_.could_take(bytes)) return Dropped::in_vain;
    const std::uint64_t need = extents_.chunks_for(bytes);
    for (bool has_dropped = false; budget > 0; has_dropped = true) {
        const auto drop = drop_next(missing);
        // Others may have made room beside ours.
        if (!drop) return has_dropped ? Dropped::enough : Dropped::none;
        const std::uint64_t vacant = extents_.vacant_around(drop->extent, bytes);
        budget -= std::min<std::size_t>(budget, 1 + vacant / looks);
        if (missing == Shortage::slots ? drop->is_free : vacant >= need) return Dropped::enough;
    }
    return Dropped::some;
}

int Member::doorbell() {
    has_asked_ = true;
    if (!wait_slot_) wait_slot_ = waits_.claim(owner_);
    return wait_slot_ ? waits_.doorbell(*wait_slot_) : -1;
}

void Member::arm(Interest interest, std::size_t bytes) {
    if (!has_asked_) throw UsageError("arm() before doorbell()");
    if (!wait_slot_) return;
    is_armed_[static_cast<unsigned>(interest)] = true;
    waits_.arm(*wait_slot_, interest, bytes);
}

bool Member::disarm(Interest interest) {
    if (!std::exchange(is_armed_[static_cast<unsigned>(interest)], false)) return false;
    return waits_.disarm(*wait_slot_, interest);
}

void Member::pass_on(Interest interest) { waits_.announce(interest); }

}  // namespace green::ipc::shm
