#include "worker_fsm.hpp"

#include <cerrno>
#include <csignal>
#include <set>

#include <catch2/catch.hpp>

#include "seed.hpp"

using namespace greensup;
using What = Input::What;

namespace {

constexpr TimePoint start_of_time{1000s};

WorkerConfig hub() {
    WorkerConfig worker;
    worker.name = "web";
    worker.kind = Kind::hub;
    worker.command = {"./web"};
    return worker;
}

WorkerConfig exec() {
    auto worker = hub();
    worker.kind = Kind::exec;
    worker.stop.drain = 0s;
    return worker;
}

/// An instance that is driven by hand, and what it answered last.
struct Life {
    WorkerConfig worker;
    Instance instance{};
    TimePoint now = start_of_time;
    Action action = Action::none;
    std::vector<std::string> log{};

    void happens(const Input& input) {
        auto result = step(worker, instance, input, now, 0.5);
        instance = std::move(result.instance);
        action = result.action;
        if (result.transition) log.push_back(to_text(*result.transition));
    }
    void happens(What what) { happens(Input::of(what)); }
    void asked(What what, const std::string& who = "test") { happens(Input::request(what, who)); }
    void deadline() {
        REQUIRE(instance.deadline);
        now = std::max(now, *instance.deadline);
        happens(What::deadline);
    }
    void become_starting() {
        asked(What::start);
        happens(What::permit);
        happens(Input::spawned(4711));
    }
    void become_ready() {
        become_starting();
        if (worker.kind == Kind::hub)
            happens(What::ready);
        else
            deadline();
        REQUIRE(instance.state == State::ready);
    }
};

}  // namespace

TEST_CASE("worker state: every pair of state and event has exactly one row (W2)",
          "[supervisor][fsm]") {
    std::set<std::pair<State, Event>> seen;
    for (const auto& rule : rules()) {
        CHECK(seen.insert({rule.from, rule.event}).second);
        CHECK(&rule_for(rule.from, rule.event) == &rule);
        INFO(to_text(rule.from) << " " << to_text(rule.event));
        if (rule.ignored)
            CHECK((rule.to == rule.from && rule.action == Action::none));
        else
            CHECK((rule.to != rule.from || rule.from == State::killing));
        // A state with a process is only left without one by an exit; one is only gained by a
        // permit.
        const bool exits = rule.event >= Event::shortage && rule.event <= Event::exit_fail;
        if (has_process(rule.from) && !has_process(rule.to)) CHECK(exits);
        if (!has_process(rule.from) && has_process(rule.to)) CHECK(rule.event == Event::permit);
        if (rule.action == Action::spawn) CHECK(rule.to == State::spawning);
        if (rule.action == Action::send_kill) CHECK(rule.to == State::killing);
        CHECK(!to_text(rule.event).empty());
        CHECK(parse_state(to_text(rule.from)) == rule.from);
    }
    CHECK(seen.size() == state_count * event_count);
}

TEST_CASE("worker state: a hub worker starts, gets ready, drains and is gone",
          "[supervisor][fsm]") {
    Life life{hub()};
    life.asked(What::start, "start");
    CHECK(life.instance.state == State::waiting);
    CHECK_FALSE(life.instance.deadline);
    life.happens(What::permit);
    CHECK(life.action == Action::spawn);
    CHECK(life.instance.starts == 1);
    life.happens(Input::spawned(4711));
    CHECK(life.instance.state == State::starting);
    CHECK(life.instance.deadline == life.now + 30s);
    life.now += 1s;
    life.happens(What::ready);
    CHECK(life.action == Action::announce_ready);
    CHECK(life.instance.ready_since == life.now);
    CHECK_FALSE(life.instance.deadline);
    life.asked(What::drain, "roll");
    CHECK(life.action == Action::ask_drain);
    CHECK(life.instance.deadline == life.now + 30s);
    life.happens(Input::exited(0));
    CHECK(life.instance.state == State::stopped);
    CHECK(life.instance.pid == 0);
    CHECK(life.log == std::vector<std::string>{
                          "slot=0 gen=0 stopped -> waiting: start",
                          "slot=0 gen=0 waiting -> spawning: start",
                          "slot=0 gen=0 spawning -> starting pid=4711: start",
                          "slot=0 gen=0 starting -> ready pid=4711",
                          "slot=0 gen=0 ready -> draining pid=4711: roll",
                          "slot=0 gen=0 draining -> stopped pid=4711: roll",
                      });
}

TEST_CASE("worker state: a program that cannot say so is ready after ready.delay",
          "[supervisor][fsm]") {
    Life life{exec()};
    life.become_starting();
    CHECK(life.instance.deadline == life.now + 1s);
    life.deadline();
    CHECK(life.instance.state == State::ready);
    life.asked(What::drain);
    CHECK(life.instance.state == State::stopping);  // it cannot be asked to drain
    CHECK(life.action == Action::send_stop);
}

TEST_CASE("worker state: who ignores everything is killed after drain and stop time (W5)",
          "[supervisor][fsm]") {
    Life life{hub()};
    life.become_ready();
    const auto asked = life.now;
    life.asked(What::drain);
    life.deadline();
    CHECK(life.now == asked + 30s);
    CHECK(life.action == Action::send_stop);
    CHECK(life.instance.cause.kind == Cause::Kind::drain_timeout);
    life.deadline();
    CHECK(life.now == asked + 40s);
    CHECK(life.action == Action::send_kill);
    life.deadline();
    CHECK(life.action == Action::send_kill);  // once more, in case
    life.happens(Input::killed_by(SIGKILL));
    CHECK(life.instance.state == State::stopped);
    CHECK(to_text(life.instance.cause) == "ignored its stop signal");
}

TEST_CASE("worker state: who is not ready in time is stopped and tried again",
          "[supervisor][fsm]") {
    Life life{hub()};
    life.become_starting();
    life.deadline();
    CHECK(life.instance.state == State::stopping);
    CHECK(life.action == Action::send_stop);
    life.happens(Input::killed_by(SIGTERM));
    CHECK(life.instance.state == State::backoff);
    CHECK(life.instance.last_exit.kind == Cause::Kind::start_timeout);
    CHECK(life.instance.restarts == 1);
    life.deadline();
    CHECK(life.instance.state == State::waiting);
}

TEST_CASE("worker state: a command that does not exist is told with stage and errno (F05)",
          "[supervisor][fsm]") {
    Life life{hub()};
    life.asked(What::start);
    life.happens(What::permit);
    life.happens(Input::exec_failed(ENOENT, "exec /srv/nope"));
    CHECK(life.instance.state == State::backoff);
    CHECK(to_text(life.instance.cause) == "exec /srv/nope: No such file or directory (ENOENT)");
    CHECK(life.instance.deadline == life.now + 200ms);
}

TEST_CASE("worker state: the restart policy decides who comes back", "[supervisor][fsm]") {
    struct Row {
        RestartWhen when;
        Input exit;
        State expected;
    };
    const auto row = GENERATE(values<Row>({
        {RestartWhen::always, Input::exited(0), State::backoff},
        {RestartWhen::always, Input::killed_by(SIGKILL), State::backoff},
        {RestartWhen::on_failure, Input::exited(0), State::done},
        {RestartWhen::on_failure, Input::exited(3), State::backoff},
        {RestartWhen::on_failure, Input::killed_by(SIGSEGV), State::backoff},
        {RestartWhen::on_abnormal, Input::exited(3), State::done},
        {RestartWhen::on_abnormal, Input::killed_by(SIGSEGV), State::backoff},
        {RestartWhen::on_abnormal, Input::killed_by(SIGHUP), State::done},  // listed as a success
        {RestartWhen::never, Input::exited(3), State::done},
        {RestartWhen::never, Input::killed_by(SIGKILL), State::done},
    }));
    Life life{hub()};
    life.worker.restart = row.when;
    life.worker.success_codes = {"0", "HUP"};
    life.become_ready();
    life.now += 10s;
    life.happens(row.exit);
    CHECK(life.instance.state == row.expected);
    if (row.expected == State::backoff)
        CHECK(life.instance.deadline == life.now);  // first crash: at once
}

TEST_CASE("worker state: what never became the program has failed even if nobody wants it again",
          "[supervisor][fsm]") {
    Life life{hub()};
    life.worker.restart = RestartWhen::never;
    life.asked(What::start);
    life.happens(What::permit);
    life.happens(Input::exec_failed(EACCES, "exec ./web"));
    CHECK(life.instance.state == State::failed);
    life.asked(What::retry);
    CHECK(life.instance.state == State::waiting);
}

TEST_CASE("worker state: a shortage is retried and never counts (W8, F13)", "[supervisor][fsm]") {
    Life life{hub()};
    life.worker.intensity = {1, 60s, TooOften::fail};
    life.instance.on_trial = GENERATE(false, true);
    life.asked(What::start);
    for (int i = 0; i < 20; ++i) {
        life.happens(What::permit);
        life.happens(Input::shortage(EAGAIN));
        REQUIRE(life.instance.state == State::backoff);
        REQUIRE(life.instance.cause.kind == Cause::Kind::shortage);
        REQUIRE(*life.instance.deadline - life.now <= 5s);
        life.deadline();
        REQUIRE(life.instance.state == State::waiting);
    }
    CHECK(life.instance.budget.failures == 0);
    CHECK(life.instance.restarts == 0);
    life.happens(What::permit);
    life.happens(Input::spawned(1));
    life.happens(What::ready);
    CHECK(life.instance.state == State::ready);
}

TEST_CASE("worker state: a replacement on trial has one life (W7)", "[supervisor][fsm]") {
    Life life{hub()};
    life.instance.on_trial = true;
    SECTION("it exits") {
        life.become_ready();
        life.happens(Input::exited(0));
        CHECK(life.instance.state == State::failed);
        CHECK(to_text(life.instance.cause) == "exit 0");
    }
    SECTION("it is not ready in time") {
        life.become_starting();
        life.deadline();
        life.happens(Input::killed_by(SIGTERM));
        CHECK(life.instance.state == State::failed);
        CHECK(to_text(life.instance.cause) == "not ready in time");
    }
    SECTION("it is not executed") {
        life.asked(What::start);
        life.happens(What::permit);
        life.happens(Input::exec_failed(ENOENT, "exec x"));
        CHECK(life.instance.state == State::failed);
    }
    SECTION("it is discarded") {
        life.become_starting();
        life.asked(What::kill, "roll failed");
        CHECK(life.action == Action::send_kill);
        life.happens(Input::killed_by(SIGKILL));
        CHECK(life.instance.state == State::stopped);
    }
}

TEST_CASE("worker state: stop wins over whatever goes on (W6, F41)", "[supervisor][fsm]") {
    Life life{hub()};
    SECTION("before the permit") {
        life.asked(What::start);
        life.asked(What::stop);
        life.happens(What::permit);
        CHECK(life.instance.state == State::stopped);
    }
    SECTION("between fork and exec") {
        life.asked(What::start);
        life.happens(What::permit);
        life.asked(What::stop);
        CHECK(life.action == Action::send_kill);
        life.happens(Input::spawned(9));
        CHECK(life.action == Action::send_kill);
        life.happens(Input::killed_by(SIGKILL));
        CHECK(life.instance.state == State::stopped);
    }
    SECTION("there was no process after all") {
        life.asked(What::start);
        life.happens(What::permit);
        life.asked(What::stop);
        life.happens(Input::shortage(EAGAIN));
        CHECK(life.instance.state == State::stopped);
    }
    SECTION("while it is being stopped for another reason") {
        life.become_starting();
        life.deadline();
        life.asked(What::stop);
        life.happens(Input::exited(1));
        CHECK(life.instance.state == State::stopped);
    }
    SECTION("in back-off") {
        life.become_starting();
        life.happens(Input::exited(1));
        life.asked(What::drain);
        CHECK(life.instance.state == State::stopped);
        CHECK_FALSE(life.instance.deadline);
    }
}

TEST_CASE("worker state: readiness may overtake the news of the exec", "[supervisor][fsm]") {
    Life life{hub()};
    life.asked(What::start);
    life.happens(What::permit);
    life.happens(What::ready);
    CHECK(life.instance.state == State::ready);
    life.happens(Input::exited(1));
    CHECK(life.instance.state == State::backoff);
}

TEST_CASE("worker state: a timer of an earlier state means nothing (W3)", "[supervisor][fsm]") {
    Life life{hub()};
    life.become_starting();
    life.happens(What::deadline);  // not due yet
    CHECK(life.instance.state == State::starting);
    life.happens(What::ready);
    life.now += 1h;
    life.happens(What::deadline);
    CHECK(life.instance.state == State::ready);
}

TEST_CASE("worker state: too many exits end in failed if so configured", "[supervisor][fsm]") {
    Life life{hub()};
    life.worker.intensity = {3, 60s, TooOften::fail};
    life.become_starting();
    for (int i = 0; i < 3; ++i) {
        life.happens(Input::exited(7));
        REQUIRE(life.instance.state == State::backoff);
        life.deadline();
        life.happens(What::permit);
        life.happens(Input::spawned(1));
    }
    life.happens(Input::exited(7));
    CHECK(life.instance.state == State::failed);
    CHECK(to_text(life.instance.cause) == "exit 7");
    life.asked(What::start);
    CHECK(life.instance.state == State::waiting);
    CHECK(life.instance.budget.exits.empty());
}

TEST_CASE("worker state: random histories keep all invariants", "[supervisor][fsm]") {
    test::Random random;
    INFO("GREENSUP_SEED=" << random.seed());
    constexpr What requests[] = {What::start, What::drain, What::stop, What::kill, What::retry};
    for (int life_number = 0; life_number < 300; ++life_number) {
        Life life{random.below(2) == 0 ? hub() : exec()};
        life.instance.on_trial = random.below(4) == 0;
        life.worker.restart = static_cast<RestartWhen>(random.below(4));
        for (int i = 0; i < 200; ++i) {
            const auto before = life.instance;
            life.now += std::chrono::milliseconds(random.below(2000));
            Input input = Input::of(What::deadline);
            switch (random.below(9)) {
                case 0:
                    input = Input::request(requests[random.below(5)], "x");
                    break;
                case 1:
                    input = Input::of(What::ready);
                    break;
                case 2:
                    input = Input::exited(static_cast<int>(random.below(2)));
                    break;
                case 3:
                    input = Input::killed_by(SIGKILL);
                    break;
                case 4:
                    input = Input::exec_failed(ENOENT, "exec x");
                    break;
                case 5:
                    input = Input::shortage(EAGAIN);
                    break;
                case 6:
                    input = Input::spawned(77);
                    break;
                case 7:
                    input = Input::of(What::permit);
                    break;
                default:
                    break;
            }
            const auto result = step(life.worker, before, input, life.now, random.chance());
            life.instance = result.instance;
            const auto& after = result.instance;
            REQUIRE(result.transition.has_value() ==
                    (after.state != before.state || result.action == Action::send_kill));
            if (!has_process(after.state)) REQUIRE(after.pid == 0);
            if (!result.transition) REQUIRE(result.action == Action::none);
            const bool timed = after.state == State::spawning || after.state == State::starting ||
                               after.state == State::draining || after.state == State::stopping ||
                               after.state == State::killing || after.state == State::backoff;
            REQUIRE(after.deadline.has_value() == timed);
            if (after.state == State::ready) REQUIRE(after.ready_since.has_value());
            if (!after.wanted) REQUIRE(result.action != Action::spawn);
            if (after.on_trial && before.state != after.state && after.state == State::backoff)
                REQUIRE(after.cause.kind == Cause::Kind::shortage);
        }
    }
}
