// How the deciding half of the supervisor speaks of time. It never asks a clock: whoever calls
// passes `now`, so that every decision can be repeated in a test to the nanosecond.
#pragma once

#include <chrono>

namespace greensup {

using Duration = std::chrono::nanoseconds;

/// A moment on the monotonic clock; the wall clock is only ever for display.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

}  // namespace greensup
