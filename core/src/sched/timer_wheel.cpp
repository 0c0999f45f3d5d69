#include "sched/timer_wheel.hpp"

namespace green::detail {

std::uint64_t TimerWheel::start_of(Place place) const noexcept {
    const std::size_t shift = place.level * digit_bits;
    const std::uint64_t above = horizon_ >> shift >> digit_bits << digit_bits;
    return (above | place.slot) << shift;
}

std::size_t TimerWheel::first_in(Wheel& wheel, std::size_t from) noexcept {
    for (std::size_t word = from / 64; word < wheel.in_use.size(); ++word) {
        std::uint64_t bits = wheel.in_use[word];
        if (word == from / 64) bits &= ~std::uint64_t{0} << from % 64;
        while (bits != 0) {
            const auto bit = static_cast<std::size_t>(std::countr_zero(bits));
            if (!wheel.slots[word * 64 + bit].empty()) return word * 64 + bit;
            bits &= bits - 1;
            wheel.in_use[word] &= ~(std::uint64_t{1} << bit);
        }
    }
    return slot_count;
}

TimerWheel::Place TimerWheel::first() noexcept {
    for (std::size_t level = 0; level < levels; ++level) {
        const std::size_t slot = first_in(wheels_[level], digit(horizon_, level));
        if (slot != slot_count) return {level, slot};
    }
    return {levels, 0};
}

void TimerWheel::move_horizon(std::uint64_t to) noexcept {
    horizon_ = to;
    // From the last wheel down: what leaves one may go to any below it.
    for (std::size_t level = levels - 1; level > 0; --level) {
        Wheel& wheel = wheels_[level];
        const std::size_t slot = digit(to, level);
        std::uint64_t& word = wheel.in_use[slot / 64];
        const std::uint64_t bit = std::uint64_t{1} << slot % 64;
        if ((word & bit) == 0) continue;
        word &= ~bit;
        chunks_.drain(wheel.slots[slot], [this](const TimerEntry& entry) { insert(entry); });
    }
}

void TimerWheel::take(std::size_t slot, DueTimers& due) noexcept {
    wheels_[0].in_use[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
    due.extend([&](auto append) { chunks_.drain(wheels_[0].slots[slot], append); });
}

void TimerWheel::advance(TimePoint now, DueTimers& due) noexcept {
    const std::uint64_t end = tick(now) + 1;
    while (horizon_ < end) {
        const Place place = first();
        if (place.level == levels || start_of(place) >= end) {
            move_horizon(end);
            return;
        }
        if (place.level == 0) {
            const std::uint64_t next = start_of(place) + 1;
            take(place.slot, due);
            move_horizon(next);
        } else {
            move_horizon(start_of(place));
        }
    }
}

TimePoint TimerWheel::look_ahead(DueTimers& due) noexcept {
    const Place place = first();
    if (place.level == levels) return TimePoint::max();
    const std::uint64_t start = start_of(place);
    if (place.level == 0) {
        take(place.slot, due);
        move_horizon(start + 1);
    }
    return TimePoint{Duration{static_cast<Duration::rep>(start << tick_bits)}};
}

}  // namespace green::detail
