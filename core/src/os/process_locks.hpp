#pragma once
// The locks of the whole process. A fork() takes them all first: no other thread goes on in its
// child, which so finds them free, and what they guard whole. No thread takes two of them.

#include <mutex>

namespace green::detail {

struct ProcessLocks {
    std::mutex log;
    std::mutex signals;  // what the process does with a signal
    /// For the hooks of all cells: greenlets of several threads may have values of one local. A
    /// lock of each local would be gone when a greenlet of another thread, which ends just now,
    /// wants it.
    std::mutex locals;

    void lock() {
        log.lock();
        signals.lock();
        locals.lock();
    }
    void unlock() noexcept {
        locals.unlock();
        signals.unlock();
        log.unlock();
    }
};

inline constinit ProcessLocks process_locks;

}  // namespace green::detail
