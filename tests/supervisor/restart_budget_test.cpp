#include "restart_budget.hpp"

#include <numeric>

#include <catch2/catch.hpp>

#include "config.hpp"
#include "seed.hpp"

using namespace greensup;

namespace {

/// Starts within `window` of a slot whose process lives for `life`, having been ready for `served`.
int starts_within(const WorkerConfig& worker, Duration window, Duration life, Duration served,
                  const std::function<double()>& chance) {
    RestartBudget budget;
    TimePoint now{};
    int starts = 0;
    while (now < TimePoint{} + window) {
        ++starts;
        now += life;
        auto decision = after_exit(worker, std::move(budget), served, now, chance());
        if (decision.give_up) break;
        budget = std::move(decision.budget);
        now += decision.delay;
    }
    return starts;
}

}  // namespace

TEST_CASE("restart: one that exits at once is started at most 8 times in 15 s (F06)",
          "[supervisor][restart]") {
    WorkerConfig worker;
    SECTION("with the defaults") {}
    SECTION("without the limit of intensity") { worker.intensity.max = 0; }
    CHECK(starts_within(worker, 15s, 0s, 0s, [] { return 0.0; }) <= 8);  // always the shortest wait
    CHECK(starts_within(worker, 15s, 0s, 0s, [] { return 0.5; }) <= 8);
    CHECK(starts_within(worker, 15s, 0s, 0s, [] { return 0.999; }) >= 4);  // but it is tried
    test::Random random;
    INFO("GREENSUP_SEED=" << random.seed());
    for (int i = 0; i < 500; ++i)
        REQUIRE(starts_within(worker, 15s, 0s, 0s, [&] { return random.chance(); }) <= 8);
    // Also where it gets ready for a moment each time.
    for (const auto served : {Duration{1ms}, Duration{999ms}})
        CHECK(starts_within(worker, 15s, served, served, [] { return 0.0; }) <= 8);
}

TEST_CASE("restart: the wait doubles up to its cap", "[supervisor][restart]") {
    WorkerConfig worker;
    worker.intensity.max = 0;
    RestartBudget budget;
    TimePoint now{};
    std::vector<Duration> waits;
    for (int i = 0; i < 10; ++i) {
        auto decision = after_exit(worker, std::move(budget), 0s, now, 0.5);
        waits.push_back(decision.delay);
        budget = std::move(decision.budget);
    }
    CHECK(waits == std::vector<Duration>{200ms, 400ms, 800ms, 1600ms, 3200ms, 6400ms, 12800ms,
                                         25600ms, 30s, 30s});
}

TEST_CASE("restart: jitter spreads by its share and never beyond the cap",
          "[supervisor][restart]") {
    const WorkerConfig worker;
    CHECK(after_exit(worker, {}, 0s, {}, 0.0).delay == 160ms);
    CHECK(after_exit(worker, {}, 0s, {}, 0.5).delay == 200ms);
    const auto longest = after_exit(worker, {}, 0s, {}, 0.9999).delay;
    CHECK((longest > 239ms && longest <= 240ms));
    RestartBudget tired;
    tired.failures = 100000;
    CHECK(after_exit(worker, tired, 0s, {}, 0.9999).delay == 30s);
    CHECK(after_exit(worker, tired, 0s, {}, 0.0).delay == 24s);
}

TEST_CASE("restart: the first crash after a good time is answered at once",
          "[supervisor][restart]") {
    const WorkerConfig worker;
    CHECK(after_exit(worker, {}, 1s, {}, 0.9).delay == 0s);
    CHECK(after_exit(worker, {}, 999ms, {}, 0.5).delay == 200ms);  // less than min_uptime
    RestartBudget budget;
    budget.failures = 7;
    CHECK(after_exit(worker, budget, 59s, {}, 0.5).delay == 25600ms);  // not stable yet
    const auto reset = after_exit(worker, budget, 60s, {}, 0.5);
    CHECK(reset.delay == 0s);
    CHECK(reset.budget.failures == 1);
    auto never = worker;
    never.backoff.reset = 0s;
    CHECK(after_exit(never, budget, 1h, {}, 0.5).delay == 25600ms);
}

TEST_CASE("restart: beyond the intensity it goes on slowly, or not at all",
          "[supervisor][restart]") {
    WorkerConfig worker;
    worker.intensity = {3, 10s, GENERATE(TooOften::slow, TooOften::fail)};
    RestartBudget budget;
    TimePoint now{};
    RestartDecision decision;
    for (int i = 0; i < 4; ++i) {
        CHECK_FALSE(decision.give_up);
        CHECK_FALSE(decision.budget.slow);
        now += 1s;
        decision = after_exit(worker, decision.budget, 0s, now, 0.5);
    }
    if (worker.intensity.then == TooOften::fail) {
        CHECK(decision.give_up);
        return;
    }
    CHECK(decision.budget.slow);
    CHECK(decision.delay == 30s);
    decision = after_exit(worker, decision.budget, 30s, now + 60s, 0.5);
    CHECK(decision.budget.slow);  // 30 s are not yet stable
    CHECK(decision.delay == 30s);
    decision = after_exit(worker, decision.budget, 60s, now + 200s, 0.5);
    CHECK_FALSE(decision.budget.slow);
    CHECK(decision.delay == 0s);
}

TEST_CASE("restart: exits that are spread out never exceed the intensity",
          "[supervisor][restart]") {
    WorkerConfig worker;
    worker.intensity = {5, 60s, TooOften::fail};
    RestartBudget budget;
    for (int i = 0; i < 1000; ++i) {
        auto decision = after_exit(worker, std::move(budget), 2s, TimePoint{12s * i}, 0.5);
        REQUIRE_FALSE(decision.give_up);
        budget = std::move(decision.budget);
        REQUIRE(budget.exits.size() <= 5);
    }
}

TEST_CASE("restart: back-off and intensity can be off", "[supervisor][restart]") {
    WorkerConfig worker;
    worker.backoff.initial = 0s;
    worker.intensity.max = 0;
    RestartBudget budget;
    for (int i = 0; i < 1000; ++i) {
        auto decision = after_exit(worker, std::move(budget), 0s, {}, 0.9);
        REQUIRE(decision.delay == 0s);
        REQUIRE_FALSE(decision.give_up);
        budget = std::move(decision.budget);
    }
    CHECK(budget.exits.empty());
}

TEST_CASE("restart: a slow slot does not remember without end", "[supervisor][restart]") {
    WorkerConfig worker;
    worker.backoff.max = 1ms;
    RestartBudget budget;
    for (int i = 0; i < 10000; ++i)
        budget = after_exit(worker, std::move(budget), 0s, TimePoint{1ms * i}, 0.5).budget;
    CHECK(budget.exits.size() <= 6);
}

TEST_CASE("restart: a shortage waits on a scale of its own", "[supervisor][restart]") {
    RestartBudget budget;
    std::vector<Duration> waits;
    for (int i = 0; i < 8; ++i) {
        auto decision = after_shortage(std::move(budget), 0.5);
        CHECK_FALSE(decision.give_up);
        waits.push_back(decision.delay);
        budget = std::move(decision.budget);
    }
    CHECK(waits == std::vector<Duration>{100ms, 200ms, 400ms, 800ms, 1600ms, 3200ms, 5s, 5s});
    CHECK(budget.failures == 0);
    CHECK(after_exit({}, budget, 0s, {}, 0.5).budget.shortages == 0);
}
