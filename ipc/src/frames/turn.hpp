#pragma once

#include <green/lock.hpp>

namespace green::ipc {

/// Gives a permit back, however the scope is left, unless it is kept.
struct Turn {
    explicit Turn(Semaphore& semaphore) noexcept : permits{&semaphore} {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
        if (permits != nullptr) permits->release();
    }
    void keep() noexcept { permits = nullptr; }
    Semaphore* permits;
};

}  // namespace green::ipc
