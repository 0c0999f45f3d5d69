#pragma once

#include <chrono>
#include <ratio>
#include <type_traits>

namespace green {

/// The clock of every limit. Monotonic; in a simulated hub it is the simulation's.
using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

/// The time now, of the hub of this thread if there is one.
[[nodiscard]] TimePoint now() noexcept;

namespace detail {
/// The time now or up to 10 us later, as limits are counted from: cheaper than now().
[[nodiscard]] TimePoint soon() noexcept;
}  // namespace detail

class TimeoutScope;

/// An absolute time limit. Built from a duration, so that `join(5s)` reads well, and handed down
/// unchanged, so that limits of nested calls do not add up. A duration of zero or less means: try
/// once, do not wait.
class Deadline {
 public:
    [[nodiscard]] static constexpr Deadline never() noexcept { return Deadline{TimePoint::max()}; }
    [[nodiscard]] static constexpr Deadline passed() noexcept { return Deadline{TimePoint::min()}; }
    /// One that had passed when the hub last looked outside is as passed(). One that has passed
    /// since ends a wait in the hub's next turn: those that are ready run first, so that a loop of
    /// short waits keeps nobody from running.
    [[nodiscard]] static constexpr Deadline at(TimePoint when) noexcept { return Deadline{when}; }

    template <class Rep, class Period>
    Deadline(std::chrono::duration<Rep, Period>
                 from_now) noexcept  // NOLINT(google-explicit-constructor): see above
        : when_{from_now <= from_now.zero() ? TimePoint::min() : saturated(from_now)} {}

    /// Everywhere a limit is taken, an open scope can be given instead: its own Timeout then ends
    /// the call.
    Deadline(const TimeoutScope&) noexcept  // NOLINT(google-explicit-constructor): see above
        : Deadline{never()} {}

    [[nodiscard]] constexpr TimePoint when() const noexcept { return when_; }
    [[nodiscard]] constexpr bool is_never() const noexcept { return when_ == TimePoint::max(); }
    [[nodiscard]] bool has_passed() const noexcept {
        return when_ == TimePoint::min() || (!is_never() && when_ <= now());
    }

    friend constexpr bool operator==(Deadline, Deadline) noexcept = default;
    // NOLINTNEXTLINE(modernize-use-nullptr): taken for a 0
    friend constexpr auto operator<=>(Deadline, Deadline) noexcept = default;

 private:
    constexpr explicit Deadline(TimePoint when) noexcept : when_{when} {}

    template <class Rep, class Period>
    static TimePoint saturated(std::chrono::duration<Rep, Period> from_now) noexcept {
        const TimePoint start = detail::soon();
        // The largest that fits is compared in the unit given, where it cannot overflow.
        if constexpr (std::chrono::treat_as_floating_point_v<Rep> || std::is_unsigned_v<Rep>) {
            if (from_now >= std::chrono::duration<double>(TimePoint::max() - start))
                return TimePoint::max();
        } else if constexpr (std::ratio_greater_equal_v<Period, Duration::period>) {
            using Wide = std::chrono::duration<long, Period>;
            if (Wide{from_now} >= std::chrono::duration_cast<Wide>(TimePoint::max() - start))
                return TimePoint::max();
        }
        return start + std::chrono::ceil<Duration>(from_now);
    }

    TimePoint when_;
};

/// What waits for time besides says when: sleep(1h, {.ref = false}).
struct TimerOptions {
    bool ref = true;  // keeps the hub alive; false: a hub with nothing else to wait for has ended
};

}  // namespace green
