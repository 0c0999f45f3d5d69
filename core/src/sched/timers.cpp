#include "sched/timers.hpp"

#include <algorithm>

namespace green::detail {

void Timers::put(std::size_t position, const Entry& entry) noexcept {
    heap_[position] = entry;
    entry.timer->position = position;
}

void Timers::sift_up(std::size_t position, Entry entry) noexcept {
    while (position > 0) {
        const std::size_t parent = (position - 1) / 4;
        if (!entry.before(heap_[parent])) break;
        put(position, heap_[parent]);
        position = parent;
    }
    put(position, entry);
}

void Timers::sift_down(std::size_t position, Entry entry) noexcept {
    for (;;) {
        const std::size_t first = position * 4 + 1;
        if (first >= heap_.size()) break;
        const std::size_t last = std::min(first + 4, heap_.size());
        std::size_t least = first;
        for (std::size_t child = first + 1; child < last; ++child) {
            if (heap_[child].before(heap_[least])) least = child;
        }
        if (!heap_[least].before(entry)) break;
        put(position, heap_[least]);
        position = least;
    }
    put(position, entry);
}

void Timers::start(Timer& timer, TimePoint when, Timer::Fire fire) {
    cancel(timer);
    heap_.emplace_back();
    timer.when = when;
    timer.fire = fire;
    timer.sequence = next_sequence_++;
    if (timer.keeps_alive) ++keeping_alive_;
    sift_up(heap_.size() - 1, {when, timer.sequence, &timer});
}

void Timers::cancel(Timer& timer) noexcept {
    if (!timer.pending()) return;
    const std::size_t position = timer.position;
    timer.position = Timer::not_pending;
    if (timer.keeps_alive) --keeping_alive_;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (last.timer == &timer) return;
    if (position > 0 && last.before(heap_[(position - 1) / 4])) {
        sift_up(position, last);
    } else {
        sift_down(position, last);
    }
}

void Timers::expire(TimePoint now) noexcept {
    // Timers started by those that fire here wait for the next turn, even when they are due: a
    // timer that restarts itself at once must not keep the hub in here.
    const std::uint64_t limit = next_sequence_;
    while (!heap_.empty() && heap_[0].when <= now && heap_[0].sequence < limit) {
        Timer& timer = *heap_[0].timer;
        cancel(timer);
        timer.fire(timer);
    }
}

}  // namespace green::detail
