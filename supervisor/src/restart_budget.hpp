// When a slot may try again: exponential back-off, and a limit on how often.
//
// Delays grow from backoff.initial by backoff.factor up to backoff.max, spread by ±backoff.jitter,
// and start over once the instance has been ready for backoff.reset. An instance that had been
// ready for min_uptime and had no failure behind it is replaced at once: the common single crash
// costs nothing. More than intensity.max exits within intensity.period make the slot slow (it goes
// on at backoff.max, degraded) or failed. Being short of processes is not the program's fault: it
// is retried on a scale of its own and never counts.
#pragma once

#include <vector>

#include "clock.hpp"

namespace greensup {

struct WorkerConfig;

/// The memory of one slot; starts empty.
struct RestartBudget {
    unsigned failures = 0;         // since the last stable time
    unsigned shortages = 0;        // in a row
    bool slow = false;             // intensity was exceeded: degraded until stable again
    std::vector<TimePoint> exits;  // within the last intensity.period, oldest first
};

struct RestartDecision {
    RestartBudget budget;
    bool give_up = false;
    Duration delay{};  // zero: at once
};

/// What to do after an exit at `now`. `served` is how long the instance had been ready, zero if it
/// never was; `chance` a random number in [0,1).
RestartDecision after_exit(const WorkerConfig& worker, RestartBudget budget, Duration served,
                           TimePoint now, double chance);

/// What to do when the system could not give us a process. Never gives up, never counts.
RestartDecision after_shortage(RestartBudget budget, double chance);

}  // namespace greensup
