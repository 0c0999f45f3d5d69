#include "sched/timers.hpp"

#include <algorithm>

namespace green::detail {

void Timers::let_go() noexcept {
    const auto forget = [](const TimerEntry& entry) { entry.timer->room = Timer::Room::none; };
    wheel_.drain(forget);
    due_.drain(forget);
    heap_.drain(forget);
    size_ = keeping_alive_ = 0;
}

void Timers::make_room() {
    const std::size_t room = std::max<std::size_t>(2 * room_, 16);
    wheel_.reserve(room);
    due_.reserve(room);
    heap_.reserve(room);
    room_ = room;
}

const TimerEntry* Timers::first_near() noexcept {
    const TimerEntry* listed = due_.front();
    const TimerEntry* heaped = heap_.front();
    if (listed == nullptr || heaped == nullptr) return listed != nullptr ? listed : heaped;
    return listed->before(*heaped) ? listed : heaped;
}

TimePoint Timers::nearest() noexcept {
    if (const TimerEntry* near = first_near()) return near->when;
    const TimePoint slot = wheel_.look_ahead(due_);
    const TimerEntry* first = due_.front();
    return first != nullptr ? first->when : slot;
}

void Timers::expire(TimePoint now) noexcept {
    // Timers started by those that fire here wait for the next turn, even when they are due: a
    // timer that restarts itself at once must not keep the hub in here.
    const std::uint64_t limit = next_sequence_;
    wheel_.advance(now, due_);
    while (const TimerEntry* first = first_near()) {
        if (first->when > now || first->sequence >= limit) break;
        Timer& timer = *first->timer;
        cancel(timer);
        timer.fire(timer);
    }
}

}  // namespace green::detail
