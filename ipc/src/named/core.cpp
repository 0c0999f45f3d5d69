// Longer than most files: all getters and putters of a process share its one place among the
// sleepers, so that each of them, as it comes, is served or goes, decides what the process sleeps
// for.
#include "named/core.hpp"

#include <exception>
#include <unistd.h>
#include <utility>

#include <green/context.hpp>
#include <green/errors.hpp>
#include <green/sys.hpp>

namespace green::ipc {
namespace {

using shm::Dropped;
using shm::Got;
using shm::Interest;
using shm::Shortage;

Interest interest_for(Shortage shortage) noexcept {
    return shortage == Shortage::slots ? Interest::slots : Interest::memory;
}

// How often a process looks that has found no place among those who sleep.
constexpr Duration blind = std::chrono::milliseconds{10};

/// The clock that all processes share, cheaply.
std::int64_t soon() noexcept { return detail::soon().time_since_epoch().count(); }

/// As the segment counts it; a time that lies too far ahead is the last one there is.
std::int64_t from_now(Duration delay) noexcept {
    const Duration begin = now().time_since_epoch();
    if (delay < Duration::zero()) return begin.count();
    return (delay > Duration::max() - begin ? Duration::max() : begin + delay).count();
}

std::vector<int> numbers_of(const std::vector<Fd>& fds) {
    std::vector<int> numbers;
    numbers.reserve(fds.size());
    for (const Fd& fd : fds) numbers.push_back(fd.number());
    return numbers;
}

}  // namespace

/// Waits for a message. The listener puts one into it, or stop() wakes it empty.
class QueueCore::Getter final : public detail::WaitNode {
 public:
    explicit Getter(QueueCore& core) noexcept : WaitNode{detail::Reach::outside}, core_{&core} {}

    bool arm() override {
        if (core_->stopped_) return true;
        core_->getters_.push_back(*this);
        if (&core_->getters_.front() != this) return false;  // the process sleeps already
        if (obtain_or_sleep() != Got::message && !error && !core_->over()) return false;
        unlink();
        return true;
    }
    /// What is wrong with the queue is for who waits, not for who looks on his behalf.
    Got obtain_or_sleep() noexcept {
        try {
            return core_->lease_or_sleep(lease);
        } catch (...) {
            error = std::current_exception();
            return Got::nothing;
        }
    }
    void disarm() noexcept override {
        unlink();
        core_->lost_getter();
    }
    void abandon() noexcept override {
        if (lease) core_->hand_on(lease);
    }
    void describe(std::string& into) const override {
        into += "a message in queue " + core_->name_;
    }

    shm::Lease lease;
    std::exception_ptr error;

 private:
    QueueCore* core_;
};

/// Waits for room: a place and memory, or memory for the place it has.
class QueueCore::Putter final : public detail::WaitNode {
 public:
    Putter(QueueCore& core, shm::Reservation& reservation, std::size_t bytes) noexcept
        : WaitNode{detail::Reach::outside},
          core_{&core},
          reservation_{&reservation},
          bytes_{bytes},
          has_place_{static_cast<bool>(reservation)} {}

    [[nodiscard]] std::optional<Shortage> attempt() {
        return core_->attempt(*reservation_, bytes_);
    }
    bool arm() override {
        if (core_->member_.is_closed()) return true;
        auto& line = has_place_ ? core_->growers_ : core_->putters_;
        line.push_back(*this);
        const bool is_first = &line.front() == this && (has_place_ || core_->growers_.empty());
        if (!is_first || obtain_or_sleep()) return false;  // the process sleeps already
        unlink();
        return true;
    }
    void disarm() noexcept override {
        unlink();
        core_->lost_putter();
    }
    void abandon() noexcept override {
        // With a place of its own, memory and place go back together when the draft does.
        // One that was woken by the closing of the queue has nothing.
        if (!has_place_ && *reservation_) core_->abandon(*reservation_);
    }
    void describe(std::string& into) const override { into += "room in queue " + core_->name_; }

    /// Returns what is missing and the process now sleeps for; nothing when all was obtained, or
    /// something is wrong with the queue, which is for who waits.
    std::optional<Interest> obtain_or_sleep() noexcept {
        try {
            return attempt_or_sleep();
        } catch (...) {
            error = std::current_exception();
            return std::nullopt;
        }
    }

    std::exception_ptr error;
    bool goes_on = false;  // it has not slept: it makes room, and is tried again in a later turn

 private:
    std::optional<Interest> attempt_or_sleep() {
        for (;;) {
            const auto missing = attempt();
            goes_on = !missing;
            if (goes_on) {
                core_->ring_ourselves();
                return Interest::memory;
            }
            if (missing == Shortage::none) return std::nullopt;
            const Interest interest = interest_for(*missing);
            core_->member_.arm(interest, bytes_);
            const auto still = attempt();
            if (still == missing) return interest;
            const bool chosen = core_->member_.disarm(interest);
            if (still == Shortage::none) return std::nullopt;
            if (chosen) core_->member_.pass_on(interest);
        }
    }

    QueueCore* core_;
    shm::Reservation* reservation_;
    std::size_t bytes_;
    bool has_place_;
};

QueueCore::QueueCore(QueueGrant grant)
    : name_{std::move(grant.name)},
      schema_{std::move(grant.schema)},
      produce_{grant.produce},
      consume_{grant.consume},
      on_first_next_{std::move(grant.on_first_next)},
      on_first_use_{std::move(grant.on_first_use)},
      doorbells_{std::move(grant.doorbells)},
      doorbell_numbers_{numbers_of(doorbells_)},
      member_{shm::Segment::adopt(grant.segment.number(), grant.path), grant.owner,
              doorbell_numbers_} {}

QueueCore::~QueueCore() {
    if (listener_) listener_->kill_soon();  // it touches nothing of ours on its way out
}

shm::Got QueueCore::try_lease(shm::Lease& into) {
    headway_.keep([this] { return member_.put_so_far(); }, [] { shm::pause(); });
    const Got got = member_.try_get(into, soon());
    if (got != Got::message) {
        headway_.found_nothing();
        return got;
    }
    headway_.found(member_.is_last());
    if (headway_.is_kept()) member_.look_ahead();
    return got;
}

shm::Got QueueCore::lease_or_sleep(shm::Lease& into) {
    Got got = try_lease(into);
    if (got != Got::nothing) return got;
    member_.arm(Interest::items);
    got = try_lease(into);
    if (got == Got::nothing) return got;
    // What chose us may have been other news than the message that we took.
    if (member_.disarm(Interest::items)) member_.pass_on(Interest::items);
    return got;
}

void QueueCore::first_use() {
    if (const auto first = std::exchange(on_first_use_, nullptr)) in_use_ = first();
}

// --- waiting ---

void QueueCore::listen() {
    if (listener_ && !listener_->ready()) return;
    if (const int doorbell = member_.doorbell(); doorbell >= 0)
        bell_ = Fd{static_cast<int>(sys::must(sys::dup(doorbell), "dup"))};
    // It listens for all who will wait here, not only, and not only as long as, for the first.
    const Context::Scope nobodys{Context{}};
    listener_ = spawn([this] { hear(); });
    listener_->set_name("queue " + name_);
}

// Without a bell it listens only as long as somebody waits here; who waits next may get one.
void QueueCore::hear() {
    do {
        if (bell_.is_open())
            await_bell();
        else
            sleep(blind, {.ref = false});
        // Serving must not end this process's hearing because of one bad message or a full table.
        serve_getters();
        serve_putters();
        if (Putter* putter = first_putter(); putter != nullptr && putter->goes_on) yield();
    } while (bell_.is_open() || !getters_.empty() || !growers_.empty() || !putters_.empty());
}

// Without a bell it looks all the time.
void QueueCore::ring_ourselves() noexcept {
    const std::uint64_t one = 1;
    if (bell_.is_open()) (void)sys::write(bell_.number(), &one, sizeof one);
}

void QueueCore::await_bell() {
    for (detail::FdOperation operation{bell_, detail::Direction::read, Deadline::never(),
                                       detail::Reach::background};
         operation.go();) {
        std::uint64_t rings = 0;
        const sys::Outcome got = sys::read(operation.number(), &rings, sizeof rings);
        if (!got.would_block()) return;
        operation.blocked();
    }
}

void QueueCore::serve_getters() {
    bool owed = member_.disarm(Interest::items);
    while (Getter* getter = getters_.first_open()) {
        const Got got = getter->obtain_or_sleep();
        if (got == Got::message || getter->error) {
            getter->fire();
            owed = false;
            continue;
        }
        if (over()) getters_.fire_all();
        if (got == Got::nothing) return;
        break;  // there may be one, for who can hold it
    }
    if (owed) member_.pass_on(Interest::items);
}

// Who has a place for the message and lacks memory goes before all who lack a place: if those who
// hold all the places stood behind one of these, nobody would ever go on.
QueueCore::Putter* QueueCore::first_putter() noexcept {
    Putter* const grower = growers_.first_open();
    return grower != nullptr ? grower : putters_.first_open();
}

void QueueCore::serve_putters() {
    bool slots_owed = member_.disarm(Interest::slots);
    bool memory_owed = member_.disarm(Interest::memory);
    std::optional<Interest> missing;
    bool goes_on = false;
    if (member_.is_closed()) {
        growers_.fire_all();
        putters_.fire_all();
    }
    while (Putter* putter = first_putter()) {
        missing = putter->obtain_or_sleep();
        goes_on = putter->goes_on;
        if (missing) break;
        putter->fire();
        slots_owed = memory_owed = false;
    }
    // News that we were chosen for and cannot use is somebody else's; what we still lack was taken
    // by somebody. Who goes on may yet give up.
    if (slots_owed && missing != Interest::slots) member_.pass_on(Interest::slots);
    if (memory_owed && (goes_on || missing != Interest::memory)) member_.pass_on(Interest::memory);
}

void QueueCore::lost_getter() noexcept {
    if (home_.is_here() && listener_ && getters_.first_open() == nullptr &&
        member_.disarm(Interest::items)) {
        member_.pass_on(Interest::items);
    }
}

void QueueCore::lost_putter() noexcept {
    // The next in line may want less, or something else: let it try for itself.
    if (first_putter() != nullptr) {
        serve_putters();
        return;
    }
    for (const Interest interest : {Interest::slots, Interest::memory}) {
        if (member_.disarm(interest)) member_.pass_on(interest);
    }
}

void QueueCore::hand_on(shm::Lease& lease) noexcept {
    Getter* getter = getters_.first_open();
    if (getter == nullptr) {
        try {
            (void)member_.untake(lease);
        } catch (const shm::SegmentError& error) {
            complaints_.add(error);
        }
        lease_ended();
        return;
    }
    getter->lease = std::exchange(lease, {});
    getter->fire();
}

// --- producing ---

std::optional<RawDraft> QueueCore::prepare(std::size_t bytes, Deadline deadline) {
    check_home();
    if (!produce_) throw UsageError("this worker is not among the producers of queue " + name_);
    check_size(bytes);
    check_open();
    if (on_first_use_) first_use();
    std::optional<RawDraft> draft = RawDraft{shared_from_this(), {}};
    const Room room = find_room(draft->reservation_, bytes, deadline);
    if (room == Room::drop) draft->divert(bytes);
    if (room == Room::none) draft.reset();
    // Whoever closed it between our first look and the room saw none of us, and takes it for empty.
    if (room == Room::found && member_.is_closed()) {
        draft.reset();
        check_open();
    }
    return draft;
}

QueueCore::Room QueueCore::find_room(shm::Reservation& reservation, std::size_t bytes,
                                     Deadline deadline) {
    // Who waits already goes first, but who has a place goes before all who have none.
    if (growers_.empty() && (reservation || putters_.empty())) {
        auto missing = attempt(reservation, bytes);
        for (; !missing; missing = attempt(reservation, bytes)) yield();
        if (missing == Shortage::none) return Room::found;
    }
    switch (member_.when_full()) {
        case shm::WhenFull::reject:
            member_.note_turned_away();
            return Room::none;
        case shm::WhenFull::drop_newest:
            return Room::drop;
        case shm::WhenFull::drop_oldest:  // all is in hand, or would not be enough
        case shm::WhenFull::block:
            break;
    }
    listen();
    Putter putter{*this, reservation, bytes};
    const bool is_served = detail::park(putter, deadline);
    if (putter.error) std::rethrow_exception(putter.error);
    if (!is_served) return Room::none;
    if (reservation.memory.empty()) check_open();
    return Room::found;
}

std::optional<Shortage> QueueCore::attempt(shm::Reservation& reservation, std::size_t bytes) {
    std::size_t budget = shm::Member::drops_in_a_turn;
    for (;;) {
        const Shortage missing = reservation ? member_.try_extent(reservation, bytes)
                                             : member_.try_reserve(bytes, reservation);
        if (missing == Shortage::none) return missing;
        switch (member_.make_room(missing, bytes, budget)) {
            case Dropped::enough:
                continue;
            case Dropped::some:
                return std::nullopt;
            case Dropped::none:
                return missing;
            case Dropped::in_vain:  // a place could be had: news of one is for others
                return Shortage::memory;
        }
    }
}

void QueueCore::check_home() const {
    if (home_.is_here()) return;
    throw WrongProcess("queue " + name_ + " is attached to the process that was forked");
}

void QueueCore::check_open() const {
    if (member_.is_closed()) throw Closed("queue " + name_ + " is closed");
}

void QueueCore::check_size(std::size_t bytes) const {
    const std::size_t most = member_.max_message();
    if (bytes <= most) return;
    throw UsageError("queue " + name_ + ": a message of " + std::to_string(bytes) +
                     " bytes; max_message is " + std::to_string(most));
}

QueueCore::Room QueueCore::regrow(shm::Reservation& reservation, std::size_t bytes,
                                  Deadline deadline) {
    check_home();
    check_size(bytes);
    return find_room(reservation, bytes, deadline);
}

void QueueCore::release(shm::Reservation& reservation) {
    check_home();
    member_.release_extent(reservation);
}

void QueueCore::dropped() {
    check_home();
    member_.note_dropped_newest();
}

void QueueCore::put(shm::Reservation& reservation, std::size_t size, std::size_t touched) {
    check_home();
    (void)member_.put(reservation, size, soon(), touched);
}

bool QueueCore::put_once(shm::Reservation& reservation, MessageId id, std::size_t size,
                         std::size_t touched) {
    check_home();
    const auto entered = member_.put_once(reservation, size, id, soon(), touched);
    if (entered == shm::Entered::published) return true;
    if (member_.is_closed()) member_.announce_end();
    return false;
}

void QueueCore::abandon(shm::Reservation& reservation) noexcept {
    if (!home_.is_here()) return;
    try {
        member_.abandon(reservation);
    } catch (const shm::SegmentError& error) {
        complaints_.add(error);
    }
    if (member_.is_closed()) member_.announce_end();
}

// --- consuming ---

std::optional<RawLease> QueueCore::next(Deadline deadline) {
    check_home();
    if (!consume_) throw UsageError("this worker is not among the consumers of queue " + name_);
    if (const auto first = std::exchange(on_first_next_, nullptr)) first();
    if (on_first_use_) first_use();
    if (stopped_) return std::nullopt;
    shm::Lease lease;
    if (!getters_.empty() || try_lease(lease) != Got::message) {
        listen();
        Getter getter{*this};
        const bool is_served = detail::park(getter, deadline);
        if (getter.error) std::rethrow_exception(getter.error);
        if (!is_served || !getter.lease) return std::nullopt;
        lease = getter.lease;
    }
    return RawLease{shared_from_this(), lease};
}

bool QueueCore::ack(shm::Lease& lease) {
    check_home();
    const bool done = member_.ack(lease);
    lease_ended();
    return done;
}

bool QueueCore::give_back(shm::Lease& lease, shm::Turn turn) {
    check_home();
    const bool done = member_.nack(lease, turn);
    lease_ended();
    return done;
}

// Its slot's word says that it is there, whatever is wrong with the ring; repair finds it.
void QueueCore::drop(shm::Lease& lease) noexcept {
    if (!home_.is_here()) return;
    try {
        (void)member_.nack(lease, shm::Turn::last);
    } catch (const shm::SegmentError& error) {
        complaints_.add(error);
    }
    lease_ended();
}

bool QueueCore::give_back_for(shm::Lease& lease, Duration delay) {
    check_home();
    const bool done = member_.nack_until(lease, from_now(delay));
    lease_ended();
    return done;
}

bool QueueCore::reject(shm::Lease& lease) {
    check_home();
    const bool done = member_.reject(lease);
    lease_ended();
    return done;
}

std::optional<DeadLetter> QueueCore::letter(const shm::Lease& lease) const {
    check_home();
    const auto found = member_.letter(lease);
    if (!found) return std::nullopt;
    DeadLetter letter;
    letter.source = found->source;
    letter.reason = static_cast<DeadLetter::Reason>(found->reason);
    letter.deliveries = found->deliveries;
    for (const std::uint64_t pid : found->killers) {
        if (pid != 0) letter.pids.push_back(static_cast<int>(pid));
    }
    letter.put_time = TimePoint{Duration{found->put_time}};
    letter.sequence = found->sequence;
    return letter;
}

bool QueueCore::extend(const shm::Lease& lease, Duration delay) {
    check_home();
    return member_.extend(lease, from_now(delay));
}

void QueueCore::lease_ended() {
    if (member_.is_closed()) member_.announce_end();
    // A member can hold only so many leases: who waited for one of ours to end tries again.
    if (getters_.first_open() != nullptr) serve_getters();
}

void QueueCore::stop() noexcept {
    stopped_ = true;
    getters_.fire_all();
    lost_getter();
}

}  // namespace green::ipc
