#pragma once
// Timers that are due soon: a 4-ary heap whose elements know their place, so that cancelling one
// needs no search.

#include <cstddef>
#include <vector>

#include <green/detail/timer.hpp>

namespace green::detail {

class TimerHeap {
 public:
    [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }
    [[nodiscard]] Timer& front() const noexcept { return *heap_[0].timer; }
    /// Throws std::bad_alloc, and then nothing has changed.
    void insert(Timer& timer);
    void remove(Timer& timer) noexcept;

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
};

}  // namespace green::detail
