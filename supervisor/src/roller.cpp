#include "roller.hpp"

#include <algorithm>

#include <green/deadline.hpp>
#include <green/log.hpp>

#include "launch.hpp"

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

/// The pipes of which the present instances of this pool have an end, with their names.
std::map<std::shared_ptr<OpenPipe>, std::string> pipes_of(const Pool& pool, bool reads) {
    std::map<std::shared_ptr<OpenPipe>, std::string> pipes;
    for (const auto& member : pool.members) {
        if (is_over(member->instance.state)) continue;
        for (const auto& grant : pipe_grants(member->edition->config, pool.name))
            if (grant.reads == reads)
                pipes.emplace(member->edition->pipes.at(grant.pipe), grant.pipe);
    }
    return pipes;
}

}  // namespace

void Roller::begin(const std::vector<std::string>& pools, std::shared_ptr<const Edition> edition) {
    cancel();
    failures_.clear();
    edition_ = std::move(edition);
    target_ = edition_->generation;
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
    waits_for_.clear();
    has_begun_ = false;
}

// --- whose turn it is ---

std::map<std::string, std::string> Roller::writers_ahead_of(const Pool& pool) const {
    std::map<std::string, std::string> ahead;
    auto going = pipes_of(pool, true);
    for (const auto& [name, pipe] : edition_->pipes) going.erase(pipe);
    for (const auto& other : fleet_.pools())
        for (const auto& [pipe, name] : pipes_of(*other, false))
            if (going.contains(pipe)) ahead.emplace(other->name, name);
    return ahead;
}

std::set<std::string> Roller::all_ahead_of(const Pool& pool) const {
    std::set<std::string> all;
    std::vector<std::string> to_see{pool.name};
    while (!to_see.empty()) {
        const auto seen = fleet_.find(to_see.back());
        to_see.pop_back();
        for (const auto& [writer, pipe] : writers_ahead_of(*seen))
            if (all.insert(writer).second) to_see.push_back(writer);
    }
    return all;
}

bool Roller::is_next(const Pool& pool) const {
    const auto ahead = all_ahead_of(pool);
    return std::all_of(ahead.begin(), ahead.end(), [&](const std::string& writer) {
        return all_ahead_of(*fleet_.find(writer)).contains(pool.name);
    });
}

bool Roller::is_to_roll(const std::string& pool) const {
    return std::find(waiting_.begin(), waiting_.end(), pool) != waiting_.end();
}

bool Roller::is_to_go(const std::string& pool) const {
    return edition_->config.worker(pool) == nullptr;
}

std::string Roller::held_by(const Pool& pool, std::set<std::string> seen) const {
    seen.insert(pool.name);
    for (const auto& [writer, pipe] : writers_ahead_of(pool)) {
        if (seen.contains(writer) || is_to_roll(writer)) continue;
        if (!is_to_go(writer))
            return std::string{writer}.append(", which writes into pipe ").append(pipe);
        if (auto holder = held_by(*fleet_.find(writer), seen); !holder.empty()) return holder;
    }
    return {};
}

bool Roller::choose() {
    waits_for_.clear();
    const auto may_go = [&](const std::string& name) {
        bool may = true;
        for (const auto& writer : all_ahead_of(*fleet_.find(name))) {
            const bool goes = is_to_go(writer) && held_by(*fleet_.find(writer)).empty();
            if (goes) waits_for_.insert(writer);
            may = may && !goes && !is_to_roll(writer);
        }
        return may;
    };
    auto chosen = std::find_if(waiting_.begin(), waiting_.end(), may_go);
    if (chosen == waiting_.end()) {
        const auto is_next = [&](const auto& name) { return this->is_next(*fleet_.find(name)); };
        if (std::any_of(waits_for_.begin(), waits_for_.end(), is_next)) return false;
        // They go round in a circle: one that nobody else is ahead of.
        chosen = std::find_if(waiting_.begin(), waiting_.end(), is_next);
        if (chosen == waiting_.end()) chosen = waiting_.begin();
    }
    waits_for_.clear();
    std::rotate(waiting_.begin(), chosen, std::next(chosen));
    return true;
}

// --- step by step ---

std::optional<TimePoint> Roller::advance() {
    while (!waiting_.empty()) {
        if (!has_begun_ && !choose()) return std::nullopt;
        const auto pool = fleet_.find(waiting_.front());
        if (!has_begun_) {
            if (const auto writer = held_by(*pool); !writer.empty()) {
                fail(*pool, writer + ", has not moved");
                waiting_.pop_front();
                continue;
            }
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
            fail(pool, action.why);
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

void Roller::fail(Pool& pool, const std::string& why) {
    for (const auto& member : pool.members) {
        if (!member->instance.on_trial) continue;
        member->is_leaving = true;
        if (!is_over(member->instance.state))
            fleet_.apply(*member, Input::request(Input::What::kill, "roll failed"));
    }
    pool.is_rolling = false;
    pool.note = "roll failed: " + why;
    failures_.push_back(pool.name + ": " + why);
    green::log::error("roll.failed", {{"pool", pool.name},
                                      {"generation", target_},
                                      {"why", why},
                                      {"now", "the old ones keep serving"}});
}

}  // namespace greensup
