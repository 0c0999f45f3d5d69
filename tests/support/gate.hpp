#pragma once
// Helpers for tests with several threads.

#include <semaphore>
#include <thread>

namespace tests {

/// Keeps a thread busy until it is opened.
struct Gate {
    std::binary_semaphore entered{0};
    std::binary_semaphore open{0};
    void pass() {
        entered.release();
        open.acquire();
    }
};

/// Waits until other threads have made it so; blocks this thread, and with it its hub.
template <class Condition>
void until(Condition condition) {
    while (!condition()) std::this_thread::yield();
}

}  // namespace tests
