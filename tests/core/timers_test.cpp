#include "sched/timers.hpp"

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "support/run_green.hpp"

namespace gd = green::detail;
using namespace std::chrono_literals;

namespace {

struct Recorded : gd::Timer {
    int id = 0;
    std::vector<int>* log = nullptr;
    static void fire(gd::Timer& timer) noexcept {
        auto& self = static_cast<Recorded&>(timer);
        self.log->push_back(self.id);
    }
};

green::TimePoint at(int tick) { return green::TimePoint{std::chrono::milliseconds(tick)}; }

}  // namespace

TEST_CASE("timers: fire by deadline, and equal ones in the order of their start",
          "[core][timers]") {
    gd::Timers timers;
    std::vector<int> log;
    std::vector<std::unique_ptr<Recorded>> all;
    const int deadlines[] = {5, 3, 3, 9, 1, 3};
    for (int i = 0; i < 6; ++i) {
        all.push_back(std::make_unique<Recorded>());
        all.back()->id = i;
        all.back()->log = &log;
        timers.start(*all.back(), at(deadlines[i]), &Recorded::fire);
    }
    CHECK(timers.nearest() == at(1));
    timers.expire(at(5));
    CHECK(log == std::vector{4, 1, 2, 5, 0});
    CHECK(timers.size() == 1);
    timers.cancel(*all[3]);
    timers.cancel(*all[3]);
    CHECK(timers.nearest() == green::TimePoint::max());
    CHECK(timers.keeping_alive() == 0);
}

TEST_CASE("timers: one that restarts itself at once fires once a turn", "[core][timers]") {
    struct Eager : gd::Timer {
        gd::Timers* timers = nullptr;
        int fired = 0;
        static void again(gd::Timer& timer) noexcept {
            auto& self = static_cast<Eager&>(timer);
            ++self.fired;
            self.timers->start(self, at(0), &Eager::again);
        }
    };
    gd::Timers timers;
    Eager eager;
    eager.timers = &timers;
    timers.start(eager, at(0), &Eager::again);
    timers.expire(at(1));
    CHECK(eager.fired == 1);
    timers.expire(at(1));
    CHECK(eager.fired == 2);
    timers.cancel(eager);
}

TEST_CASE("timers: agree with a sorted list over random starts, restarts and cancels",
          "[core][timers]") {
    const auto seed = tests::seed();
    INFO("GREENSUP_SEED=" << seed);
    std::mt19937_64 random{seed};
    gd::Timers timers;
    std::vector<int> log;
    std::vector<std::unique_ptr<Recorded>> all;
    for (int i = 0; i < 500; ++i) {
        all.push_back(std::make_unique<Recorded>());
        all.back()->id = i;
        all.back()->log = &log;
    }
    for (int step = 0; step < 20'000; ++step) {
        Recorded& timer = *all[random() % all.size()];
        if (random() % 3 == 0) {
            timers.cancel(timer);
        } else {
            timers.start(timer, at(static_cast<int>(random() % 1000)), &Recorded::fire);
        }
    }
    std::vector<Recorded*> pending;
    for (const auto& timer : all) {
        if (timer->pending()) pending.push_back(timer.get());
    }
    REQUIRE(timers.size() == pending.size());
    std::sort(pending.begin(), pending.end(), [](const Recorded* a, const Recorded* b) {
        return a->when != b->when ? a->when < b->when : a->sequence < b->sequence;
    });
    std::vector<int> expected;
    for (const Recorded* timer : pending) expected.push_back(timer->id);
    timers.expire(at(2000));
    CHECK(log == expected);
}
