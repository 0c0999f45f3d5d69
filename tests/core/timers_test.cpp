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

/// Remembers what it was started with.
struct Kept : gd::Timer {
    green::TimePoint when{};
    std::uint64_t started = 0;
    [[nodiscard]] bool before(const Kept& other) const {
        return when != other.when ? when < other.when : started < other.started;
    }
    void start(gd::Timers& timers, green::TimePoint deadline, Fire what) {
        static std::uint64_t starts = 0;
        when = deadline;
        started = ++starts;
        timers.start(*this, deadline, what);
    }
};

struct Recorded : Kept {
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
        all.back()->start(timers, at(deadlines[i]), &Recorded::fire);
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
            timer.start(timers, at(static_cast<int>(random() % 1000)), &Recorded::fire);
        }
    }
    std::vector<Recorded*> pending;
    for (const auto& timer : all) {
        if (timer->pending()) pending.push_back(timer.get());
    }
    REQUIRE(timers.size() == pending.size());
    std::sort(pending.begin(), pending.end(),
              [](const Recorded* a, const Recorded* b) { return a->before(*b); });
    std::vector<int> expected;
    for (const Recorded* timer : pending) expected.push_back(timer->id);
    timers.expire(at(2000));
    CHECK(log == expected);
}

TEST_CASE("timers: agree with a sorted list while time goes on, near and far", "[core][timers]") {
    const auto seed = tests::seed();
    INFO("GREENSUP_SEED=" << seed);
    std::mt19937_64 random{seed};
    struct Checked : Kept {
        green::TimePoint* now = nullptr;
        std::vector<Checked*>* fired = nullptr;
        static void fire(gd::Timer& timer) noexcept {
            auto& self = static_cast<Checked&>(timer);
            self.fired->push_back(&self);
        }
    };
    green::TimePoint now{std::chrono::hours(random() % 10'000)};
    gd::Timers timers{now};
    std::vector<Checked*> fired;
    std::vector<std::unique_ptr<Checked>> all;
    for (int i = 0; i < 300; ++i) {
        all.push_back(std::make_unique<Checked>());
        all.back()->now = &now;
        all.back()->fired = &fired;
    }
    // From nanoseconds to years: every wheel, and every border between two of them.
    const auto some_time = [&] {
        return green::Duration{static_cast<green::Duration::rep>(
            (std::uint64_t{1} << random() % 57) + random() % 7 - 3)};
    };
    std::size_t total = 0;
    for (int step = 0; step < 30'000; ++step) {
        Checked& timer = *all[random() % all.size()];
        const auto action = random() % 8;
        if (action < 4) {
            timer.start(timers, now + some_time(), &Checked::fire);
        } else if (action < 6) {
            timers.cancel(timer);
        } else {
            // The earliest of all that are pending, by looking at each.
            const Checked* first = nullptr;
            std::size_t pending = 0;
            for (const auto& one : all) {
                if (!one->pending()) continue;
                ++pending;
                if (first == nullptr || one->before(*first)) first = one.get();
            }
            REQUIRE(timers.size() == pending);
            const green::TimePoint look = timers.nearest();
            if (first == nullptr) {
                REQUIRE(look == green::TimePoint::max());
                continue;
            }
            REQUIRE(look <= first->when);
            REQUIRE((look > now || first->when <= now));
            // Sometimes not as far as asked, sometimes further, as real time does.
            if (look > now) now += random() % 4 == 0 ? (look - now) / 2 : look - now;
            if (random() % 16 == 0) now += some_time() / 2;
            std::vector<Checked*> expected;
            for (const auto& one : all) {
                if (one->pending() && one->when <= now) expected.push_back(one.get());
            }
            std::sort(expected.begin(), expected.end(),
                      [](const Checked* a, const Checked* b) { return a->before(*b); });
            fired.clear();
            timers.expire(now);
            REQUIRE(fired == expected);
            total += fired.size();
        }
    }
    CHECK(total > 1000);
    for (const auto& one : all) timers.cancel(*one);
    CHECK(timers.size() == 0);
    CHECK(timers.keeping_alive() == 0);
}

TEST_CASE("timers: a deadline is met exactly, after a few looks at the most", "[core][timers]") {
    green::TimePoint now{1h};
    gd::Timers timers{now};
    std::vector<int> log;
    Recorded timer;
    timer.log = &log;
    for (const auto wait : {green::Duration{1us}, green::Duration{1ms}, green::Duration{15ms},
                            green::Duration{1s}, green::Duration{24h}, green::Duration{8760h}}) {
        timer.start(timers, now + wait, &Recorded::fire);
        int looks = 0;
        while (timer.pending()) {
            ++looks;
            now = timers.nearest();
            timers.expire(now);
        }
        CHECK(now == timer.when);
        CHECK(looks <= (wait < 16ms ? 3 : 6));  // one for each wheel whose border lies between
    }
}
