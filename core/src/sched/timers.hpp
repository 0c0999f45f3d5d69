#pragma once
// Every deadline of a hub, nearest first: a 4-ary heap whose elements know their place, so that
// cancelling one needs no search. The reactor only ever hears the nearest.

#include <cstddef>
#include <vector>

#include <green/detail/timer.hpp>

namespace green::detail {

class Timers {
 public:
    /// Throws std::bad_alloc, and then nothing has changed.
    void start(Timer& timer, TimePoint when, Timer::Fire fire);
    void cancel(Timer& timer) noexcept;

    /// The nearest deadline, TimePoint::max() without any.
    [[nodiscard]] TimePoint nearest() const noexcept {
        return heap_.empty() ? TimePoint::max() : heap_[0].when;
    }
    [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }
    /// Those that keep the hub alive.
    [[nodiscard]] std::size_t keeping_alive() const noexcept { return keeping_alive_; }

    /// Fires all whose deadline is not after `now`, the earliest first.
    void expire(TimePoint now) noexcept;

 private:
    // The key stands beside the pointer: a comparison touches no timer's own memory.
    struct Entry {
        TimePoint when;
        std::uint64_t sequence;
        Timer* timer;
        [[nodiscard]] bool before(const Entry& other) const noexcept {
            return when != other.when ? when < other.when : sequence < other.sequence;
        }
    };

    void put(std::size_t position, const Entry& entry) noexcept;
    void sift_up(std::size_t position, Entry entry) noexcept;
    void sift_down(std::size_t position, Entry entry) noexcept;

    std::vector<Entry> heap_;
    std::uint64_t next_sequence_ = 0;
    std::size_t keeping_alive_ = 0;
};

}  // namespace green::detail
