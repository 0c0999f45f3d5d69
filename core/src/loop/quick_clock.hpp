#pragma once
// A clock for limits, which are set often and need not be exact: the system's costs as much as two
// switches. The processor's counter, at less than half of that, tells whether the last reading of
// the system's clock is still fresh. Only that: a counter that runs at any rate above 820 MHz, as
// every one that is called invariant does, is good enough.

#include <chrono>
#include <cstdint>

#include <green/deadline.hpp>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace green::detail {

class QuickClock {
 public:
    /// Not before the time now, and not more than 10 us after it.
    [[nodiscard]] TimePoint soon() noexcept {
#if defined(__x86_64__)
        if (usable_) {
            const std::uint64_t count = __rdtsc();
            // Also right when the counter jumps back: the difference is huge then.
            if (count - count_at_reading_ < fresh_counts) return reading_ + slack;
            count_at_reading_ = count;
            return reading_ = std::chrono::steady_clock::now();
        }
#endif
        return std::chrono::steady_clock::now();
    }

 private:
#if defined(__x86_64__)
    static constexpr std::uint64_t fresh_counts = 8192;
    static constexpr std::chrono::microseconds slack{10};

    [[nodiscard]] static bool counter_is_invariant() noexcept {
        unsigned a = 0;
        unsigned b = 0;
        unsigned c = 0;
        unsigned d = 0;
        return __get_cpuid(0x8000'0007, &a, &b, &c, &d) != 0 && (d & 1U << 8) != 0;
    }

    bool usable_ = counter_is_invariant();
    std::uint64_t count_at_reading_ = 0;
    TimePoint reading_{};
#endif
};

}  // namespace green::detail
