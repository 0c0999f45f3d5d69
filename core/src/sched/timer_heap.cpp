#include "sched/timer_heap.hpp"

#include <algorithm>

namespace green::detail {

void TimerHeap::put(std::size_t position, const TimerEntry& entry) noexcept {
    heap_[position] = entry;
    entry.timer->index = static_cast<std::uint32_t>(position);
}

void TimerHeap::sift_up(std::size_t position, TimerEntry entry) noexcept {
    while (position > 0) {
        const std::size_t parent = (position - 1) / 4;
        if (!entry.before(heap_[parent])) break;
        put(position, heap_[parent]);
        position = parent;
    }
    put(position, entry);
}

void TimerHeap::sift_down(std::size_t position, TimerEntry entry) noexcept {
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

void TimerHeap::insert(const TimerEntry& entry) noexcept {
    entry.timer->room = Timer::Room::heap;
    heap_.emplace_back();
    sift_up(heap_.size() - 1, entry);
}

void TimerHeap::remove(Timer& timer) noexcept {
    timer.room = Timer::Room::none;
    const std::size_t position = timer.index;
    const TimerEntry last = heap_.back();
    heap_.pop_back();
    if (last.timer == &timer) return;
    if (position > 0 && last.before(heap_[(position - 1) / 4])) {
        sift_up(position, last);
    } else {
        sift_down(position, last);
    }
}

}  // namespace green::detail
