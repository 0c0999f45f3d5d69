#include "restart_budget.hpp"

#include <algorithm>
#include <cmath>

#include "config.hpp"

namespace greensup {
namespace {

// Shortages pass by themselves, usually soon; nothing of the user's configuration is to blame, so
// nothing of it sets the pace.
constexpr BackoffConfig shortage_pace{100ms, 2.0, 5s, 20.0, Duration::zero()};

/// initial × factor^earlier, spread by ±jitter, never above max.
Duration delay(const BackoffConfig& pace, unsigned earlier, double chance) {
    if (pace.initial == Duration::zero()) return Duration::zero();
    const auto most = static_cast<double>(pace.max.count());
    const auto grown =
        std::min(most, static_cast<double>(pace.initial.count()) * std::pow(pace.factor, earlier));
    const auto spread = grown * (1 + pace.jitter_percent / 100 * (2 * chance - 1));
    return Duration{static_cast<std::int64_t>(std::min(most, spread))};
}

}  // namespace

RestartDecision after_exit(const WorkerConfig& worker, RestartBudget budget, Duration served,
                           TimePoint now, double chance) {
    const auto& pace = worker.backoff;
    const auto& limit = worker.intensity;
    const bool stable = pace.reset != Duration::zero() && served >= pace.reset;
    if (stable) budget = {};
    budget.shortages = 0;

    if (limit.max > 0) {
        std::erase_if(budget.exits, [&](TimePoint at) { return now - at >= limit.period; });
        budget.exits.push_back(now);
        if (budget.exits.size() > static_cast<std::size_t>(limit.max)) {
            if (limit.then == TooOften::fail) return {std::move(budget), true, Duration::zero()};
            budget.slow = true;
            // One more than the limit is all that has to be known, however long this goes on.
            budget.exits.erase(budget.exits.begin());
        }
    } else {
        budget.exits.clear();
        budget.slow = false;
    }

    const bool first =
        budget.failures == 0 && served >= worker.min_uptime && served > Duration::zero();
    const auto earlier = budget.failures++;
    if (budget.slow) {
        auto at_cap = pace;
        at_cap.initial = pace.max;
        return {std::move(budget), false, delay(at_cap, 0, chance)};
    }
    return {std::move(budget), false, first ? Duration::zero() : delay(pace, earlier, chance)};
}

RestartDecision after_shortage(RestartBudget budget, double chance) {
    const auto wait = delay(shortage_pace, budget.shortages++, chance);
    return {std::move(budget), false, wait};
}

}  // namespace greensup
