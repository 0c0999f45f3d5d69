#pragma once
// A full fence that one process makes for others (membarrier(2)): of two who each store one word
// and then load the other's, the one to whom it happens seldom pays for both.

namespace green::ipc::shm {

/// From now on what fence_everywhere() of any process does reaches this one. Returns false where
/// the system refuses.
[[nodiscard]] bool take_part_in_fences() noexcept;

/// When it returns true, this thread has made a full fence, and so has each thread of a process
/// that takes part, at some moment since it was called. False: the system refuses, and nobody has.
[[nodiscard]] bool fence_everywhere() noexcept;

}  // namespace green::ipc::shm
