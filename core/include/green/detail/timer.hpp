#pragma once

#include <cstddef>
#include <cstdint>

#include <green/deadline.hpp>
#include <green/detail/intrusive.hpp>

namespace green::detail {

/// One deadline in a hub. Its owner keeps it in place while it is pending, and cancels it before it
/// goes.
struct Timer : ListHook {
    using Fire = void (*)(Timer&) noexcept;

    Timer() noexcept = default;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    [[nodiscard]] bool pending() const noexcept { return linked() || position != not_in_heap; }

    static constexpr std::size_t not_in_heap = ~std::size_t{0};

    TimePoint when{};
    std::uint64_t sequence = 0;  // equal deadlines fire in the order in which they were started
    std::size_t position = not_in_heap;
    Fire fire = nullptr;
    bool keeps_alive = true;  // a hub with only others left is deadlocked

    [[nodiscard]] bool before(const Timer& other) const noexcept {
        return when != other.when ? when < other.when : sequence < other.sequence;
    }
};

/// Starts it in the hub of this thread. Restarts it when it is pending. Throws std::bad_alloc.
void start_timer(Timer& timer, TimePoint when, Timer::Fire fire);
void cancel_timer(Timer& timer) noexcept;

}  // namespace green::detail
