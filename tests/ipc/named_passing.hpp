#pragma once
// To wait until somebody in this process comes by a named point of a queue.

#include <green/deadline.hpp>
#include <green/event.hpp>

#include "queue/crash_point.hpp"

namespace tests {

class Passing {
 public:
    explicit Passing(green::ipc::shm::CrashPoint point) {
        point_ = point;
        passed_ = &event_;
        green::ipc::shm::crash_hook = [](green::ipc::shm::CrashPoint here) {
            if (here == point_) passed_->set();
        };
    }
    Passing(const Passing&) = delete;
    Passing& operator=(const Passing&) = delete;
    ~Passing() { green::ipc::shm::crash_hook = nullptr; }

    /// False: nobody has.
    [[nodiscard]] bool wait(green::Deadline deadline) { return event_.wait(deadline); }

 private:
    static inline green::ipc::shm::CrashPoint point_{};
    static inline green::Event* passed_ = nullptr;
    green::Event event_;
};

}  // namespace tests
