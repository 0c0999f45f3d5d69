// What has to happen so that the processes become what the configuration says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config.hpp"

namespace greensup {

/// What runs now, as far as planning needs it.
struct RosterPool {
    std::string name;
    std::vector<int> slots;  // that have an instance, whatever its state
    bool settled = true;     // false: the last roll failed, generations are mixed
};
struct Roster {
    std::vector<RosterPool> pools;
};

/// `changed`: touch only what differs (reload). `everything`: also roll every pool (HUP).
enum class Scope { changed, everything };

struct PlanStep {
    enum class What {
        update_supervisor,  // a live key of [supervisor] changed
        bind_socket,        // new, or its address changed: bind before anybody needs it
        open_queue,         // new
        open_pipe,          // new
        update_queue,       // live keys changed: no process is touched
        start_pool,         // new: start `slots`
        update_pool,        // live keys changed: no process is touched
        scale_up,           // start `slots`
        scale_down,         // drain `slots`
        roll_pool,          // replace `slots` one by one; slots above the new count are retired
        retire_pool,        // gone from the file: drain all
        close_socket,       // nobody uses it any more, or a new binding took its place
        close_pipe,         // gone from the file
        close_queue,        // gone from the file; a segment that still holds messages stays on disk
        needs_restart,      // changed, but takes effect only when the supervisor starts anew
    };
    What what;
    std::string name;
    std::vector<int> slots;
    std::vector<std::string> reasons;  // "count: 2 -> 4"

    friend bool operator==(const PlanStep&, const PlanStep&) = default;
};

/// Steps in the order in which they must be done. Rolls and retirements take time; a step that
/// follows them (close_socket, close_queue, close_pipe) waits for them.
struct Plan {
    std::vector<PlanStep> steps;

    [[nodiscard]] bool empty() const { return steps.empty(); }
};

/// Compares two configurations. For the first start `before` is an empty Config.
Plan make_plan(const Config& before, const Config& after, const Roster& roster, Scope scope);

/// One line per step, for `reload` and the log: "roll    web      slots 0 1     command: ./a ->
/// ./b".
std::string to_text(const Plan& plan);

}  // namespace greensup
