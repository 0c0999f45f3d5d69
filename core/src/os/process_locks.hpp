#pragma once
// The locks of the whole process. A fork() takes them all first: no other thread goes on in its
// child, which so finds them free, and what they guard whole. No thread takes two of them.

#include <mutex>

namespace green::detail {

struct ProcessLocks {
    std::mutex signals;  // what the process does with a signal

    void lock() { signals.lock(); }
    void unlock() noexcept { signals.unlock(); }
};

inline constinit ProcessLocks process_locks;

}  // namespace green::detail
