#pragma once

#include <list>
#include <utility>
#include <vector>

#include <green/thread_pool.hpp>
#include <green/thread_task.hpp>

#include "support/gate.hpp"

namespace tests {

/// A pool of which every thread is busy, until it is opened.
struct BusyPool {
    explicit BusyPool(green::ThreadPoolOptions options)
        : gates(options.max_threads), pool{options} {
        for (Gate& gate : gates) {
            tasks.push_back(pool.spawn([&gate] { gate.pass(); }));
            gate.entered.acquire();
        }
    }
    BusyPool(const BusyPool&) = delete;
    BusyPool& operator=(const BusyPool&) = delete;
    ~BusyPool() { open(); }
    void open() {
        if (std::exchange(opened, true)) return;
        for (Gate& gate : gates) gate.open.release();
    }

    bool opened = false;
    std::list<Gate> gates;  // which outlive the pool's threads
    green::ThreadPool pool;
    std::vector<green::ThreadTask<void>> tasks;
};

}  // namespace tests
