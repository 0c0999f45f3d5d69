// The wall clock, for display only: every decision is made on the monotonic one.
#pragma once

#include <cstdint>
#include <string>

#include "clock.hpp"

namespace greensup {

/// Milliseconds since 1970 of a moment on the monotonic clock, and of now.
std::int64_t wall_ms(TimePoint at);
std::int64_t wall_ms();

/// "2026-11-20T09:14:22.113Z"
std::string wall_text(std::int64_t ms);

}  // namespace greensup
