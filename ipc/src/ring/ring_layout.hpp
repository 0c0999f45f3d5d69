#pragma once
// Where everything lies in a ring's memory: docs/reference/ring.md describes the same bytes in
// prose. One process writes, another one reads.
//
//  R1  Both indexes count bytes since the ring was made and only grow; a byte's place is its index
//      modulo the capacity. The data is mapped twice, back to back, so that a record that passes
//      the end is in one piece all the same.
//  R2  What stands between head and tail is whole records. The writer moves the tail with one
//      release store, when a record is complete: of a writer that died in the middle nothing is
//      seen.
//  R3  The reader moves the head past records that it is done with, in steps of half the
//      ring, and whenever it finds nothing more: until then a record stays where it is, however
//      long somebody reads in it. A record takes up half of the ring at most, so that a writer who
//      waits for room always hears of it.
//  R4  Who is about to sleep says so in its flag, and then looks once more, with a full fence
//      between. Who has moved head or tail looks at the other's flag, with a full fence between
//      or by a store that no later load overtakes.
//      So at least one of the two sees the other's change, and nobody sleeps over a record or over
//      room. The flag is the number of the sleep, which no other one of that side ever had. Who
//      finds one rings, and then takes that number back: one bell for each sleep, and if he dies
//      between the two, one too many.
//  R5  Each side writes its own line only, but for the flags. What the other side wrote is checked
//      before it is used, each time: it may be anything.

#include <cstddef>
#include <cstdint>

#include "shm/word.hpp"

namespace green::ipc::ring {

using shm::Word;

inline constexpr std::uint64_t magic = 0x31474e4952475347;  // "GSGRING1" in memory
inline constexpr std::uint32_t version = 3;
inline constexpr std::size_t line = 128;  // two cache lines: x86 fetches them in pairs
inline constexpr std::size_t header_bytes = 4096;
inline constexpr std::size_t smallest = 4096;  // bytes of data; a power of two
inline constexpr std::size_t largest = std::size_t{1} << 30;
inline constexpr std::size_t granule = 8;  // records begin at multiples of it, as Cap'n Proto wants

struct Header {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t reserved;
    std::uint64_t capacity;  // bytes of data

    struct alignas(line) Writer {
        Word tail;
        Word processor;  // where it was when it last went to sleep, or began
        Word closes;  // how often a copy of this side was closed: a hint to look whether it was the
                      // last
    } writer;
    struct alignas(line) Reader {
        Word head;
        Word processor;
        Word closes;
    } reader;
    /// The number of a side's present sleep; 0: it does not sleep.
    struct alignas(line) Flag {
        Word sleep;
        Word last;  // of the side's sleeps: an end that has travelled counts on
    };
    Flag reader_sleeps;
    Flag writer_sleeps;
};
static_assert(sizeof(Header) <= header_bytes);
static_assert(offsetof(Header, writer) == 128 && offsetof(Header, reader) == 256 &&
              offsetof(Header, reader_sleeps) == 384 && offsetof(Header, writer_sleeps) == 512);

enum class Kind : std::uint8_t {
    here,       // the payload follows
    elsewhere,  // it is in a sealed memfd, the first of the record's descriptors
    hello,      // as here; the payload is the schema of those that follow
    lent,       // it is in a file that both keep, the first of the record's descriptors
    again,      // it is in that file of this place which came last
};
/// The payload is not in the ring.
[[nodiscard]] constexpr bool is_beside(Kind kind) noexcept {
    return kind != Kind::here && kind != Kind::hello;
}

/// Stands before each payload.
struct RecordHeader {
    std::uint32_t bytes;  // of the payload, wherever it is
    Kind kind;
    std::uint8_t place = 0;         // of a file that is kept
    std::uint16_t descriptors = 0;  // that were sent over the socket for it
};
static_assert(sizeof(RecordHeader) == granule);

/// What a record with such a payload takes up.
[[nodiscard]] constexpr std::size_t footprint(std::size_t payload) noexcept {
    return sizeof(RecordHeader) + (payload + granule - 1) / granule * granule;
}

}  // namespace green::ipc::ring
