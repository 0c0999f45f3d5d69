#pragma once
// Looking at a segment without touching it: figures for `greensup status`, and the full account for
// tests and for whoever suspects damage.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "segment.hpp"

namespace green::ipc::shm {

/// Taken while others go on, so the parts are each true but not of one instant. The totals miss one
/// step per kill at most: they are counted by those who do the work.
struct Status {
    std::uint64_t generation = 0;
    std::uint64_t free = 0, reserved = 0, ready = 0, leased = 0, retiring = 0, zombie = 0, dead = 0,
                  delayed = 0;
    std::uint64_t bytes = 0;  // of the messages that are ready, leased or delayed
    std::uint64_t put = 0, delivered = 0, redelivered = 0, acked = 0, returned = 0, refused = 0;
    std::uint64_t expired = 0;     // leases
    std::uint64_t rejected = 0;    // and not kept: there are no dead letters
    std::uint64_t duplicates = 0;  // puts that were accepted and dropped
    std::uint64_t died = 0;        // of age, and not kept
    std::uint64_t turned_away = 0, dropped_oldest = 0, dropped_newest = 0;
    std::uint64_t moved = 0;            // to the dead letters
    bool is_high = false;               // see Settings::high
    std::vector<std::uint32_t> leases;  // of each owner, from 1 on
    std::uint64_t oldest_sequence = 0;  // of those that `bytes` counts; 0: none
    std::uint64_t last_sequence = 0;
    std::int64_t oldest_put_time = 0;
};

/// Calls `breathe`, if there is one, now and then, where who counts may do something else. What
/// changes its place while slots are looked at, or between that and the counts, may be counted
/// twice or not at all: given back, put, acked, moved to the dead letters, ended by age.
[[nodiscard]] Status status(const Segment& segment, const std::function<void()>& breathe = {});

/// Whether no message is in the slot or on its way into it, for anybody to get; the dead do not
/// count.
[[nodiscard]] bool is_empty(const SlotRecord& slot) noexcept;
/// Whether all slots are so. Calls `breathe`, if there is one, now and then, where who looks may do
/// something else.
[[nodiscard]] bool empty(const Segment& segment, const std::function<void()>& breathe = {});

/// What somebody may still get, or is about to put.
struct Left {
    std::uint64_t soon = 0;   // until the time that was asked about
    std::uint64_t later = 0;  // given back for a time after it
};

/// Calls `breathe` now and then, where who counts may do something else.
[[nodiscard]] Left left_until(const Segment& segment, std::int64_t deadline,
                              const std::function<void()>& breathe);

/// Where every byte of the payload is.
struct Space {
    std::uint64_t free = 0;  // in FREE chunks
    std::uint64_t live = 0;  // in extents
    std::uint64_t idle = 0;  // in chunks that are taken: given back already, or not yet given out
    std::uint64_t total = 0;
};

[[nodiscard]] Space space(const Segment& segment);

/// Everything that contradicts the protocol, as sentences; empty is good. Exact only while nobody
/// works on the queue and every death has been repaired.
[[nodiscard]] std::vector<std::string> audit(const Segment& segment);

}  // namespace green::ipc::shm
