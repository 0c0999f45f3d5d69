// The table of a worker's life, and the little that stands around it.
//
// W1  Nothing but step() changes an instance, and step() does nothing else: no clock, no chance, no
//     system call.
// W2  Every pair of state and event has exactly one row; a pair that changes nothing is a row
//     marked ignored. The compiler checks it (see `complete`).
// W3  A state has at most one deadline; entering a state sets or clears it. Staying in `killing`
//     counts as entering it again. A deadline that has not passed is not one.
// W4  `pid` is not 0 exactly in the states with a process, once it is known.
// W5  SIGKILL is never the first word to a program that runs, except to a failed replacement and
//     when somebody asked for it; after stop.timeout it is always the last.
// W6  Whoever was told to drain, stop or die is not wanted any more and is never started again,
//     unless asked to (start, retry).
// W7  A replacement on trial has one life: every exit of it ends in `failed`.
// W8  A shortage never counts against the program and never ends in `failed`, not even on trial.
// W9  Every change of state yields one Transition with a cause.
#include "worker_fsm.hpp"

#include <algorithm>

namespace greensup {
namespace {

using S = State;
using E = Event;
using A = Action;

// How long SIGKILL may take before it is sent again: a process in an uninterruptible system call
// dies late, and one that was in the middle of exec may have missed it with its old group.
constexpr Duration kill_again = 5s;

constexpr Rule moves[] = {
    {S::stopped, E::start, S::waiting},
    {S::stopped, E::retry, S::waiting},

    {S::waiting, E::permit, S::spawning, A::spawn},
    {S::waiting, E::drain, S::stopped},
    {S::waiting, E::stop, S::stopped},
    {S::waiting, E::kill, S::stopped},

    {S::spawning, E::spawned, S::starting},
    {S::spawning, E::ready, S::ready, A::announce_ready},  // its word overtook the news of its exec
    {S::spawning, E::shortage, S::backoff},
    {S::spawning, E::exit_gone, S::stopped},
    {S::spawning, E::exit_retry, S::backoff},
    {S::spawning, E::exit_done, S::done},
    {S::spawning, E::exit_fail, S::failed},
    {S::spawning, E::deadline, S::killing, A::send_kill},
    {S::spawning, E::drain, S::killing, A::send_kill},  // it is still our own code: nothing to lose
    {S::spawning, E::stop, S::killing, A::send_kill},
    {S::spawning, E::kill, S::killing, A::send_kill},

    {S::starting, E::ready, S::ready, A::announce_ready},
    {S::starting, E::exit_gone, S::stopped},
    {S::starting, E::exit_retry, S::backoff},
    {S::starting, E::exit_done, S::done},
    {S::starting, E::exit_fail, S::failed},
    {S::starting, E::deadline, S::stopping, A::send_stop},
    {S::starting, E::drain, S::stopping, A::send_stop},
    {S::starting, E::stop, S::stopping, A::send_stop},
    {S::starting, E::kill, S::killing, A::send_kill},

    {S::ready, E::exit_gone, S::stopped},
    {S::ready, E::exit_retry, S::backoff},
    {S::ready, E::exit_done, S::done},
    {S::ready, E::exit_fail, S::failed},
    {S::ready, E::drain, S::draining, A::ask_drain},
    {S::ready, E::stop, S::stopping, A::send_stop},
    {S::ready, E::kill, S::killing, A::send_kill},

    {S::draining, E::exit_gone, S::stopped},
    {S::draining, E::exit_retry, S::backoff},
    {S::draining, E::exit_done, S::done},
    {S::draining, E::exit_fail, S::failed},
    {S::draining, E::deadline, S::stopping, A::send_stop},
    {S::draining, E::stop, S::stopping, A::send_stop},
    {S::draining, E::kill, S::killing, A::send_kill},

    {S::stopping, E::exit_gone, S::stopped},
    {S::stopping, E::exit_retry, S::backoff},
    {S::stopping, E::exit_done, S::done},
    {S::stopping, E::exit_fail, S::failed},
    {S::stopping, E::deadline, S::killing, A::send_kill},
    {S::stopping, E::kill, S::killing, A::send_kill},

    {S::killing, E::spawned, S::killing,
     A::send_kill},  // the first one may have hit before its new session
    {S::killing, E::exit_gone, S::stopped},
    {S::killing, E::exit_retry, S::backoff},
    {S::killing, E::exit_done, S::done},
    {S::killing, E::exit_fail, S::failed},
    {S::killing, E::deadline, S::killing, A::send_kill},

    {S::backoff, E::deadline, S::waiting},
    {S::backoff, E::retry, S::waiting},
    {S::backoff, E::drain, S::stopped},
    {S::backoff, E::stop, S::stopped},
    {S::backoff, E::kill, S::stopped},

    {S::done, E::start, S::waiting},
    {S::done, E::retry, S::waiting},
    {S::done, E::drain, S::stopped},
    {S::done, E::stop, S::stopped},
    {S::done, E::kill, S::stopped},

    {S::failed, E::start, S::waiting},
    {S::failed, E::retry, S::waiting},
    {S::failed, E::drain, S::stopped},
    {S::failed, E::stop, S::stopped},
    {S::failed, E::kill, S::stopped},
};

// What may arrive late, twice or too early and then means nothing.
struct Ignored {
    State state;
    Event events[10];
    std::size_t count;
};
constexpr Ignored ignored[] = {
    {S::stopped,
     {E::permit, E::spawned, E::ready, E::shortage, E::exit_gone, E::exit_retry, E::exit_done,
      E::exit_fail, E::deadline, E::drain},
     10},
    {S::stopped, {E::stop, E::kill}, 2},
    {S::waiting,
     {E::start, E::spawned, E::ready, E::shortage, E::exit_gone, E::exit_retry, E::exit_done,
      E::exit_fail, E::deadline, E::retry},
     10},
    {S::spawning, {E::start, E::permit, E::retry}, 3},
    {S::starting, {E::start, E::permit, E::spawned, E::shortage, E::retry}, 5},
    {S::ready, {E::start, E::permit, E::spawned, E::ready, E::shortage, E::deadline, E::retry}, 7},
    {S::draining, {E::start, E::permit, E::spawned, E::ready, E::shortage, E::drain, E::retry}, 7},
    {S::stopping,
     {E::start, E::permit, E::spawned, E::ready, E::shortage, E::drain, E::stop, E::retry},
     8},
    {S::killing,
     {E::start, E::permit, E::ready, E::shortage, E::drain, E::stop, E::kill, E::retry},
     8},
    {S::backoff,
     {E::start, E::permit, E::spawned, E::ready, E::shortage, E::exit_gone, E::exit_retry,
      E::exit_done, E::exit_fail},
     9},
    {S::done,
     {E::permit, E::spawned, E::ready, E::shortage, E::exit_gone, E::exit_retry, E::exit_done,
      E::exit_fail, E::deadline},
     9},
    {S::failed,
     {E::permit, E::spawned, E::ready, E::shortage, E::exit_gone, E::exit_retry, E::exit_done,
      E::exit_fail, E::deadline},
     9},
};

constexpr std::size_t index_of(State state, Event event) {
    return static_cast<std::size_t>(state) * event_count + static_cast<std::size_t>(event);
}

struct Table {
    std::array<Rule, state_count * event_count> rules{};
    std::array<int, state_count * event_count> rows{};
};

constexpr Table build() {
    Table table;
    for (const auto& rule : moves) {
        table.rules[index_of(rule.from, rule.event)] = rule;
        ++table.rows[index_of(rule.from, rule.event)];
    }
    for (const auto& group : ignored) {
        for (std::size_t i = 0; i < group.count; ++i) {
            const auto index = index_of(group.state, group.events[i]);
            table.rules[index] = {group.state, group.events[i], group.state, A::none, true};
            ++table.rows[index];
        }
    }
    return table;
}

constexpr Table table = build();
constexpr bool complete =
    std::all_of(table.rows.begin(), table.rows.end(), [](int rows) { return rows == 1; });
static_assert(complete, "W2: a pair of state and event has no row, or two");

bool is_exit(Event event) {
    return event == E::exit_gone || event == E::exit_retry || event == E::exit_done ||
           event == E::exit_fail;
}

/// Works on a copy of the instance; see step().
class Stepper {
 public:
    Stepper(const WorkerConfig& worker, const Instance& instance, TimePoint now, double chance)
        : worker_(worker), next_(instance), now_(now), chance_(chance) {}

    Step run(const Input& input) {
        // A timer that was set for an earlier state says nothing about this one.
        const bool due = next_.deadline && now_ >= *next_.deadline;
        if (input.what == Input::What::deadline && !due)
            return {std::move(next_), Action::none, std::nullopt};
        const auto from = next_.state;
        const auto event = judge(input);
        const auto& rule = rule_for(from, event);
        if (rule.ignored) return {std::move(next_), Action::none, std::nullopt};
        const int pid = next_.pid != 0                       ? next_.pid
                        : input.what == Input::What::spawned ? input.number
                                                             : 0;
        enter(rule, event, input);
        return {next_, rule.action,
                Transition{next_.slot, next_.generation, from, rule.to, next_.cause, pid, now_}};
    }

 private:
    /// Translates what the shell saw into what the table knows, and settles what follows from it.
    Event judge(const Input& input) {
        using What = Input::What;
        switch (input.what) {
            case What::start:
                return want(E::start, input);
            case What::retry:
                return want(E::retry, input);
            case What::drain:
                // Who has no time to drain, or cannot be asked, is stopped at once.
                return unwant(worker_.stop.drain == Duration::zero() ? E::stop : E::drain, input);
            case What::stop:
                return unwant(E::stop, input);
            case What::kill:
                return unwant(E::kill, input);
            case What::permit:
                return E::permit;
            case What::spawned:
                return E::spawned;
            case What::ready:
                return E::ready;
            case What::deadline:
                return judge_deadline();
            case What::shortage:
                return judge_shortage(input);
            case What::exec_failed:
                return judge_exit({Cause::Kind::exec, input.number, input.text}, false);
            case What::exited:
                break;
        }
        return judge_exit(
            {input.by_signal ? Cause::Kind::signal : Cause::Kind::exit, input.number, ""},
            is_success(worker_, input.by_signal, input.number));
    }

    Event want(Event event, const Input& input) {
        if (rule_for(next_.state, event).ignored) return event;
        next_.wanted = true;
        next_.cause = {Cause::Kind::requested, 0, input.text};
        next_.budget = {};  // what a person starts does not count against the program
        return event;
    }

    Event unwant(Event event, const Input& input) {
        next_.wanted = false;  // also where the table ignores it: W6
        if (!rule_for(next_.state, event).ignored)
            next_.cause = {Cause::Kind::requested, 0, input.text};
        return event;
    }

    Event judge_deadline() {
        // A program that cannot say that it is ready is so by having lived through ready.delay.
        if (next_.state == S::starting && worker_.kind == Kind::exec) return E::ready;
        if (next_.state == S::starting || next_.state == S::spawning)
            next_.cause = {Cause::Kind::start_timeout, 0, ""};
        if (next_.state == S::draining) next_.cause = {Cause::Kind::drain_timeout, 0, ""};
        if (next_.state == S::stopping) next_.cause = {Cause::Kind::stop_timeout, 0, ""};
        return E::deadline;
    }

    Event judge_shortage(const Input& input) {
        const bool given_up = next_.state == S::killing && next_.pid == 0;
        if (given_up && !next_.wanted) return E::exit_gone;
        if (!given_up && next_.state != S::spawning) return E::shortage;
        auto decision = after_shortage(std::move(next_.budget), chance_);
        next_.budget = std::move(decision.budget);
        delay_ = decision.delay;
        next_.cause = {Cause::Kind::shortage, input.number, input.text};
        return given_up ? E::exit_retry : E::shortage;
    }

    /// W6, W7, the restart policy and the budget, in this order.
    Event judge_exit(const Cause& cause, bool success) {
        if (!has_process(next_.state)) return E::exit_gone;
        // Our own signal is not the reason; what made us send it is, and is already noted.
        const bool ours = next_.state == S::stopping || next_.state == S::killing;
        if (!ours && next_.wanted) next_.cause = cause;
        if (next_.wanted) next_.last_exit = next_.cause;
        if (next_.on_trial && next_.wanted) return E::exit_fail;
        if (!next_.wanted) return E::exit_gone;
        const bool abnormal = cause.kind != Cause::Kind::exit || ours;
        const bool again =
            worker_.restart == RestartWhen::always ||
            (worker_.restart == RestartWhen::on_failure && (!success || ours)) ||
            (worker_.restart == RestartWhen::on_abnormal && abnormal && (!success || ours));
        // What never became the program did not do its work: that is no end to call done.
        if (!again) return cause.kind == Cause::Kind::exec ? E::exit_fail : E::exit_done;
        const auto served = next_.ready_since ? now_ - *next_.ready_since : Duration::zero();
        auto decision = after_exit(worker_, std::move(next_.budget), served, now_, chance_);
        next_.budget = std::move(decision.budget);
        delay_ = decision.delay;
        return decision.give_up ? E::exit_fail : E::exit_retry;
    }

    void enter(const Rule& rule, Event event, const Input& input) {
        if (rule.to != rule.from) next_.since = now_;
        next_.state = rule.to;
        next_.deadline = deadline_of(rule.to);
        if (input.what == Input::What::spawned) next_.pid = input.number;
        if (is_exit(event) || event == E::shortage) next_.pid = 0;
        if (rule.to == S::ready) next_.ready_since = now_, next_.cause = {};
        if (rule.action == A::spawn) ++next_.starts;
        if (event == E::exit_retry) ++next_.restarts;
        if (!has_process(rule.to)) next_.ready_since.reset();
    }

    std::optional<TimePoint> deadline_of(State state) const {
        switch (state) {
            case S::spawning:
                return now_ + worker_.start_timeout;
            case S::starting:
                return now_ +
                       (worker_.kind == Kind::exec ? worker_.ready_delay : worker_.start_timeout);
            case S::draining:
                return now_ + worker_.stop.drain;
            case S::stopping:
                return now_ + worker_.stop.timeout;
            case S::killing:
                return now_ + kill_again;
            case S::backoff:
                return now_ + delay_;
            case S::stopped:
            case S::waiting:
            case S::ready:
            case S::done:
            case S::failed:
                break;
        }
        return std::nullopt;
    }

    const WorkerConfig& worker_;
    Instance next_;
    TimePoint now_;
    double chance_;
    Duration delay_{};
};

}  // namespace

const std::array<Rule, state_count * event_count>& rules() { return table.rules; }
const Rule& rule_for(State state, Event event) { return table.rules[index_of(state, event)]; }

bool has_process(State state) {
    return state == S::spawning || state == S::starting || state == S::ready ||
           state == S::draining || state == S::stopping || state == S::killing;
}

Step step(const WorkerConfig& worker, const Instance& instance, const Input& input, TimePoint now,
          double chance) {
    return Stepper{worker, instance, now, chance}.run(input);
}

}  // namespace greensup
