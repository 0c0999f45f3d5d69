#pragma once
// Where everything lies in a queue's segment. docs/reference/queue-segment.md describes the same
// bytes in prose.
//
// A file full of zeros behind a valid header is a legal segment with nothing in it, but for the
// ring of free slots, which Keeper::recover() fills. All else is reached by index and every index
// is checked before use.

#include <cstddef>
#include <cstdint>
#include <string>

#include "shm/word.hpp"

namespace green::ipc::shm {

/// Who holds what: the supervisor numbers its workers from 1. 0 is nobody, or the keeper itself.
using Owner = std::uint32_t;
inline constexpr Owner nobody = 0;
inline constexpr Owner max_owner = 4095;

inline constexpr std::size_t line =
    128;  // two cache lines: the prefetcher of x86 fetches them in pairs
inline constexpr std::uint64_t unit = 64;  // extents begin and end on multiples of it
inline constexpr std::uint64_t max_slots = 1u << 20;
inline constexpr std::uint64_t max_chunks = 1u << 20;
inline constexpr std::uint64_t max_dedup_ids = 1u << 24;
inline constexpr std::uint64_t max_run = 1u << 14;  // chunks in one extent
inline constexpr std::uint64_t max_units = 512;     // in one chunk
inline constexpr unsigned wait_words = 4;           // of 64 wait slots each

/// What is decided when a queue is made.
struct Config {
    std::uint64_t schema_id = 0;  // Cap'n Proto type id; 0: bytes
    std::uint64_t payload_bytes = 64u << 20;
    std::uint64_t max_message = 1u << 20;
    std::uint32_t capacity = 65536;  // messages: queued, leased and being built together
    std::uint32_t members = 256;     // owners are 1..members
    std::uint32_t pins = 128;        // leases that one member can hold at a time
    std::uint32_t wait_slots = 64;
    std::uint64_t dedup_ids = 8192;  // how many ids are remembered; 0: none

    /// The largest message that payload of this size can take in.
    [[nodiscard]] std::uint64_t largest_message() const noexcept;
    /// What is wrong with these figures, as a sentence part, or an empty string.
    [[nodiscard]] std::string problem() const;
    friend bool operator==(const Config&, const Config&) = default;
};

/// What a producer meets in a full queue: he waits, is told so, or something is dropped.
enum class WhenFull : std::uint8_t { block = 0, reject = 1, drop_oldest = 2, drop_newest = 3 };

/// What may change while the queue is in use. Times are nanoseconds.
struct Settings {
    std::uint64_t lease = 30'000'000'000;  // 0: a lease ends with its holder only
    std::uint64_t max_deliveries = 0;      // then the message is dead; 0: there is no limit
    bool has_dead_letter = false;          // what dies is kept, to be moved
    std::uint64_t dedup_window = 120'000'000'000;
    std::uint64_t time_to_live = 0;  // of a message from its put on; 0: for ever
    std::uint64_t max_message = 0;   // less than what the segment was made for; 0: that
    WhenFull when_full = WhenFull::block;
    bool at_most_once = false;  // a message ends when it is handed out, not when it is acked
    std::uint64_t high = 0;     // percent of the queue in use at which it counts as high; 0: never
    std::uint64_t low = 0;      // and at which it does not any more

    friend bool operator==(const Settings&, const Settings&) = default;
};

inline constexpr std::uint64_t segment_magic = 0x3145554555514e47;  // "GNQUEUE1" in memory
inline constexpr std::uint32_t segment_version = 10;
/// The earliest one with slots of the same meaning in the same place.
inline constexpr std::uint32_t first_alike_version = 8;

/// The first bytes of the file. Written once, before the file gets its name; never changed.
struct Header {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t header_bytes;
    std::uint64_t total_bytes;
    Config config;
    std::uint64_t identity;  // of this segment and no other, whatever its name
    std::uint64_t spare[15];
    std::uint64_t checksum;  // of all bytes before it
};

/// The two ends of a ring, each alone on its line: consumers pull at one, producers push at the
/// other.
struct RingEnds {
    alignas(line) Word head;
    alignas(line) Word tail;
    Word sequence;  // the number of the last message put; only the ring of fresh messages counts
};

/// Who sleeps, one bit per wait slot; a waker reads this and nothing else when nobody does.
struct alignas(line) Sleepers {
    Word bits[wait_words];
    Word cursor;  // where the last waker stopped; a hint that makes waking fair
};
inline constexpr unsigned interests = 4;

struct Control {
    alignas(line) Word generation;  // 1 at birth, one more with each recovery
    Word repairs;
    Word expired;  // leases that the keeper took away because their time was over
    Word died;     // messages whose time was over, ended by the keeper and not kept
    Word moved;    // messages that he has moved to the dead letters
    Word boot[2];  // the start of the machine in which this was recovered last
    Word clock;    // what the segment's clock said when the keeper looked last
    // Read by everybody all the time and seldom written.
    alignas(line) Word lease;  // Settings
    Word max_deliveries;
    Word has_dead_letter;
    Word dedup_window;
    Word time_to_live;
    Word max_message;
    Word when_full;
    Word at_most_once;
    Word high;
    Word is_high;
    Word is_closed;  // nothing is put any more
    Word due;        // when the keeper has to look again; 0: never
    Word slot_due;   // and at all slots
    Word shift;      // the segment's clock less the machine's; changes in recovery only
    RingEnds fresh;  // READY, never delivered
    RingEnds again;  // READY once more: goes first
    RingEnds free;   // FREE
    Sleepers sleepers[interests];
};

/// One message. `state` decides over all else here: who holds the slot by it may write the rest.
struct alignas(line) SlotRecord {
    Word state;   // slot.hpp
    Word extent;  // chunks.hpp
    Word size;    // bytes of the message
    Word sequence;
    Word put_time;  // nanoseconds of the caller's clock; 0: not told
    Word first_get_time;
    Word not_before;  // slot.hpp; of a DELAYED one
    Word expires;     // when its time is over; 0: never

    // Seldom looked at, so it has a line of its own and is not cleared for each message.
    Word about;        // the sequence number of the message that the next words are about
    Word killers[4];   // pids that died with it in hand
    Word letter;       // letter.hpp; 0: it is none
    Word dedup_id[2];  // of the put that is on its way, or was
};
static_assert(sizeof(SlotRecord) == line);

/// One message that a member has in hand, or is about to take. Written by the member, but for
/// `until`, which the keeper may set to `over`.
struct PinRecord {
    Word what;   // pins.hpp; 0: nothing
    Word until;  // when the lease ends
};

/// A piece of payload memory. Written by its owner alone while he fills it; what others write, the
/// count of units given back, lies apart so that producer and consumer do not pull one line to and
/// fro.
struct alignas(64) ChunkRecord {
    Word state;  // chunks.hpp
    Word dirty;  // bytes from here on are zero
    Word spare[6];
};

/// One participant. The counters have one writer, the participant, and go on when the number gets a
/// new one.
struct alignas(line) MemberRecord {
    Word pid;         // 0: the number is free
    Word start_time;  // field 22 of /proc/PID/stat, or 0
    Word pins_used;   // entries of its pin table that were ever used
    Word put;
    Word delivered;
    Word redelivered;  // those of `delivered` that were not the first
    Word acked;
    Word returned;
    Word refused;         // late acks and nacks
    Word buried;          // messages that died by this member's hand, and are kept
    Word rejected;        // those that were not
    Word duplicates;      // puts that were accepted and dropped
    Word died;            // messages whose time was over, ended by this member and not kept
    Word turned_away;     // puts that were refused because the queue was full
    Word dropped_oldest;  // messages that were dropped for newer ones
    Word dropped_newest;  // puts that were dropped because the queue was full
};
static_assert(sizeof(MemberRecord) == line);

struct alignas(line) WaitRecord {
    Word owner;
    Word wanted_bytes;  // while it sleeps for memory
    Word woken;
};

/// Offsets and counts that follow from the configuration.
struct Geometry {
    std::uint64_t chunk_bytes, chunk_units, chunk_count, busy_words, ring_cells;
    std::uint64_t control, slots, fresh, again, free, chunks, freed, busy, entries, members, pins,
        waits, dedup, dedup_buckets, payload, total;

    explicit Geometry(const Config& config) noexcept;
};

/// The checksum of the header: FNV-1a, enough against accidents and not meant for more.
[[nodiscard]] std::uint64_t checksum_of(const Header& header) noexcept;

}  // namespace green::ipc::shm
