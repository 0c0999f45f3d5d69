#pragma once
// Named places between two steps of the protocol, where a test can end the process. Each is one
// load of a global that is null in production, and a branch that is never taken.
//
// The list is the enumeration: a point that is not in it does not compile, and the tests walk all
// of it.

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace green::ipc::shm {

#define GREEN_QUEUE_CRASH_POINTS(X)               \
    X(attach_registered, "attach.registered")     \
    X(reserve_claimed, "reserve.claimed")         \
    X(reserve_done, "reserve.done")               \
    X(chunk_marked, "chunk.marked")               \
    X(chunk_taken, "chunk.taken")                 \
    X(chunk_retired, "chunk.retired")             \
    X(chunk_freed, "chunk.freed")                 \
    X(extent_chosen, "extent.chosen")             \
    X(extent_claimed, "extent.claimed")           \
    X(extent_referenced, "extent.referenced")     \
    X(extent_live, "extent.live")                 \
    X(extent_freed, "extent.freed")               \
    X(extent_forgotten, "extent.forgotten")       \
    X(run_head_taken, "run.head_taken")           \
    X(run_part_taken, "run.part_taken")           \
    X(run_part_freed, "run.part_freed")           \
    X(run_head_freed, "run.head_freed")           \
    X(grow_released, "grow.released")             \
    X(put_numbered, "put.numbered")               \
    X(dedup_taken, "dedup.taken")                 \
    X(dedup_claimed, "dedup.claimed")             \
    X(dedup_revoked, "dedup.revoked")             \
    X(dedup_restored, "dedup.restored")           \
    X(dedup_dropped, "dedup.dropped")             \
    X(put_published, "put.published")             \
    X(put_queued, "put.queued")                   \
    X(put_announced, "put.announced")             \
    X(ring_filled, "ring.filled")                 \
    X(ring_claimed, "ring.claimed")               \
    X(ring_cleared, "ring.cleared")               \
    X(get_pinned, "get.pinned")                   \
    X(get_leased, "get.leased")                   \
    X(get_expired, "get.expired")                 \
    X(drop_committed, "drop.committed")           \
    X(get_done, "get.done")                       \
    X(ack_unpinned, "ack.unpinned")               \
    X(ack_committed, "ack.committed")             \
    X(ack_haunted, "ack.haunted")                 \
    X(ack_exorcised, "ack.exorcised")             \
    X(ack_slot_freed, "ack.slot_freed")           \
    X(ack_done, "ack.done")                       \
    X(lease_extended, "lease.extended")           \
    X(nack_returned, "nack.returned")             \
    X(nack_done, "nack.done")                     \
    X(nack_returning, "nack.returning")           \
    X(nack_checked, "nack.checked")               \
    X(nack_timed, "nack.timed")                   \
    X(nack_delayed, "nack.delayed")               \
    X(reject_buried, "reject.buried")             \
    X(reject_committed, "reject.committed")       \
    X(wait_claimed, "wait.claimed")               \
    X(wait_armed, "wait.armed")                   \
    X(wake_chosen, "wake.chosen")                 \
    X(leave_begun, "leave.begun")                 \
    X(leave_done, "leave.done")                   \
    X(repair_begun, "repair.begun")               \
    X(repair_unpinned, "repair.unpinned")         \
    X(repair_slot, "repair.slot")                 \
    X(repair_killer, "repair.killer")             \
    X(repair_slots_done, "repair.slots_done")     \
    X(repair_unclaimed, "repair.unclaimed")       \
    X(repair_zombies_done, "repair.zombies_done") \
    X(repair_chunk_seen, "repair.chunk_seen")     \
    X(repair_chunk, "repair.chunk")               \
    X(repair_chunks_done, "repair.chunks_done")   \
    X(repair_cell, "repair.cell")                 \
    X(repair_rings_done, "repair.rings_done")     \
    X(repair_waits_done, "repair.waits_done")     \
    X(repair_woken, "repair.woken")               \
    X(sweep_begun, "sweep.begun")                 \
    X(sweep_ended, "sweep.ended")                 \
    X(sweep_returned, "sweep.returned")           \
    X(sweep_due, "sweep.due")                     \
    X(sweep_expired, "sweep.expired")             \
    X(dead_moved, "dead.moved")                   \
    X(dead_buried, "dead.buried")                 \
    X(sweep_pass, "sweep.pass")                   \
    X(recover_begun, "recover.begun")             \
    X(recover_slot, "recover.slot")               \
    X(recover_slots_done, "recover.slots_done")   \
    X(recover_chunk, "recover.chunk")             \
    X(recover_ring_empty, "recover.ring_empty")   \
    X(recover_ring_filled, "recover.ring_filled") \
    X(recover_done, "recover.done")

enum class CrashPoint : std::uint8_t {
#define GREEN_QUEUE_ENUMERATOR(name, text) name,
    GREEN_QUEUE_CRASH_POINTS(GREEN_QUEUE_ENUMERATOR)
#undef GREEN_QUEUE_ENUMERATOR
};

inline constexpr const char* crash_point_names[] = {
#define GREEN_QUEUE_NAME(name, text) text,
    GREEN_QUEUE_CRASH_POINTS(GREEN_QUEUE_NAME)
#undef GREEN_QUEUE_NAME
};
inline constexpr std::size_t crash_point_count =
    sizeof crash_point_names / sizeof *crash_point_names;

using CrashHook = void (*)(CrashPoint);
inline std::atomic<CrashHook> crash_hook{nullptr};

inline void crash_point(CrashPoint point) {
    if (const CrashHook hook = crash_hook.load(std::memory_order_relaxed)) [[unlikely]]
        hook(point);
}

}  // namespace green::ipc::shm
