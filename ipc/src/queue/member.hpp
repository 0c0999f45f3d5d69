#pragma once
// A process that takes part in a queue. Nothing here waits: what cannot be done now says so, and
// the wait calls at the end are the pieces from which the cooperative queue is built.
//
// Reservation and Lease are plain tokens, so that the layer above decides what owns them. A token
// that is dropped leaves its slot taken until the process ends and the keeper repairs; used twice,
// it is refused.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <green/detail/home.hpp>
#include <green/ipc/detail/tokens.hpp>

#include "extents.hpp"
#include "letter.hpp"
#include "pins.hpp"
#include "segment.hpp"
#include "slots.hpp"
#include "wait_table.hpp"

namespace green::ipc::shm {

/// What there was too little of.
enum class Shortage : std::uint8_t { none, slots, memory };

/// What came of dropping for a message that finds no room.
enum class Dropped : std::uint8_t {
    enough,   // try again
    some,     // as many as one call may: go on in a later turn
    none,     // not the rule, or there is nothing to drop
    in_vain,  // all that could be dropped would not be enough, so nothing was
};

enum class Got : std::uint8_t { message, nothing, too_many_leases };

class Member {
 public:
    /// Takes part under a number that the supervisor gave. Takes the segment, borrows `doorbells`
    /// (the keeper's eventfds, in order) until destroyed. Throws UsageError when the number is out
    /// of range or still taken by somebody who has not been repaired, or when doorbells are
    /// missing.
    Member(Segment segment, Owner owner, std::span<const int> doorbells,
           std::uint64_t start_time = 0);
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    /// Leaves, unless it is the copy in a forked child. What is still reserved or leased waits for
    /// Keeper::repair().
    ~Member();

    [[nodiscard]] Owner owner() const noexcept { return owner_; }
    [[nodiscard]] const Config& config() const noexcept { return segment_.config(); }
    [[nodiscard]] std::uint64_t max_message() const noexcept {
        const std::uint64_t set = segment_.control().max_message.peek();
        return set == 0 || set > config().max_message ? config().max_message : set;
    }
    /// Nothing may be put any more.
    [[nodiscard]] bool is_closed() const noexcept {
        return segment_.control().is_closed.load() != 0;
    }
    /// Closed, and nothing is left to be had, now or later.
    [[nodiscard]] bool is_over() const;
    /// After the end of a message or a draft: tells everybody if it was the last one of a closed
    /// queue.
    void announce_end();
    [[nodiscard]] WhenFull when_full() const noexcept {
        return static_cast<WhenFull>(segment_.control().when_full.peek());
    }

    // Producing.

    /// Takes a slot and an extent of at least `bytes`; on a shortage, nothing. Throws
    /// std::length_error when the message can never fit.
    [[nodiscard]] Shortage try_reserve(std::size_t bytes, Reservation& into);
    /// Gives the extent back and keeps the slot: the message moved to private memory. `touched`:
    /// how many of its first bytes may have been written.
    void release_extent(Reservation& reservation, std::size_t touched = all);
    static constexpr std::size_t all = ~std::size_t{0};
    /// Takes an extent for a reservation that has none.
    [[nodiscard]] Shortage try_extent(Reservation& reservation, std::size_t bytes);
    /// Publishes the first `size` bytes; after that the message outlives us. Returns its sequence
    /// number. `touched`: as in release_extent(), at least `size`.
    std::uint64_t put(Reservation& reservation, std::size_t size, std::int64_t now = 0,
                      std::size_t touched = all);
    /// The same, unless a message with this id was put lately: then the reservation is given back,
    /// and the message counts as accepted. Throws UsageError when the queue remembers no ids.
    [[nodiscard]] Entered put_once(Reservation& reservation, std::size_t size, MessageId id,
                                   std::int64_t now = 0, std::size_t touched = all);
    /// Makes room by dropping the message that would be delivered next. False: none is waiting
    /// whose slot can come free; what consumers have in hand is not dropped.
    [[nodiscard]] bool drop_oldest() { return drop_next(Shortage::slots).has_value(); }
    /// The same where that is the rule for a full queue and can help, for what is missing of a
    /// place and so many bytes: the one after the other until there may be room. What that costs,
    /// about one for each, is taken from `budget`.
    [[nodiscard]] Dropped make_room(Shortage missing, std::size_t bytes, std::size_t& budget);
    /// What make_room() may cost in one turn of a hub, so that others have theirs: about 0.5 ms.
    static constexpr std::size_t drops_in_a_turn = 1024;
    /// For the figures: a put that was refused, or dropped, because the queue was full.
    void note_turned_away() noexcept { record_.turned_away.count(); }
    void note_dropped_newest() noexcept { record_.dropped_newest.count(); }
    /// Takes in a message that died in the segment of that identity, at most once. For the keeper's
    /// own member.
    [[nodiscard]] Keeping keep(const Letter& letter, std::uint64_t identity, std::int64_t now);
    /// Gives slot and extent back.
    void abandon(Reservation& reservation);

    // Consuming.

    /// Leases the next message (where each is handed out once at most: ends it, and lends it until
    /// ack(), nack() or reject(), which are the same then): redelivered ones first, else in the
    /// order of put. The lease ends its time after `now`, if leases of this queue end by time.
    [[nodiscard]] Got try_get(Lease& into, std::int64_t now = 0);
    /// For who comes to the end of what there is: whether nothing seems to stand behind the message
    /// that was leased last; how many were put so far; and to have the next ones at hand sooner.
    [[nodiscard]] bool is_last() const noexcept { return slots_.is_last(); }
    [[nodiscard]] std::uint64_t put_so_far() const noexcept {
        return segment_.control().fresh.tail.load();
    }
    void look_ahead() const noexcept { slots_.look_ahead(); }
    /// What is known of a message that died elsewhere; nothing for others. Lent as the message is.
    [[nodiscard]] std::optional<Letter> letter(const Lease& lease) const;
    /// Ends the lease and the message. False: stale lease; it was taken away and belongs to
    /// somebody else now.
    [[nodiscard]] bool ack(Lease& lease);
    /// Gives the message back, to be the next one delivered, or to stand behind all others. False:
    /// stale lease.
    [[nodiscard]] bool nack(Lease& lease, Turn turn = Turn::first);
    /// Takes back a try_get() whose message nobody has looked at: it is the next one delivered, and
    /// counts as not delivered; also where each is handed out once at most. False: stale lease.
    [[nodiscard]] bool untake(Lease& lease);
    /// The same as nack() with the message not to be had before `until`, on the clock of the
    /// keeper's sweeps.
    [[nodiscard]] bool nack_until(Lease& lease, std::int64_t until);
    /// Ends the message: nobody gets it any more. It becomes a dead letter where the queue keeps
    /// them. False: stale lease.
    [[nodiscard]] bool reject(Lease& lease);
    /// Moves the end of the lease, to `until` on the clock of try_get(). False: stale lease.
    [[nodiscard]] bool extend(const Lease& lease, std::int64_t until);
    /// Whether the lease is still ours.
    [[nodiscard]] bool holds(const Lease& lease) const noexcept;

    // Waiting: wait_table.hpp gives the protocol. arm(), try again, sleep on the doorbell,
    // disarm().

    /// The descriptor to sleep on, or -1 when all wait slots are taken. The first call that gets
    /// one claims it, for good.
    [[nodiscard]] int doorbell();
    /// Does nothing for who has no wait slot: he has to look again by himself.
    void arm(Interest interest, std::size_t bytes = 0);
    /// True if we were armed and a waker had chosen us: take what was announced, or pass_on().
    bool disarm(Interest interest);
    void pass_on(Interest interest);

 private:
    void check_size(std::size_t bytes) const;
    SlotRecord& checked(const Reservation& reservation) const;
    void describe(Lease& lease, std::int64_t now);
    /// Ends the lease, and on success keeps its pin, for let_go() or bury_own().
    [[nodiscard]] bool end(const Lease& lease, SlotWord after);
    void let_go(const Lease& lease);
    void bury_own(const Lease& lease, SlotWord retiring);
    /// It was taken away.
    void refuse(const Lease& lease);
    /// Of a message that ended when it was handed out: gives its memory back.
    [[nodiscard]] bool finish(Lease& lease);
    void mourn();
    /// Whether somebody wants to know when the queue becomes fuller than its high mark.
    [[nodiscard]] bool is_watched() const noexcept;
    void watch(std::uint64_t used_percent);
    void bury_expired(std::uint32_t slot, SlotWord after);
    struct Drop {
        std::uint64_t extent = 0;  // where its memory was
        bool is_free = false;      // its slot; else as soon as nobody reads any more
    };
    /// Drops the next one. Nothing: none is waiting.
    [[nodiscard]] std::optional<Drop> drop_next(Shortage missing);
    /// As Extents::take(). Tells who has to hear of it.
    [[nodiscard]] std::span<std::byte> take_extent(std::uint32_t slot, std::size_t bytes);
    /// Returns its sequence number.
    std::uint64_t describe(const Reservation& reservation, std::size_t size, std::size_t touched,
                           std::int64_t now);
    void published(Reservation& reservation, std::uint64_t sequence);
    Entered enter(Reservation& reservation, std::size_t size, std::size_t touched, MessageId id,
                  std::int64_t now, std::uint64_t window, const Letter* letter);
    void write_letter(SlotRecord& record, const Letter& letter);

    const green::detail::Home home_;
    Segment segment_;
    Owner owner_;
    WaitTable waits_;
    Chunks chunks_;
    Slots slots_;
    Extents extents_;
    Pins pins_;
    MemberRecord& record_;
    std::optional<unsigned> wait_slot_;
    bool has_asked_ = false;  // for one
    bool is_armed_[interests] = {};
};

}  // namespace green::ipc::shm
