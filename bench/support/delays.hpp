#pragma once

#include <chrono>
#include <cstddef>
#include <random>
#include <vector>

namespace bench {

/// Delays between the two, evenly spread; the same ones in every run and on every side.
inline std::vector<std::chrono::nanoseconds> random_delays(std::size_t count,
                                                           std::chrono::nanoseconds least,
                                                           std::chrono::nanoseconds most) {
    std::mt19937_64 random{1};
    std::uniform_int_distribution<std::chrono::nanoseconds::rep> delay{least.count(), most.count()};
    std::vector<std::chrono::nanoseconds> delays(count);
    for (auto& each : delays) each = std::chrono::nanoseconds{delay(random)};
    return delays;
}

}  // namespace bench
