#include "stopper.hpp"

#include <algorithm>
#include <set>

#include <green/deadline.hpp>
#include <green/log.hpp>

#include "launch.hpp"
#include "units.hpp"

namespace greensup {
namespace {

// A script that repeats its kill must not turn a graceful stop into a brutal one.
constexpr Duration insistence = 1s;
constexpr Duration hurried = 1s;
constexpr Duration look_again = 50ms;

}  // namespace

void Stopper::begin(const Edition& edition, const char* who) {
    const auto now = green::now();
    if (has_begun()) {
        if (now - began_ >= insistence) hurry(edition, who);
        return;
    }
    edition_ = &edition;
    began_ = now;
    queues_ = fleet_.open_queues(edition);
    pipes_ = fleet_.open_pipes(edition);
    read_roles();
    green::log::info(
        "shutdown.begin",
        {{"asked_by", who}, {"at_most", to_text(edition.config.supervisor.shutdown_timeout)}});
    for (const auto& [name, queue] : queues_)
        followers_.spawn([this, queue = queue] { queue->follow(changed_); });
    changed_.set();
}

/// Who is still of an earlier edition feeds and empties queues and pipes as that one says.
void Stopper::read_roles() {
    roles_ = greensup::read_roles(edition_->config);
    const auto role_of = [&](const QueueRole& before) -> QueueRole& {
        const auto found = std::find_if(roles_.begin(), roles_.end(), [&](const auto& role) {
            return role.is_pipe == before.is_pipe && role.queue == before.queue;
        });
        return found != roles_.end()
                   ? *found
                   : roles_.emplace_back(QueueRole{before.queue, {}, {}, before.is_pipe});
    };
    const auto join_in = [](const std::string& pool, const std::vector<std::string>& before,
                            std::vector<std::string>& now) {
        const auto is_in = [&](const auto& names) {
            return std::find(names.begin(), names.end(), pool) != names.end();
        };
        if (is_in(before) && !is_in(now)) now.push_back(pool);
    };
    for (const auto& pool : fleet_.pools())
        for (const auto& member : pool->members) {
            if (member->edition.get() == edition_) continue;
            for (const auto& before : greensup::read_roles(member->edition->config)) {
                auto& now = role_of(before);
                join_in(pool->name, before.producers, now.producers);
                join_in(pool->name, before.consumers, now.consumers);
            }
        }
}

void Stopper::hurry(const Edition& edition, const char* who) {
    if (!has_begun()) begin(edition, who);
    const auto now = green::now();
    if (kill_at_) {
        kill_at_ = now;
    } else {
        kill_at_ = now + hurried;
        green::log::info("shutdown.fast", {{"asked_by", who}, {"at_most", to_text(hurried)}});
        to_all(Input::What::stop, who);
    }
    changed_.set();
}

bool Stopper::is_done() const {
    if (!has_begun()) return false;
    const auto& pools = fleet_.pools();
    return std::all_of(pools.begin(), pools.end(), [](const auto& pool) {
        return std::all_of(pool->members.begin(), pool->members.end(),
                           [](const auto& member) { return is_over(member->instance.state); });
    });
}

ShutdownView Stopper::view() {
    ShutdownView view;
    for (const auto& pool : fleet_.pools()) {
        ShutdownPool one{pool->name, 0, told_.contains(pool->name) || !pool->is_wanted, {}};
        for (const auto& member : pool->members) {
            if (!is_over(member->instance.state)) ++one.live;
            one.needs =
                std::max(one.needs, member->worker->stop.drain + member->worker->stop.timeout);
        }
        view.pools.push_back(std::move(one));
    }
    view.roles = roles_;
    view.allowed = edition_->config.supervisor.shutdown_timeout;
    view.deadline = began_ + view.allowed;
    // After the pools: what one of them has put before it was gone is seen here.
    for (const auto& [name, queue] : queues_) {
        const auto left = queue->left_until(view.deadline);
        view.queues.push_back({name, left.soon});
        if (left.later > 0 && kept_.insert(name).second)
            green::log::info("shutdown.keeps",
                             {{"queue", name},
                              {"messages", left.later},
                              {"why", "they were given back for after shutdown_timeout"}});
    }
    const auto slots = reading_slots();
    for (const auto& [name, pipe] : pipes_) {
        const auto its = slots.find(pipe.get());
        view.queues.push_back(
            {name, pipe->waiting_for(its == slots.end() ? std::set<int>{} : its->second), true});
    }
    return view;
}

/// What lies in a pipe for somebody who is over nobody will read.
std::map<const OpenPipe*, std::set<int>> Stopper::reading_slots() const {
    std::map<const OpenPipe*, std::set<int>> slots;
    for (const auto& pool : fleet_.pools())
        for (const auto& member : pool->members) {
            if (is_over(member->instance.state)) continue;
            for (const auto& grant : pipe_grants(member->edition->config, pool->name))
                if (grant.reads)
                    slots[member->edition->pipes.at(grant.pipe).get()].insert(
                        member->instance.slot);
        }
    return slots;
}

std::optional<TimePoint> Stopper::advance() {
    if (!has_begun() || is_done()) return std::nullopt;
    const auto now = green::now();
    if (kill_at_) {
        if (now < *kill_at_) return kill_at_;
        if (!was_killed_) to_all(Input::What::kill, "fast stop");
        was_killed_ = true;
        return std::nullopt;
    }
    const auto view = this->view();
    auto action = next_shutdown_action(view, now);
    // Nobody tells us when a program reads.
    if (std::any_of(view.queues.begin(), view.queues.end(),
                    [](const auto& queue) { return queue.is_pipe && queue.left > 0; }))
        action.until = std::min(action.until.value_or(view.deadline), now + look_again);
    if (action.kill) {
        if (!was_killed_) {
            green::log::warning("shutdown.late", {{"now", "SIGKILL for what is left"}});
            to_all(Input::What::kill, "shutdown_timeout");
        }
        was_killed_ = true;
        return std::nullopt;
    }
    for (const auto& name : action.drain) tell(name);
    log_waiting(action.waits_for);
    return action.until;
}

void Stopper::tell(const std::string& name) {
    told_.insert(name);
    const auto pool = fleet_.find(name);
    green::log::info("shutdown.drain", {{"pool", name}});
    pool->is_wanted = false;
    for (const auto& member : pool->members) {
        member->is_last = true;
        fleet_.apply(*member, Input::request(Input::What::drain, "shutdown"));
    }
}

void Stopper::to_all(Input::What what, const char* who) {
    for (const auto& pool : fleet_.pools()) {
        pool->is_wanted = false;
        for (const auto& member : pool->members) {
            member->is_last = true;
            fleet_.apply(*member, Input::request(what, who));
        }
    }
}

/// Once for each new reason; the numbers in it change all the time.
void Stopper::log_waiting(const std::vector<std::string>& reasons) {
    const auto without_count = [](const std::string& text) {
        return text.substr(0, text.find(" ("));
    };
    std::vector<std::string> bare;
    std::transform(reasons.begin(), reasons.end(), std::back_inserter(bare), without_count);
    for (std::size_t i = 0; i < reasons.size(); ++i)
        if (std::find(reasons_.begin(), reasons_.end(), bare[i]) == reasons_.end())
            green::log::info("shutdown.waits", {{"for", reasons[i]}});
    reasons_ = std::move(bare);
}

}  // namespace greensup
