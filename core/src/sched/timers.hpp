#pragma once
// Every deadline of a hub. Far ones stand in a wheel, near ones in an array in the order in which
// they will fire; those that are started when the array has been made already stand in a heap
// beside it. The reactor only ever hears the nearest.

#include <cstddef>

#include <green/detail/timer.hpp>

#include "sched/timer_due.hpp"
#include "sched/timer_heap.hpp"
#include "sched/timer_wheel.hpp"

namespace green::detail {

class Timers {
 public:
    explicit Timers(TimePoint now = TimePoint{}) noexcept : wheel_{now} {}
    Timers(const Timers&) = delete;
    Timers& operator=(const Timers&) = delete;
    ~Timers() { let_go(); }
    /// None is pending any more: at its end some may outlive it, and in a forked child it is the
    /// parent's.
    void let_go() noexcept;

    /// Throws std::bad_alloc, and then it is not pending.
    void start(Timer& timer, TimePoint when, Timer::Fire fire) {
        cancel(timer);
        if (size_ == room_) [[unlikely]]
            make_room();
        timer.fire = fire;
        const TimerEntry entry{when, next_sequence_++, &timer};
        if (wheel_.takes(when)) {
            wheel_.insert(entry);
        } else {
            heap_.insert(entry);
        }
        ++size_;
        keeping_alive_ += timer.keeps_alive;
    }
    void cancel(Timer& timer) noexcept {
        switch (timer.room) {
            case Timer::Room::none:
                return;
            case Timer::Room::wheel:
                wheel_.remove(timer);
                break;
            case Timer::Room::due:
                due_.remove(timer);
                break;
            case Timer::Room::heap:
                heap_.remove(timer);
                break;
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
    /// In every place where a timer may come to stand: starting one is all that can fail.
    void make_room();
    [[nodiscard]] const TimerEntry* first_near() noexcept;

    TimerWheel wheel_;
    DueTimers due_;
    TimerHeap heap_;
    std::uint64_t next_sequence_ = 0;
    std::size_t size_ = 0;
    std::size_t room_ = 0;
    std::size_t keeping_alive_ = 0;
};

}  // namespace green::detail
