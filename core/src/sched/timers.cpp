#include "sched/timers.hpp"

namespace green::detail {

Timer* Timers::first_near() noexcept {
    Timer* listed = due_.empty() ? nullptr : &due_.front();
    if (heap_.empty()) return listed;
    Timer& heaped = heap_.front();
    return listed != nullptr && listed->before(heaped) ? listed : &heaped;
}

TimePoint Timers::nearest() noexcept {
    if (const Timer* near = first_near()) return near->when;
    const TimePoint slot = wheel_.look_ahead(due_);
    return due_.empty() ? slot : due_.front().when;
}

void Timers::expire(TimePoint now) noexcept {
    // Timers started by those that fire here wait for the next turn, even when they are due: a
    // timer that restarts itself at once must not keep the hub in here.
    const std::uint64_t limit = next_sequence_;
    wheel_.advance(now, due_);
    while (Timer* timer = first_near()) {
        if (timer->when > now || timer->sequence >= limit) break;
        cancel(*timer);
        timer->fire(*timer);
    }
}

}  // namespace green::detail
