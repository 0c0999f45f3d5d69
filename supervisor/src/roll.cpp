#include "roll.hpp"

#include <algorithm>

#include "units.hpp"

namespace greensup {
namespace {

using What = RollAction::What;

/// No process and none to come: nothing that the roll would have to wait for.
bool is_over(State state) {
    return state == State::stopped || state == State::done || state == State::failed;
}

/// Told to go, or gone.
bool is_leaving(State state) {
    return state == State::draining || state == State::stopping || state == State::killing ||
           is_over(state);
}

/// On its way up by itself, soon.
bool is_coming(State state) {
    return state == State::waiting || state == State::spawning || state == State::starting;
}

class Decider {
 public:
    Decider(const RollView& view, TimePoint now) : view_(view), now_(now) {}

    RollAction run() const {
        if (auto action = superseded()) return *action;
        if (auto action = failure()) return *action;
        if (auto action = confirmation()) return *action;
        if (auto action = retirement()) return *action;
        if (auto action = next_start()) return *action;
        if (finished()) return {What::done, 0, 0, std::nullopt, "", {}};
        return waiting();
    }

 private:
    [[nodiscard]] bool is_new(const RollMember& m) const { return m.generation == view_.target; }

    [[nodiscard]] const RollMember* new_one(int slot) const {
        for (const auto& m : view_.members)
            if (m.slot == slot && is_new(m)) return &m;
        return nullptr;
    }

    /// A replacement of an earlier roll that had not proved itself when this one began.
    [[nodiscard]] std::optional<RollAction> superseded() const {
        for (const auto& m : view_.members)
            if (!is_new(m) && m.on_trial && !is_leaving(m.state))
                return RollAction{What::discard, m.slot,       m.generation,
                                  std::nullopt,  "superseded", {}};
        return std::nullopt;
    }

    [[nodiscard]] std::string reason() const {
        for (const auto& m : view_.members) {
            if (!is_new(m) || !m.on_trial || !is_leaving(m.state)) continue;
            const auto why = to_text(m.cause);
            return "slot " + std::to_string(m.slot) + " of generation " +
                   std::to_string(m.generation) + ": " +
                   (why.empty() ? "it is " + std::string(to_text(m.state)) : why);
        }
        const auto end = deadline();
        if (end && now_ >= *end && !finished())
            return "no progress for " + to_text(view_.policy.deadline);
        return {};
    }

    [[nodiscard]] std::optional<RollAction> failure() const {
        auto why = reason();
        if (why.empty()) return std::nullopt;
        RollAction action{What::failed, 0, view_.target, std::nullopt, std::move(why), {}};
        for (const auto& m : view_.members)
            if (is_new(m) && m.on_trial && !is_leaving(m.state)) action.trials.push_back(m.slot);
        return action;
    }

    [[nodiscard]] std::optional<TimePoint> proved_at(const RollMember& m) const {
        if (!is_new(m) || !m.on_trial || m.state != State::ready || !m.ready_since)
            return std::nullopt;
        return *m.ready_since + view_.policy.min_ready;
    }

    [[nodiscard]] std::optional<RollAction> confirmation() const {
        for (const auto& m : view_.members) {
            const auto at = proved_at(m);
            if (at && now_ >= *at)
                return RollAction{What::confirm, m.slot, m.generation, std::nullopt, "", {}};
        }
        return std::nullopt;
    }

    /// An old one goes when its successor has proved itself, and those beyond the count go when
    /// nobody is left to be replaced: until then they help to carry the load.
    [[nodiscard]] std::optional<RollAction> retirement() const {
        for (const auto& m : view_.members) {
            if (is_new(m) || is_leaving(m.state)) continue;
            const auto* successor = new_one(m.slot);
            const bool replaced = m.slot < view_.count && successor != nullptr &&
                                  !successor->on_trial && successor->state == State::ready;
            if (replaced && !others_coming(*successor))
                return RollAction{What::retire, m.slot, m.generation, std::nullopt, "replaced", {}};
        }
        for (const auto& m : view_.members)
            if (m.slot >= view_.count && !is_leaving(m.state) && all_moved())
                return RollAction{What::retire,       m.slot, m.generation, std::nullopt,
                                  "its slot is gone", {}};
        return std::nullopt;
    }

    /// Somebody crashed while this roll went on and is just coming back: wait for him, so that the
    /// number of those who serve does not fall. He is not waited for while he is in back-off.
    [[nodiscard]] bool others_coming(const RollMember& successor) const {
        return std::any_of(view_.members.begin(), view_.members.end(), [&](const RollMember& m) {
            return &m != &successor && !m.on_trial && m.slot != successor.slot &&
                   m.slot < view_.count && is_coming(m.state);
        });
    }

    [[nodiscard]] bool moved(int slot) const {
        const auto* m = new_one(slot);
        return m != nullptr && !m->on_trial;
    }

    [[nodiscard]] bool all_moved() const {
        for (int slot = 0; slot < view_.count; ++slot)
            if (!moved(slot)) return false;
        return true;
    }

    /// Slots whose old instance does not serve come first: they have nothing to lose. Nothing is
    /// started while somebody who was moved before is away again: the new version is then suspect,
    /// and if it does not come back the deadline ends the roll.
    [[nodiscard]] std::optional<RollAction> next_start() const {
        std::optional<int> chosen;
        bool chosen_serves = true;
        for (int slot = 0; slot < view_.count; ++slot) {
            const auto* newer = new_one(slot);
            if (newer != nullptr && !newer->on_trial && newer->state != State::ready)
                return std::nullopt;
            if (newer != nullptr) continue;
            const bool serves = slot_serves(slot);
            if (!chosen || (chosen_serves && !serves)) chosen = slot, chosen_serves = serves;
        }
        if (!chosen || alive() >= view_.count + resolve(view_.policy.max_surge, view_.count))
            return std::nullopt;
        return RollAction{What::start, *chosen, view_.target, std::nullopt, "", {}};
    }

    [[nodiscard]] bool slot_serves(int slot) const {
        return std::any_of(view_.members.begin(), view_.members.end(), [&](const RollMember& m) {
            return m.slot == slot && m.state == State::ready;
        });
    }

    /// What the surge limit is about: all that have a process or will have one, the leaving ones
    /// included. Those beyond the count were there before and go at the end.
    [[nodiscard]] int alive() const {
        return static_cast<int>(std::count_if(
            view_.members.begin(), view_.members.end(),
            [&](const RollMember& m) { return m.slot < view_.count && !is_over(m.state); }));
    }

    /// Old ones on their way out have deadlines of their own; the roll's does not run meanwhile.
    [[nodiscard]] std::optional<TimePoint> deadline() const {
        const auto limit = view_.policy.deadline;
        const bool leaving =
            std::any_of(view_.members.begin(), view_.members.end(), [&](const RollMember& m) {
                return !is_new(m) && is_leaving(m.state) && !is_over(m.state);
            });
        if (limit == Duration::zero() || leaving) return std::nullopt;
        return view_.progressed + limit;
    }

    /// Everybody is of the target generation and nobody else has a process left.
    [[nodiscard]] bool finished() const {
        return all_moved() &&
               std::all_of(view_.members.begin(), view_.members.end(), [&](const RollMember& m) {
                   return (is_new(m) && m.slot < view_.count) || is_over(m.state);
               });
    }

    [[nodiscard]] RollAction waiting() const {
        std::optional<TimePoint> until;
        const auto sooner = [&](TimePoint at) { until = until ? std::min(*until, at) : at; };
        for (const auto& m : view_.members)
            if (const auto at = proved_at(m)) sooner(*at);
        if (const auto end = deadline()) sooner(*end);
        return {What::wait, 0, view_.target, until, "", {}};
    }

    const RollView& view_;
    TimePoint now_;
};

}  // namespace

RollMember roll_member(const Instance& instance) {
    return {instance.slot,     instance.generation,  instance.state,
            instance.on_trial, instance.ready_since, instance.cause};
}

RollAction next_roll_action(const RollView& view, TimePoint now) {
    return Decider{view, now}.run();
}

std::string to_text(const RollAction& action) {
    const auto whom =
        std::to_string(action.slot) + " of generation " + std::to_string(action.generation);
    const auto why = action.why.empty() ? std::string() : ": " + action.why;
    switch (action.what) {
        case What::start:
            return "start " + whom;
        case What::confirm:
            return "confirm " + whom;
        case What::retire:
            return "retire " + whom + why;
        case What::discard:
            return "discard " + whom + why;
        case What::wait:
            return "wait";
        case What::done:
            return "done";
        case What::failed:
            return "failed" + why;
    }
    return "";
}

}  // namespace greensup
