#pragma once

#include <cstddef>
#include <cstdint>

#include <green/deadline.hpp>

namespace green::detail {

struct Timer;

/// What the order of timers needs. It stands apart from its timer, in an array of its like, so that
/// timers can be sorted and moved without a look at their own memory, which is anywhere.
struct TimerEntry {
    TimePoint when;
    std::uint64_t sequence;  // equal deadlines fire in the order in which they were started
    Timer* timer;
    [[nodiscard]] bool before(const TimerEntry& other) const noexcept {
        return when != other.when ? when < other.when : sequence < other.sequence;
    }
};

/// One deadline in a hub. Its owner keeps it in place while it is pending, and cancels it before it
/// goes.
struct Timer {
    using Fire = void (*)(Timer&) noexcept;
    /// Where its entry stands.
    enum class Room : std::uint8_t { none, wheel, due, heap };

    Timer() noexcept = default;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    [[nodiscard]] bool pending() const noexcept { return room != Room::none; }

    Fire fire = nullptr;
    TimerEntry* entry = nullptr;  // in the wheel
    std::uint32_t index = 0;      // in the other rooms
    Room room = Room::none;
    bool keeps_alive = true;  // a hub with only others left is deadlocked
};

/// Starts it in the hub of this thread. Restarts it when it is pending. Throws std::bad_alloc.
void start_timer(Timer& timer, TimePoint when, Timer::Fire fire);
void cancel_timer(Timer& timer) noexcept;

}  // namespace green::detail
