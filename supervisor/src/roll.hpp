// Replacing a pool's instances one by one, decided without doing anything.
//
// The shell describes the pool, gets one action, does it, describes again, until the answer is to
// wait, that it is done, or that it failed. Nothing is remembered in between, so a crash, a second
// HUP or a changed count in the middle needs no special path.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clock.hpp"
#include "config.hpp"
#include "worker_fsm.hpp"

namespace greensup {

/// One instance of the pool; slot and generation together name it.
struct RollMember {
    int slot = 0;
    std::uint64_t generation = 0;
    State state = State::stopped;
    bool on_trial = false;
    std::optional<TimePoint> ready_since;
    Cause cause;
};

RollMember roll_member(const Instance& instance);

struct RollView {
    int count = 0;             // slots wanted, from the new configuration
    std::uint64_t target = 0;  // the generation everybody should be of
    RollConfig policy;
    TimePoint progressed{};  // when the roll began, last confirmed, or last saw a retired one gone
    std::vector<RollMember> members;
};

struct RollAction {
    enum class What {
        start,    // a new instance for `slot`, of the target generation, on trial
        confirm,  // slot's new instance has proved itself: no longer on trial
        retire,   // drain (slot, generation): it is replaced, or its slot is gone
        discard,  // kill (slot, generation): a replacement on trial that a newer roll superseded
        wait,     // nothing to do before `until`, or before something happens
        done,     // all serve in the target generation; forget what is over of older ones
        failed,   // `why`; kill `trials` of the target generation and forget it: this roll is over.
                  // Everybody else stays as he is
    };
    What what = What::wait;
    int slot = 0;
    std::uint64_t generation = 0;
    std::optional<TimePoint> until;
    std::string why;
    std::vector<int>
        trials;  // failed: the slots whose new instance still lives and is to be killed
};

/// The next thing to do for this roll.
/// Guarantees: an old instance is retired only when the new one of its slot has been ready for
/// min_ready, or its slot is gone; within the slots below `count`, at most `count` + max_surge
/// processes exist (old ones that still drain count); after the first failure nothing is started
/// or retired any more. An old instance that crashes meanwhile is restarted by its own state
/// machine in its own generation, the only proven one, and replaced when its turn comes.
RollAction next_roll_action(const RollView& view, TimePoint now);

/// "retire 1 of generation 3", "wait until …", "failed: slot 0 …"
std::string to_text(const RollAction& action);

}  // namespace greensup
