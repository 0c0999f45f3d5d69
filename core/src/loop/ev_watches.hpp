#pragma once
// What libev watches: times of the wall clock, and files.

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <ev.h>

#include "loop/reactor.hpp"

namespace green::detail {

/// A libev loop of its own (never the default loop, which would reap every child of the process),
/// made by the first watch, and run only while there is one. What else there is to wait for lies in
/// an epoll set that it watches as one descriptor.
class EvWatches {
 public:
    EvWatches() noexcept = default;
    EvWatches(const EvWatches&) = delete;
    EvWatches& operator=(const EvWatches&) = delete;
    ~EvWatches() { end(); }

    // They throw std::system_error, std::bad_alloc.
    [[nodiscard]] std::unique_ptr<Watch> wall_clock(int others,
                                                    std::chrono::system_clock::time_point at,
                                                    Duration interval,
                                                    std::function<void()> report);
    [[nodiscard]] std::unique_ptr<Watch> file(int others, const std::string& path,
                                              Duration interval, FileSnapshots& seen,
                                              std::function<void()> report);

    [[nodiscard]] bool active() const noexcept { return active_ > 0; }
    /// Until it has reported something, or the others have something to report, or that time.
    void wait(TimePoint until) noexcept;
    /// At its end, and for a forked child's copy of it, which is not used any more.
    void end() noexcept;

 private:
    class Kept;
    class WallClock;
    class File;

    struct ev_loop* loop(int others);
    void register_now() noexcept;

    struct ev_loop* loop_ = nullptr;
    int active_ = 0;
    ev_io others_{};
    ev_timer timer_{};
};

}  // namespace green::detail
