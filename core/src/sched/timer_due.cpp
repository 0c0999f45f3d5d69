#include "sched/timer_due.hpp"

#include <algorithm>

namespace green::detail {

void DueTimers::drop_removed() noexcept {
    std::erase_if(entries_, [](const TimerEntry& entry) { return entry.timer == nullptr; });
    first_ = removed_ = 0;
    for (std::size_t i = 0; i < entries_.size(); ++i) place(*entries_[i].timer, i);
}

void DueTimers::sort_from(std::size_t start) noexcept {
    const auto first = entries_.begin() + static_cast<std::ptrdiff_t>(start);
    const auto before = [](const TimerEntry& a, const TimerEntry& b) { return a.before(b); };
    if (std::is_sorted(first, entries_.end(), before)) return;
    std::sort(first, entries_.end(), before);
    for (std::size_t i = start; i < entries_.size(); ++i) place(*entries_[i].timer, i);
}

}  // namespace green::detail
