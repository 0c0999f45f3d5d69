// The life of one worker process, as data.
//
// An Instance is one slot of a pool in one generation of its configuration, over all its restarts.
// The shell (spawner, control channel, timers) tells it what happened and does what it answers;
// nothing else decides. The invariants W1… and the table stand in worker_fsm.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clock.hpp"
#include "config.hpp"
#include "restart_budget.hpp"

namespace greensup {

enum class State : std::uint8_t {
    stopped,   // no process, none wanted
    waiting,   // wanted; waits for a spawn permit or for what it is `after`
    spawning,  // a process was asked for; exec is not confirmed yet
    starting,  // the program runs and has not said that it is ready
    ready,     // serves
    draining,  // takes nothing new, finishes what it has
    stopping,  // was sent stop.signal
    killing,   // was sent SIGKILL
    backoff,   // no process; the next try has a time
    done,      // left by itself, and its restart policy says that is the end
    failed,    // given up; somebody has to look
};
inline constexpr std::size_t state_count = 11;

/// What the table knows. The four exits are one fact, an exit, judged beforehand (see step()).
enum class Event : std::uint8_t {
    start,
    permit,
    spawned,
    ready,
    shortage,
    exit_gone,   // it was not wanted any more
    exit_retry,  // it is wanted: again after a while
    exit_done,   // its policy does not want it again
    exit_fail,   // no further try: too often, or a replacement that did not prove itself
    deadline,
    drain,
    stop,
    kill,
    retry,
};
inline constexpr std::size_t event_count = 14;

enum class Action : std::uint8_t { none, spawn, announce_ready, ask_drain, send_stop, send_kill };

struct Rule {
    State from;
    Event event;
    State to;
    Action action = Action::none;
    bool ignored = false;
};

/// Every pair of state and event, exactly once; state-major.
const std::array<Rule, state_count * event_count>& rules();
const Rule& rule_for(State state, Event event);

/// Why an instance is in the state it is in.
struct Cause {
    enum class Kind {
        none,
        requested,      // somebody asked; `text` says who or what: "shutdown", "roll", "scale"
        exit,           // `number` is the exit code
        signal,         // `number` is the signal
        exec,           // never became the program: `number` is errno, `text` stage and path
        shortage,       // the system had nothing to spare: `number` is errno, `text` what for
        start_timeout,  // did not get ready in time
        drain_timeout,  // did not finish draining in time
        stop_timeout,   // ignored its stop signal
    };
    Kind kind = Kind::none;
    int number = 0;
    std::string text;

    friend bool operator==(const Cause&, const Cause&) = default;
};

struct Instance {
    int slot = 0;
    std::uint64_t generation = 0;
    State state = State::stopped;
    bool wanted = false;
    /// A replacement that has yet to prove itself: if it leaves, it has failed and is not retried.
    bool on_trial = false;
    int pid = 0;
    TimePoint since{};
    std::optional<TimePoint> deadline;  // at most one: of the present state
    std::optional<TimePoint> ready_since;
    Cause cause;            // of the present state; none while it serves
    Cause last_exit;        // how it last left by itself
    unsigned starts = 0;    // processes asked for
    unsigned restarts = 0;  // how often it left by itself and was to be started again
    RestartBudget budget;
};

/// What happened, in the words of the shell.
struct Input {
    enum class What {
        start,
        permit,
        spawned,
        exec_failed,
        shortage,
        ready,
        exited,
        deadline,
        drain,
        stop,
        kill,
        retry
    };
    What what;
    int number = 0;  // spawned: pid; exec_failed, shortage: errno; exited: code or signal
    bool by_signal = false;
    std::string text;  // exec_failed: "exec ./web"; shortage: of what; requests: who asked

    static Input spawned(int pid);
    static Input exec_failed(int error, std::string stage_and_path);
    static Input shortage(int error, std::string what = "");
    static Input exited(int code);
    static Input killed_by(int signal);
    static Input request(What what, std::string who);  // start, drain, stop, kill, retry
    static Input of(What what);                        // permit, ready, deadline
};

struct Transition {
    int slot = 0;
    std::uint64_t generation = 0;
    State from = State::stopped;
    State to = State::stopped;
    Cause cause;
    int pid = 0;
    TimePoint at{};
};

struct Step {
    Instance instance;
    Action action = Action::none;
    std::optional<Transition> transition;  // nothing: the input was ignored
};

/// What an instance becomes when `input` happens at `now`. `chance` is a fresh random number in
/// [0,1); it spreads restarts. Call it with What::deadline once `instance.deadline` has passed.
Step step(const WorkerConfig& worker, const Instance& instance, const Input& input, TimePoint now,
          double chance);

/// Whether an instance in this state has, or may have, a process.
bool has_process(State state);

/// Whether the exit counts as a success for `worker`.
bool is_success(const WorkerConfig& worker, bool by_signal, int number);

std::string_view to_text(State state);
std::string_view to_text(Event event);
std::string_view to_text(Action action);
std::optional<State> parse_state(std::string_view text);

/// "exit 3", "signal KILL", "exec ./web: No such file or directory (ENOENT)", …
std::string to_text(const Cause& cause);

/// One line for the transition log: "slot=0 gen=2 starting -> ready pid=412: …".
std::string to_text(const Transition& transition);

}  // namespace greensup
