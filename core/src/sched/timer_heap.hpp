#pragma once
// Timers that are due soon: a 4-ary heap whose elements know their place, so that cancelling one
// needs no search.

#include <cstddef>
#include <vector>

#include <green/detail/timer.hpp>

namespace green::detail {

class TimerHeap {
 public:
    /// Makes sure that so many fit: nothing else here can fail. Throws std::bad_alloc.
    void reserve(std::size_t timers) { heap_.reserve(timers); }
    /// The first, or nullptr.
    [[nodiscard]] const TimerEntry* front() const noexcept {
        return heap_.empty() ? nullptr : &heap_[0];
    }
    /// Empties it and calls visit(entry) for each.
    template <class Visit>
    void drain(Visit visit) noexcept {
        for (const TimerEntry& entry : heap_) visit(entry);
        heap_.clear();
    }
    void insert(const TimerEntry& entry) noexcept;
    void remove(Timer& timer) noexcept;

 private:
    void put(std::size_t position, const TimerEntry& entry) noexcept;
    void sift_up(std::size_t position, TimerEntry entry) noexcept;
    void sift_down(std::size_t position, TimerEntry entry) noexcept;

    std::vector<TimerEntry> heap_;
};

}  // namespace green::detail
