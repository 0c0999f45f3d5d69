#include "sched/timer_heap.hpp"

#include <algorithm>
#include <utility>

namespace green::detail {

void TimerHeap::put(std::size_t position, const Entry& entry) noexcept {
    heap_[position] = entry;
    entry.timer->position = position;
}

void TimerHeap::sift_up(std::size_t position, Entry entry) noexcept {
    while (position > 0) {
        const std::size_t parent = (position - 1) / 4;
        if (!entry.before(heap_[parent])) break;
        put(position, heap_[parent]);
        position = parent;
    }
    put(position, entry);
}

void TimerHeap::sift_down(std::size_t position, Entry entry) noexcept {
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

void TimerHeap::insert(Timer& timer) {
    heap_.emplace_back();
    sift_up(heap_.size() - 1, {timer.when, timer.sequence, &timer});
}

void TimerHeap::remove(Timer& timer) noexcept {
    const std::size_t position = std::exchange(timer.position, Timer::not_in_heap);
    const Entry last = heap_.back();
    heap_.pop_back();
    if (last.timer == &timer) return;
    if (position > 0 && last.before(heap_[(position - 1) / 4])) {
        sift_up(position, last);
    } else {
        sift_down(position, last);
    }
}

}  // namespace green::detail
