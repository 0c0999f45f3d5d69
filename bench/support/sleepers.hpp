/// One driver for everything that can have many sleepers at once.
///
/// A Side is made for one crowd of them:
///
///     explicit Side(std::size_t count);
///     void put_to_sleep(std::uint64_t until);  // spawns them; returns when all are asleep
///     std::uint64_t wait_for_last();           // returns when the last had woken up
///
/// Times are those of now(). For a side that knows only how many bytes it needs, the first two do.
#pragma once

#include <algorithm>
#include <unistd.h>

#include "bench.hpp"
#include "memory.hpp"

namespace bench {

inline constexpr std::uint64_t second = 1'000'000'000;

/// Resident memory and page tables that each sleeper costs, in bytes.
template <class Side>
double sleepers_bytes(const Options& options) {
    pin(options.consumer_core);
    const auto before = memory_of(::getpid()).total();
    Side side{options.count};
    side.put_to_sleep(now() + 3600 * second);
    const auto after = memory_of(::getpid()).total();
    return (static_cast<double>(after) - static_cast<double>(before)) /
           static_cast<double>(options.count);
}

/// Nanoseconds for each, from its spawning to its sleep.
template <class Side>
double sleepers_spawn(const Options& options) {
    pin(options.consumer_core);
    Side side{options.count};
    const auto start = now();
    side.put_to_sleep(start + 3600 * second);
    return static_cast<double>(now() - start) / static_cast<double>(options.count);
}

struct Night {
    std::uint64_t going_to_sleep;  // ns, all together
    std::uint64_t waking_up;  // ns, from the moment at which all are due until the last has run
    bool in_time;             // all were asleep before that moment
};

template <class Side>
Night spend_night(std::size_t count, std::uint64_t length) {
    Side side{count};
    const auto start = now();
    side.put_to_sleep(start + length);
    const auto asleep = now();
    const auto last = side.wait_for_last();
    return {asleep - start, last - (start + length), asleep < start + length};
}

/// Nanoseconds for each, from the moment at which all are due until the last has woken up.
template <class Side>
double sleepers_wake(const Options& options) {
    pin(options.consumer_core);
    // The night has to be longer than going to sleep takes: what that is, some of them tell.
    const auto few = std::max<std::size_t>(options.count / 20, 1);
    const auto trial = spend_night<Side>(few, second / 20);
    for (auto length = second / 20 + 30 * trial.going_to_sleep;; length *= 2) {
        const auto night = spend_night<Side>(options.count, length);
        if (night.in_time)
            return static_cast<double>(night.waking_up) / static_cast<double>(options.count);
    }
}

}  // namespace bench
