#pragma once
// How many random schedules the tests run, and how many of each kind. A schedule is one random
// program from its first greenlet to the look at what is left.

#include <cstdint>
#include <functional>

namespace tests {

/// Of a thousand schedules.
struct Share {
    unsigned of_thousand;
};
namespace share {
constexpr Share waits{180};         // schedules_test
constexpr Share locks{180};         // lock_schedules_test
constexpr Share queues{60};         // queue_schedules_test, for each of the four orders
constexpr Share channels{100};      // channel_schedules_test
constexpr Share operations{100};    // operation_schedules_test
constexpr Share races{80};          // select_test
constexpr Share pools{50};          // pool_schedules_test
constexpr Share thread_queues{50};  // thread_schedules_test
constexpr Share traffic{10};        // simulation_streams_test
constexpr Share contexts{5};        // deadline_scope_test
constexpr Share locals{5};          // local_test

static_assert(waits.of_thousand + locks.of_thousand + 4 * queues.of_thousand +
                  channels.of_thousand + operations.of_thousand + races.of_thousand +
                  pools.of_thousand + thread_queues.of_thousand + traffic.of_thousand +
                  contexts.of_thousand + locals.of_thousand ==
              1000);
}  // namespace share

/// Of cases that share the work, so that they run beside each other: which one, of how many.
struct Part {
    unsigned number = 0;
    unsigned of = 1;
};

/// GREENSUP_SCHEDULES of the environment: how many there are of all kinds together. Without it more
/// than a million, or fewer under a sanitizer.
std::uint64_t all_schedules();

/// Calls the body with one seed after the other, as many as the share is. With GREENSUP_SEED, which
/// a failing run prints, with that one alone. Returns how many there were.
std::uint64_t for_each_schedule(Share share, Part part,
                                const std::function<void(std::uint64_t seed)>& body);
inline std::uint64_t for_each_schedule(Share share,
                                       const std::function<void(std::uint64_t seed)>& body) {
    return for_each_schedule(share, Part{}, body);
}

}  // namespace tests
