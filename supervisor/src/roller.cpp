#include "roller.hpp"

#include <algorithm>

#include <green/deadline.hpp>
#include <green/log.hpp>

namespace greensup {
namespace {

using What = RollAction::What;

/// Who is meant by an action. Somebody who is leaving may have the same slot and generation.
Member* find(const Pool& pool, int slot, std::uint64_t generation) {
    for (const auto& member : pool.members)
        if (member->instance.slot == slot && member->instance.generation == generation &&
            !member->is_leaving)
            return member.get();
    return nullptr;
}

std::string progress(const Pool& pool, std::uint64_t target) {
    const auto moved =
        std::count_if(pool.members.begin(), pool.members.end(), [&](const auto& member) {
            return member->instance.generation == target && !member->instance.on_trial;
        });
    return std::to_string(moved) + " of " + std::to_string(pool.worker()->count) + " moved";
}

}  // namespace

void Roller::begin(const std::vector<std::string>& pools, std::uint64_t generation) {
    cancel();
    failures_.clear();
    target_ = generation;
    waiting_.assign(pools.begin(), pools.end());
    for (const auto& name : pools) {
        const auto pool = fleet_.find(name);
        pool->is_settled = false;
        pool->is_rolling = true;
        pool->note = "waits for its turn to roll";
    }
}

void Roller::cancel() {
    for (const auto& name : waiting_) {
        if (const auto pool = fleet_.find(name)) {
            pool->is_rolling = false;
            pool->note.clear();
        }
    }
    waiting_.clear();
    has_begun_ = false;
}

std::optional<TimePoint> Roller::advance() {
    while (!waiting_.empty()) {
        const auto pool = fleet_.find(waiting_.front());
        if (!has_begun_) {
            has_begun_ = true;
            progressed_ = green::now();
            old_ones_ = 0;
            green::log::info("roll.begin", {{"pool", pool->name}, {"generation", target_}});
        }
        notice_the_gone(*pool);
        const auto action = next_roll_action(view_of(*pool), green::now());
        if (action.what == What::wait) {
            pool->note = progress(*pool, target_);
            return action.until;
        }
        if (!act(*pool, action)) continue;
        waiting_.pop_front();
        has_begun_ = false;
    }
    return std::nullopt;
}

RollView Roller::view_of(const Pool& pool) const {
    RollView view;
    view.count = pool.worker()->count;
    view.target = target_;
    view.policy = pool.worker()->roll;
    view.progressed = progressed_;
    for (const auto& member : pool.members) view.members.push_back(roll_member(member->instance));
    return view;
}

/// The time that old ones take to leave is their own; the roll's deadline starts over behind it.
void Roller::notice_the_gone(const Pool& pool) {
    const auto now_old = static_cast<std::size_t>(
        std::count_if(pool.members.begin(), pool.members.end(), [&](const auto& member) {
            return member->instance.generation != target_ && !is_over(member->instance.state);
        }));
    if (now_old < old_ones_) progressed_ = green::now();
    old_ones_ = now_old;
}

bool Roller::act(Pool& pool, const RollAction& action) {
    auto* member = find(pool, action.slot, action.generation);
    switch (action.what) {
        case What::start:
            fleet_.add(pool, action.slot, action.generation, true, "roll");
            return false;
        case What::confirm:
            member->instance.on_trial = false;
            progressed_ = green::now();
            return false;
        case What::retire:
            member->is_leaving = true;
            fleet_.apply(*member, Input::request(Input::What::drain, action.why));
            return false;
        case What::discard:
            member->is_leaving = true;
            fleet_.apply(*member, Input::request(Input::What::kill, action.why));
            return false;
        case What::done:
            finish(pool);
            return true;
        case What::failed:
            fail(pool, action);
            return true;
        case What::wait:
            break;
    }
    return false;
}

void Roller::finish(Pool& pool) {
    for (const auto& member : pool.members)
        if (member->instance.generation != target_) member->is_leaving = true;
    pool.generation = target_;
    pool.is_settled = true;
    pool.is_rolling = false;
    pool.note.clear();
    green::log::info("roll.done", {{"pool", pool.name}, {"generation", target_}});
}

void Roller::fail(Pool& pool, const RollAction& action) {
    for (const auto& member : pool.members) {
        if (member->instance.generation != target_ || !member->instance.on_trial) continue;
        member->is_leaving = true;
        if (!is_over(member->instance.state))
            fleet_.apply(*member, Input::request(Input::What::kill, "roll failed"));
    }
    pool.is_rolling = false;
    pool.note = "roll failed: " + action.why;
    failures_.push_back(pool.name + ": " + action.why);
    green::log::error("roll.failed", {{"pool", pool.name},
                                      {"generation", target_},
                                      {"why", action.why},
                                      {"now", "the old ones keep serving"}});
}

}  // namespace greensup
