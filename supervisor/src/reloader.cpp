#include "reloader.hpp"

#include <algorithm>

#include <green/log.hpp>

#include "units.hpp"
#include "wall_clock.hpp"

namespace greensup {
namespace {

using What = PlanStep::What;

bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

Roster roster_of(const Fleet& fleet) {
    Roster roster;
    for (const auto& pool : fleet.pools()) {
        RosterPool known{pool->name, {}, pool->is_settled};
        for (const auto& member : pool->members)
            if (!member->is_leaving) known.slots.push_back(member->instance.slot);
        roster.pools.push_back(std::move(known));
    }
    return roster;
}

void log_mistakes(const Diagnostics& mistakes) {
    green::log::error("config.rejected",
                      {{"mistakes", mistakes.size()}, {"now", "the one before stays in force"}});
    for (const auto& mistake : mistakes)
        green::log::error("config.mistake", {{"file", mistake.file},
                                             {"line", mistake.place.line},
                                             {"column", mistake.place.column},
                                             {"code", mistake.code},
                                             {"key", mistake.key},
                                             {"message", mistake.message},
                                             {"hint", mistake.hint}});
}

void log_plan(const Plan& plan, std::uint64_t generation) {
    green::log::info("config.applied", {{"generation", generation}, {"steps", plan.steps.size()}});
    for (const auto& step : plan.steps)
        if (step.what == What::needs_restart)
            green::log::warning("config.later", {{"subject", step.name},
                                                 {"change", join(step.reasons, "; ")},
                                                 {"when", "at the next start"}});
}

/// Somebody of a pool that was started is still on his way up.
bool is_coming_up(const Pool& pool) {
    return std::any_of(pool.members.begin(), pool.members.end(), [](const auto& member) {
        const auto state = member->instance.state;
        return state == State::waiting || state == State::spawning || state == State::starting;
    });
}

std::string trouble_of(const Pool& pool) {
    for (const auto& member : pool.members) {
        const auto& instance = member->instance;
        if (instance.state != State::backoff && instance.state != State::failed) continue;
        return pool.name + ": slot " + std::to_string(instance.slot) + ": " +
               to_text(instance.cause);
    }
    return {};
}

}  // namespace

void Reloader::begin(Config config) {
    edition_ = editor_.make(nullptr, std::move(config), 1);
    for (const auto& worker : edition_->config.workers) {
        const auto pool = fleet_.add_pool(worker.name, edition_);
        for (int slot = 0; slot < worker.count; ++slot)
            fleet_.add(*pool, slot, edition_->generation, false, "start");
    }
}

std::shared_ptr<ReloadJob> Reloader::apply(Result<Config> read, Scope scope) {
    auto job = std::make_shared<ReloadJob>();
    if (!read) {
        reject(*job, {Code::config, "the configuration has mistakes; nothing was changed", "", "",
                      edition_->generation, read.error()});
        return job;
    }
    const auto plan = make_plan(edition_->config, *read, roster_of(fleet_), scope);
    job->plan = to_text(plan);
    const auto generation = edition_->generation + (plan.empty() ? 0 : 1);
    const auto places = read->places;
    try {
        auto next = editor_.make(edition_.get(), std::move(*read), generation);
        edition_ = std::move(next);
    } catch (const Refusal& refusal) {
        job->plan.clear();  // nothing of it is done
        reject(*job, {Code::failed,
                      refusal.what(),
                      refusal.hint(),
                      job->plan,
                      edition_->generation,
                      {refusal.mistake(places)}});
        return job;
    }
    rejected_ = {};
    job->generation = generation;
    log_plan(plan, generation);
    supersede();
    job_ = job;
    carry_out(plan, *job);
    return job;
}

void Reloader::reject(ReloadJob& job, ReloadOutcome outcome) {
    log_mistakes(outcome.mistakes);
    rejected_ = {edition_->config.file, true, wall_ms(), outcome.mistakes};
    job.outcome.set(std::move(outcome));
}

void Reloader::supersede() {
    if (!job_) return;
    job_->outcome.set({Code::superseded,
                       "a newer configuration took over before this one was done",
                       "",
                       job_->plan,
                       job_->generation,
                       {}});
    job_.reset();
}

void Reloader::carry_out(const Plan& plan, ReloadJob& job) {
    std::vector<std::string> rolls;
    for (const auto& step : plan.steps)
        if (step.what == What::roll_pool) rolls.push_back(step.name);
    for (const auto& step : plan.steps)
        if (step.what == What::start_pool) start_pool(step, rolls, job);
    move_the_others(rolls);
    for (const auto& step : plan.steps) {
        const auto pool = fleet_.find(step.name);
        if (step.what == What::scale_up) {
            job.newcomers.push_back(step.name);
            for (const auto slot : step.slots)
                fleet_.add(*pool, slot, pool->generation, false, "scale");
        }
        if (step.what == What::scale_down) {
            for (const auto& member : pool->members) {
                if (member->instance.slot < pool->worker()->count) continue;
                member->is_leaving = true;
                member->is_last = pool->worker()->count == 0;
                fleet_.apply(*member, Input::request(Input::What::drain, "scale"));
            }
        }
        if (step.what == What::retire_pool && !contains(retiring_, step.name))
            retiring_.push_back(step.name);
    }
    roller_.begin(rolls, edition_);
}

void Reloader::start_pool(const PlanStep& step, std::vector<std::string>& rolls, ReloadJob& job) {
    // It was removed a moment ago, and those who were to leave are still there.
    if (const auto pool = fleet_.find(step.name)) {
        std::erase(retiring_, step.name);
        pool->is_wanted = true;
        pool->edition = edition_;
        rolls.push_back(step.name);
        return;
    }
    const auto pool = fleet_.add_pool(step.name, edition_);
    job.newcomers.push_back(step.name);
    for (const auto slot : step.slots)
        fleet_.add(*pool, slot, edition_->generation, false, "start");
}

/// Who is not rolled stands on the new edition from now on: live keys count at once, and what the
/// old edition alone still held open is closed.
void Reloader::move_the_others(const std::vector<std::string>& rolled) {
    for (const auto& pool : fleet_.pools()) {
        if (edition_->config.worker(pool->name) == nullptr) continue;
        pool->edition = edition_;
        if (contains(rolled, pool->name)) continue;
        for (const auto& member : pool->members) member->set_edition(edition_);
    }
}

void Reloader::retire(Pool& pool) {
    pool.is_wanted = false;
    pool.is_rolling = false;
    pool.note.clear();
    for (const auto& member : pool.members) {
        if (member->is_leaving) continue;
        member->is_leaving = true;
        member->is_last = true;
        fleet_.apply(*member, Input::request(Input::What::drain, "removed"));
    }
}

std::optional<TimePoint> Reloader::advance() {
    const auto next = roller_.advance();
    std::erase_if(retiring_, [&](const std::string& name) { return !fleet_.find(name); });
    for (const auto& name : retiring_) {
        auto& pool = *fleet_.find(name);
        const auto holder = roller_.is_busy() ? std::string{} : roller_.held_by(pool);
        if (!holder.empty())
            pool.note = "stays for " + holder;
        else if (!roller_.is_next(pool))
            pool.note = "goes when those have gone who write what it reads";
        else if (!roller_.is_busy() || roller_.waits_for().contains(name))
            retire(pool);
    }
    if (job_ && is_done(*job_)) {
        job_->outcome.set(outcome_of(*job_));
        job_.reset();
    }
    return next;
}

bool Reloader::is_done(const ReloadJob& job) const {
    if (roller_.is_busy()) return false;
    const auto is_leaving = [&](const std::string& name) {
        return roller_.held_by(*fleet_.find(name)).empty();
    };
    if (std::any_of(retiring_.begin(), retiring_.end(), is_leaving)) return false;
    return std::none_of(job.newcomers.begin(), job.newcomers.end(), [&](const auto& name) {
        const auto pool = fleet_.find(name);
        return pool && is_coming_up(*pool);
    });
}

ReloadOutcome Reloader::outcome_of(const ReloadJob& job) const {
    ReloadOutcome outcome;
    outcome.plan = job.plan;
    outcome.generation = job.generation;
    if (!roller_.failures().empty()) {
        outcome.code = Code::roll_failed;
        outcome.message = "a roll failed: " + join(roller_.failures(), "; ");
        outcome.hint = "slots already moved stay, the old ones keep serving; mend it and reload";
        return outcome;
    }
    for (const auto& name : job.newcomers) {
        const auto pool = fleet_.find(name);
        const auto trouble = pool ? trouble_of(*pool) : std::string();
        if (trouble.empty()) continue;
        outcome.code = Code::failed;
        outcome.message = trouble;
        outcome.hint = "greensup status shows what became of it";
    }
    return outcome;
}

void Reloader::cancel() {
    roller_.cancel();
    retiring_.clear();
    if (!job_) return;
    job_->outcome.set(
        {Code::failed, "the supervisor is stopping", "", job_->plan, job_->generation, {}});
    job_.reset();
}

}  // namespace greensup
