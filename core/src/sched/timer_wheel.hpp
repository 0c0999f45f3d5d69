#pragma once
// Timers that are not due soon: six wheels of 256 slots. A slot of the first wheel holds the timers
// of one tick, one of each further wheel those of a whole turn of the wheel before it. Starting and
// cancelling a timer costs the same however many there are.
//
//  W1  The horizon is a tick. What lies before it has left the wheels; what lies at it or after it
//  is
//      in them.
//  W2  A timer stands in the wheel of the highest digit (base 256) in which its tick differs from
//  the
//      horizon, in the slot of that digit. So the slots of a wheel that are in use lie after the
//      horizon's own digit; only in the first wheel the horizon's own can be in use.
//  W3  Moving the horizon into a slot of a further wheel moves that slot's timers down (W2).

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <green/detail/timer.hpp>

#include "sched/timer_chunks.hpp"
#include "sched/timer_due.hpp"

namespace green::detail {

class TimerWheel {
 public:
    /// Nothing is lost by a `now` in the past, but time.
    explicit TimerWheel(TimePoint now) noexcept : horizon_{tick(now)} {}

    /// Whether the deadline lies at or after the horizon.
    [[nodiscard]] bool takes(TimePoint when) const noexcept { return tick(when) >= horizon_; }
    /// Makes sure that so many timers fit: nothing else here can fail. Throws std::bad_alloc.
    void reserve(std::size_t timers) { chunks_.reserve(timers, levels * slot_count); }
    /// For a deadline that takes() is true of.
    void insert(const TimerEntry& entry) noexcept {
        const std::uint64_t due = tick(entry.when);
        const std::uint64_t difference = due ^ horizon_;
        const std::size_t level =
            difference == 0 ? 0
                            : static_cast<std::size_t>(std::bit_width(difference) - 1) / digit_bits;
        Wheel& wheel = wheels_[level];
        const std::size_t slot = digit(due, level);
        chunks_.push(wheel.slots[slot], entry);
        entry.timer->room = Timer::Room::wheel;
        wheel.in_use[slot / 64] |= std::uint64_t{1} << slot % 64;
    }
    /// A slot that was in use and is empty is found later.
    void remove(Timer& timer) noexcept {
        chunks_.remove(*timer.entry);
        timer.room = Timer::Room::none;
    }

    /// Empties it and calls visit(entry) for each.
    template <class Visit>
    void drain(Visit visit) noexcept {
        for (Wheel& wheel : wheels_) {
            for (TimerSlot& slot : wheel.slots) chunks_.drain(slot, visit);
        }
    }
    /// Moves the horizon past `now`, and all timers before it to `due`.
    void advance(TimePoint now, DueTimers& due) noexcept;
    /// When the first slot in use begins; TimePoint::max() when there is none. If it is one of the
    /// first wheel, its timers are moved to `due`: they are looked for before their time, so that
    /// nobody has to look twice for a deadline that is near.
    [[nodiscard]] TimePoint look_ahead(DueTimers& due) noexcept;

 private:
    static constexpr std::size_t digit_bits = 8;
    static constexpr std::size_t slot_count = std::size_t{1} << digit_bits;
    static constexpr std::size_t levels = 6;      // 48 bits of ticks: all that TimePoint can say
    static constexpr std::size_t tick_bits = 16;  // of nanoseconds: 65.5 us

    struct Wheel {
        std::array<TimerSlot, slot_count> slots;
        std::array<std::uint64_t, slot_count / 64> in_use{};
    };
    struct Place {
        std::size_t level;
        std::size_t slot;
    };

    [[nodiscard]] static std::uint64_t tick(TimePoint when) noexcept {
        const auto ns = when.time_since_epoch().count();
        return ns < 0 ? 0 : static_cast<std::uint64_t>(ns) >> tick_bits;
    }
    [[nodiscard]] static std::size_t digit(std::uint64_t tick, std::size_t level) noexcept {
        return tick >> level * digit_bits & (slot_count - 1);
    }
    /// The first tick of a slot.
    [[nodiscard]] std::uint64_t start_of(Place place) const noexcept;
    /// The slot that comes first; level == levels when there is none.
    [[nodiscard]] Place first() noexcept;
    [[nodiscard]] std::size_t first_in(Wheel& wheel, std::size_t from) noexcept;
    void move_horizon(std::uint64_t to) noexcept;
    void take(std::size_t slot, DueTimers& due) noexcept;

    std::uint64_t horizon_;
    std::array<Wheel, levels> wheels_;
    TimerChunks chunks_;
};

}  // namespace green::detail
