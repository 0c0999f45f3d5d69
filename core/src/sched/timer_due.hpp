#pragma once
// Timers whose tick has come or comes next, in the order in which they will fire.

#include <cstddef>
#include <vector>

#include <green/detail/timer.hpp>

namespace green::detail {

class DueTimers {
 public:
    /// Makes sure that so many fit: nothing else here can fail. Throws std::bad_alloc.
    void reserve(std::size_t timers) { entries_.reserve(timers); }

    /// The first, or nullptr.
    [[nodiscard]] const TimerEntry* front() noexcept {
        while (first_ < entries_.size()) {
            if (entries_[first_].timer != nullptr) return &entries_[first_];
            ++first_;
            if (const std::size_t soon = first_ + 8; soon < entries_.size())
                __builtin_prefetch(entries_[soon].timer, 1);
        }
        entries_.clear();
        first_ = removed_ = 0;
        return nullptr;
    }
    void remove(Timer& timer) noexcept {
        entries_[timer.index].timer = nullptr;
        ++removed_;
        timer.room = Timer::Room::none;
    }

    /// Empties it and calls visit(entry) for each.
    template <class Visit>
    void drain(Visit visit) noexcept {
        for (std::size_t i = first_; i < entries_.size(); ++i) {
            if (entries_[i].timer != nullptr) visit(entries_[i]);
        }
        entries_.clear();
        first_ = removed_ = 0;
    }
    /// Adds what add(append) appends, by append(entry) for each. All of it comes after what is
    /// there.
    template <class Add>
    void extend(Add add) noexcept {
        if (removed_ > 0) drop_removed();
        const std::size_t start = entries_.size();
        add([this](const TimerEntry& entry) noexcept {
            place(*entry.timer, entries_.size());
            entries_.push_back(entry);
        });
        sort_from(start);
    }

 private:
    static void place(Timer& timer, std::size_t index) noexcept {
        timer.index = static_cast<std::uint32_t>(index);
        timer.room = Timer::Room::due;
    }
    void drop_removed() noexcept;
    void sort_from(std::size_t start) noexcept;

    std::vector<TimerEntry> entries_;  // of those that were removed the timer is null
    std::size_t first_ = 0;            // all before it were removed
    std::size_t removed_ = 0;
};

}  // namespace green::detail
