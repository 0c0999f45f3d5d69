#pragma once
// Every deadline of a hub. Far ones stand in a wheel, near ones in a list in the order in which
// they will fire; those that are started when the list has been made already stand in a heap beside
// it. The reactor only ever hears the nearest.

#include <cstddef>

#include <green/detail/timer.hpp>

#include "sched/timer_heap.hpp"
#include "sched/timer_wheel.hpp"

namespace green::detail {

class Timers {
 public:
    explicit Timers(TimePoint now = TimePoint{}) noexcept : wheel_{now} {}

    /// Throws std::bad_alloc, and then it is not pending.
    void start(Timer& timer, TimePoint when, Timer::Fire fire) {
        cancel(timer);
        timer.when = when;
        timer.fire = fire;
        timer.sequence = next_sequence_++;
        if (wheel_.takes(when)) {
            wheel_.insert(timer);
        } else {
            heap_.insert(timer);
        }
        ++size_;
        keeping_alive_ += timer.keeps_alive;
    }
    void cancel(Timer& timer) noexcept {
        if (!timer.pending()) return;
        if (timer.linked()) {
            timer.unlink();
        } else {
            heap_.remove(timer);
        }
        --size_;
        keeping_alive_ -= timer.keeps_alive;
    }

    /// When to look again: the nearest deadline, or some time before it when it is far.
    /// TimePoint::max() without any.
    [[nodiscard]] TimePoint nearest() noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Those that keep the hub alive.
    [[nodiscard]] std::size_t keeping_alive() const noexcept { return keeping_alive_; }

    /// Fires all whose deadline is not after `now`, the earliest first.
    void expire(TimePoint now) noexcept;

 private:
    [[nodiscard]] Timer* first_near() noexcept;

    TimerWheel wheel_;
    IntrusiveList<Timer> due_;
    TimerHeap heap_;
    std::uint64_t next_sequence_ = 0;
    std::size_t size_ = 0;
    std::size_t keeping_alive_ = 0;
};

}  // namespace green::detail
