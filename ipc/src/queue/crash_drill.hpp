#pragma once
// Drills: a process that dies at a crash point of its own accord, when the environment says so.

namespace green::ipc::shm {

/// Reads GREEN_CRASH_POINTS once, for example "get.done=200,ack.done=500": each time the process
/// passes the point it dies by SIGKILL with a chance of one in that many. GREEN_CRASH_LOG names a
/// file that first gets a line with the point and the pid. Without the variable nothing is armed.
/// Throws UsageError for a point that does not exist.
void arm_drill();

}  // namespace green::ipc::shm
