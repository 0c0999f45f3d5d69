#pragma once
// Stretches of a greenlet in which it is not interrupted, or in which nobody switches.

#include <green/detail/task.hpp>

namespace green {

/// A stretch in which nobody may switch: a waiting call inside throws BlockingInHub. Nests. In a
/// thread that can have no hub nobody waits anyway, and it does nothing.
class NoSwitch {
 public:
    explicit NoSwitch(const char* why) noexcept;
    NoSwitch(const NoSwitch&) = delete;
    NoSwitch& operator=(const NoSwitch&) = delete;
    ~NoSwitch();

 private:
    detail::Hub* hub_;
    const char* outer_ = nullptr;
};

/// Holds off kills and timeouts of the current greenlet until it is left: for clean-up that has to
/// wait. They are delivered at the first suspension point after it. Give the waits inside a
/// deadline of their own. Nests. In a thread that can have no hub there is nothing to hold off.
class Shield {
 public:
    Shield() noexcept;
    Shield(const Shield&) = delete;
    Shield& operator=(const Shield&) = delete;
    ~Shield();

 private:
    detail::Task* task_;
};

}  // namespace green
