#include "roll.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>

#include <catch2/catch.hpp>

#include "seed.hpp"

using namespace greensup;
using What = RollAction::What;

namespace {

/// A pool played by hand or by chance: instances that are driven through the real state machine,
/// a roll that is asked what to do, and the promises of a roll checked after every event.
class World {
 public:
    explicit World(int count) : count_(count) {
        worker.kind = Kind::hub;
        worker.count = count;
        worker.command = {"./web"};
        for (int slot = 0; slot < count; ++slot) {
            add(slot, false);
            run_up(slot, target);
        }
    }

    WorkerConfig worker{};
    TimePoint now{1000s};
    std::uint64_t target = 1;
    std::vector<Instance> members{};
    std::vector<std::string> log{};
    double chance = 0.5;
    TimePoint progressed{};

    void begin_roll() { ++target, progressed = now; }

    [[nodiscard]] RollView view() const {
        RollView v{worker.count, target, worker.roll, progressed, {}};
        for (const auto& m : members) v.members.push_back(roll_member(m));
        return v;
    }

    Instance& at(int slot, std::uint64_t generation) {
        for (auto& m : members)
            if (m.slot == slot && m.generation == generation) return m;
        throw std::logic_error("no such instance");
    }

    void happens(Instance& instance, const Input& input) {
        const auto before = instance.state;
        instance = step(worker, instance, input, now, chance).instance;
        if (instance.state == State::stopped && before != State::stopped) progressed = now;
    }
    void happens(int slot, std::uint64_t generation, const Input& input) {
        happens(at(slot, generation), input);
    }

    void run_up(int slot, std::uint64_t generation) {
        happens(slot, generation, Input::of(Input::What::permit));
        happens(slot, generation, Input::spawned(100));
        happens(slot, generation, Input::of(Input::What::ready));
    }

    /// Does what the roll says until it waits or ends.
    RollAction act() {
        for (int i = 0; i < 1000; ++i) {
            auto action = next_roll_action(view(), now);
            if (action.what == What::wait) return action;
            log.push_back(to_text(action));
            for (const int slot : action.trials)
                happens(slot, target, Input::request(Input::What::kill, "roll"));
            if (action.what == What::done || action.what == What::failed) return action;
            if (action.what == What::start) add(action.slot, true);
            if (action.what == What::confirm)
                at(action.slot, action.generation).on_trial = false, progressed = now;
            if (action.what == What::retire)
                happens(action.slot, action.generation, Input::request(Input::What::drain, "roll"));
            if (action.what == What::discard)
                happens(action.slot, action.generation, Input::request(Input::What::kill, "roll"));
            forget_stopped();
        }
        throw std::logic_error("the roll never comes to rest");
    }

    void forget_stopped() {
        std::erase_if(members, [](const Instance& m) { return m.state == State::stopped; });
    }

    [[nodiscard]] int ready() const {
        return static_cast<int>(
            std::count_if(members.begin(), members.end(),
                          [](const Instance& m) { return m.state == State::ready; }));
    }
    [[nodiscard]] int alive() const {
        return static_cast<int>(std::count_if(
            members.begin(), members.end(),
            [&](const Instance& m) { return m.slot < count_ && has_process(m.state); }));
    }

 private:
    void add(int slot, bool on_trial) {
        Instance instance;
        instance.slot = slot;
        instance.generation = target;
        instance.on_trial = on_trial;
        happens(instance, Input::request(Input::What::start, "start"));
        members.push_back(instance);
    }

    int count_;
};

Input exited() { return Input::exited(0); }

/// Two slots in a roll, of which the first one has been moved.
class FirstMoved : public World {
 public:
    FirstMoved() : World(2) {
        worker.roll.min_ready = 0s;
        begin_roll();
        act();
        run_up(0, 2);
        act();
        happens(0, 1, exited());
    }
};

}  // namespace

TEST_CASE("roll: one by one, new before old, and ready for min_ready first", "[supervisor][roll]") {
    World world(2);
    world.begin_roll();
    CHECK(world.act().what == What::wait);
    CHECK(world.log == std::vector<std::string>{"start 0 of generation 2"});
    world.run_up(0, 2);
    const auto wait = world.act();
    CHECK(wait.until == world.now + 2s);  // min_ready
    world.now += 2s - 1ns;
    CHECK(world.act().what == What::wait);
    CHECK(world.at(0, 1).state == State::ready);
    world.now += 1ns;
    world.act();
    CHECK(world.at(0, 1).state == State::draining);
    CHECK(world.act().what ==
          What::wait);  // slot 1 waits until the old one of slot 0 is gone: max_surge is 1
    world.happens(0, 1, exited());
    world.act();
    world.run_up(1, 2);
    world.now += 2s;
    world.act();
    world.happens(1, 1, exited());
    CHECK(world.act().what == What::done);
    CHECK(world.log ==
          std::vector<std::string>{"start 0 of generation 2", "confirm 0 of generation 2",
                                   "retire 0 of generation 1: replaced", "start 1 of generation 2",
                                   "confirm 1 of generation 2",
                                   "retire 1 of generation 1: replaced", "done"});
}

TEST_CASE("roll: with more surge more slots move at a time", "[supervisor][roll]") {
    World world(4);
    world.worker.roll.max_surge = {50, true};
    world.worker.roll.min_ready = 0s;
    world.begin_roll();
    world.act();
    CHECK(world.log ==
          std::vector<std::string>{"start 0 of generation 2", "start 1 of generation 2"});
}

TEST_CASE("roll: a new version that exits before it is ready stops the roll (F27)",
          "[supervisor][roll]") {
    World world(2);
    world.begin_roll();
    world.act();
    world.happens(0, 2, Input::of(Input::What::permit));
    world.happens(0, 2, Input::spawned(5));
    world.happens(0, 2, Input::exited(1));
    const auto end = world.act();
    CHECK(end.what == What::failed);
    CHECK(end.why == "slot 0 of generation 2: exit 1");
    CHECK(world.ready() == 2);
    CHECK(world.at(0, 1).state == State::ready);
}

TEST_CASE("roll: a new version that never gets ready stops the roll (F28)", "[supervisor][roll]") {
    World world(2);
    world.begin_roll();
    world.act();
    world.happens(0, 2, Input::of(Input::What::permit));
    world.happens(0, 2, Input::spawned(5));
    world.now += 30s;
    world.happens(0, 2, Input::of(Input::What::deadline));
    const auto end = world.act();
    CHECK(end.what == What::failed);
    CHECK(end.why == "slot 0 of generation 2: not ready in time");
    CHECK(world.ready() == 2);
}

TEST_CASE("roll: a new version that turns bad within min_ready stops the roll (F29)",
          "[supervisor][roll]") {
    World world(3);
    world.worker.roll.min_ready = 10s;
    world.worker.roll.max_surge = {2, false};
    world.begin_roll();
    world.act();
    world.run_up(0, 2);
    world.run_up(1, 2);
    world.now += 5s;
    world.happens(1, 2, Input::killed_by(SIGSEGV));
    const auto end = world.act();
    CHECK(end.what == What::failed);
    CHECK(end.why == "slot 1 of generation 2: signal SEGV");
    CHECK(world.at(0, 2).state == State::killing);  // the other trial goes too
    CHECK(world.ready() == 3);
}

TEST_CASE("roll: slots already moved stay when a later one fails", "[supervisor][roll]") {
    FirstMoved world;
    world.act();
    world.happens(1, 2, Input::of(Input::What::permit));
    world.happens(1, 2, Input::exec_failed(ENOENT, "exec ./web"));
    const auto end = world.act();
    CHECK(end.what == What::failed);
    CHECK(end.why == "slot 1 of generation 2: exec ./web: No such file or directory (ENOENT)");
    CHECK(world.at(0, 2).state == State::ready);
    CHECK(world.at(1, 1).state == State::ready);
}

TEST_CASE("roll: no progress until the deadline is a failure, an old one's long drain is not",
          "[supervisor][roll]") {
    World world(1);
    world.worker.start_timeout = 1h;
    world.worker.stop.drain = 1h;
    world.worker.roll = {0s, 5min, {}};
    world.begin_roll();
    CHECK(world.act().until == world.now + 5min);
    SECTION("the new one hangs") {
        world.now += 5min;
        const auto end = world.act();
        CHECK(end.what == What::failed);
        CHECK(end.why == "no progress for 5m");
        CHECK(world.ready() == 1);
    }
    SECTION("the old one drains") {
        world.run_up(0, 2);
        CHECK_FALSE(world.act().until.has_value());
        world.now += 50min;
        CHECK(world.act().what == What::wait);
        world.happens(0, 1, exited());
        CHECK(world.act().what == What::done);
    }
}

TEST_CASE("roll: a newer roll supersedes the older one (F30)", "[supervisor][roll]") {
    World world(2);
    world.begin_roll();
    world.act();
    world.run_up(0, 2);  // still on trial
    world.begin_roll();
    world.act();
    CHECK(world.at(0, 2).state == State::killing);
    CHECK(world.alive() == 3);
    CHECK(world.log.back() ==
          "discard 0 of generation 2: superseded");  // nothing started above the surge
    world.happens(0, 2, Input::killed_by(SIGKILL));
    world.forget_stopped();
    world.act();
    CHECK(world.log.back() == "start 0 of generation 3");
}

TEST_CASE("roll: an old one that crashes meanwhile comes back as what it was",
          "[supervisor][roll]") {
    World world(2);
    world.worker.roll.min_ready = 0s;
    world.begin_roll();
    world.act();
    world.now += 10s;
    world.happens(1, 1, Input::killed_by(SIGKILL));
    CHECK(world.at(1, 1).state == State::backoff);
    world.happens(1, 1, Input::of(Input::What::deadline));
    world.happens(1, 1, Input::of(Input::What::permit));
    world.run_up(0, 2);
    world.act();
    CHECK(world.at(0, 1).state == State::ready);  // is not let go while slot 1 is coming back
    CHECK(world.ready() == 2);
    world.happens(1, 1, Input::spawned(8));
    world.happens(1, 1, Input::of(Input::What::ready));
    world.act();
    CHECK(world.at(0, 1).state == State::draining);
    CHECK(world.ready() == 2);
}

TEST_CASE("roll: slots that do not serve are repaired first", "[supervisor][roll]") {
    World world(3);
    world.worker.intensity = {1, 60s, TooOften::fail};
    world.now += 10s;
    world.happens(2, 1, Input::exited(1));
    world.happens(2, 1, Input::of(Input::What::deadline));
    world.happens(2, 1, Input::of(Input::What::permit));
    world.happens(2, 1, Input::exited(1));
    REQUIRE(world.at(2, 1).state == State::failed);
    world.begin_roll();
    world.act();
    CHECK(world.log ==
          std::vector<std::string>{"start 2 of generation 2", "start 0 of generation 2"});
}

TEST_CASE("roll: a changed count is reached on the way", "[supervisor][roll]") {
    World world(2);
    world.worker.roll.min_ready = 0s;
    SECTION("more") {
        world.worker.count = 4;
        world.begin_roll();
        world.act();
        CHECK(world.log.size() == 3);
        CHECK(world.log.front() == "start 2 of generation 2");
    }
    SECTION("fewer") {
        world.worker.count = 1;
        world.begin_roll();
        world.act();
        CHECK(world.at(1, 1).state == State::ready);  // helps until slot 0 has moved
        world.run_up(0, 2);
        world.act();
        CHECK(world.at(1, 1).state == State::draining);
        world.happens(1, 1, exited());
        world.happens(0, 1, exited());
        CHECK(world.act().what == What::done);
    }
    SECTION("none") {
        world.worker.count = 0;
        world.begin_roll();
        world.act();
        world.happens(0, 1, exited());
        world.happens(1, 1, exited());
        CHECK(world.act().what == What::done);
    }
}

TEST_CASE("roll: nobody else is moved while a moved one is away", "[supervisor][roll]") {
    FirstMoved world;
    world.happens(0, 2, Input::exited(1));
    CHECK(world.act().what == What::wait);
    CHECK(world.log.back() == "retire 0 of generation 1: replaced");
    world.now += 5min;
    const auto end = world.act();
    CHECK(end.what == What::failed);
    CHECK(world.at(1, 1).state == State::ready);
}

namespace {

/// One random event for one random instance, as a kernel and a program might produce it.
void random_event(World& world, test::Random& random, bool old_ones_crash, bool new_ones_fail) {
    if (world.members.empty()) return;
    auto& m = world.members[random.below(world.members.size())];
    const bool is_new = m.generation == world.target;
    switch (m.state) {
        case State::waiting:
            world.happens(m, Input::of(Input::What::permit));
            break;
        case State::spawning:
            world.happens(m, Input::spawned(7));
            break;
        case State::starting:
            if (is_new && new_ones_fail && random.below(6) == 0)
                world.happens(m, Input::exited(1));
            else
                world.happens(m, Input::of(Input::What::ready));
            break;
        case State::ready:
            if (is_new && m.on_trial && new_ones_fail && random.below(20) == 0)
                world.happens(m, Input::exited(1));
            if (!is_new && old_ones_crash && random.below(10) == 0)
                world.happens(m, Input::killed_by(SIGKILL));
            break;
        case State::draining:
        case State::stopping:
        case State::killing:
            world.happens(m, Input::exited(0));
            break;
        case State::backoff:
            world.now = std::max(world.now, *m.deadline);
            world.happens(m, Input::of(Input::What::deadline));
            break;
        default:
            break;
    }
}

}  // namespace

TEST_CASE("roll: in random schedules the ready count never falls and every roll ends",
          "[supervisor][roll]") {
    test::Random random;
    INFO("GREENSUP_SEED=" << random.seed());
    int done = 0;
    int failed = 0;
    for (int round = 0; round < 2000; ++round) {
        const int count = 1 + static_cast<int>(random.below(5));
        World world(count);
        world.worker.roll.max_surge = {static_cast<double>(1 + random.below(3)), false};
        world.worker.roll.min_ready = std::chrono::seconds(random.below(3));
        const bool old_ones_crash = random.below(3) == 0;
        const bool new_ones_fail = random.below(3) == 0;
        const int surge = resolve(world.worker.roll.max_surge, count);
        world.begin_roll();
        bool ended = false;
        for (int i = 0; i < 50000 && !ended; ++i) {
            const auto action = world.act();
            const int retired = static_cast<int>(world.log.size());
            if (!old_ones_crash) REQUIRE(world.ready() >= count);
            REQUIRE(world.alive() <= count + surge);
            REQUIRE(retired < 1000);
            ended = action.what != What::wait;
            if (ended) (action.what == What::done ? done : failed)++;
            if (action.what == What::done)
                for (const auto& m : world.members)
                    REQUIRE((m.generation == world.target || m.state == State::failed));
            if (action.what == What::failed) REQUIRE((new_ones_fail || old_ones_crash));
            random_event(world, random, old_ones_crash, new_ones_fail);
            world.forget_stopped();
            world.now += std::chrono::milliseconds(random.below(300));
            if (!ended && world.target < 5 && random.below(200) == 0) world.begin_roll();
        }
        REQUIRE(ended);
    }
    CHECK(done > 0);
    CHECK(failed > 0);
}
