#pragma once

#include <green/lock.hpp>

namespace green::ipc {

/// Gives a permit back, however the scope is left.
struct Turn {
    explicit Turn(Semaphore& semaphore) noexcept : permits{&semaphore} {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { permits->release(); }
    Semaphore* permits;
};

}  // namespace green::ipc
