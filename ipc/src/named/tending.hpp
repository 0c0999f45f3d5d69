#pragma once
// The greenlet that keeps a queue in time, in the process that has its keeper.

#include <green/deadline.hpp>

namespace green::ipc {

namespace shm {
class Keeper;
}

/// Sweeps the queue whenever something falls due, until it is killed; keeps no hub alive. Sleeps in
/// the queue's own table of sleepers, so that nobody looks at a queue in which nothing will happen.
/// For a greenlet of its own. Borrows the keeper. Switches.
void tend(shm::Keeper& keeper);

/// Waits until no message is left in the queue. Switches. Returns false once `deadline` has passed.
bool wait_until_empty(shm::Keeper& keeper, Deadline deadline);

}  // namespace green::ipc
