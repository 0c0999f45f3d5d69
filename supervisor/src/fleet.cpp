#include "fleet.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <green/deadline.hpp>
#include <green/log.hpp>

namespace greensup {
namespace {

int starting_now(const std::vector<std::shared_ptr<Pool>>& pools) {
    int count = 0;
    for (const auto& pool : pools)
        for (const auto& member : pool->members)
            if (member->instance.state == State::spawning ||
                member->instance.state == State::starting)
                ++count;
    return count;
}

bool is_all_ready(const Pool& pool) {
    const auto ready =
        std::count_if(pool.members.begin(), pool.members.end(),
                      [](const auto& member) { return member->instance.state == State::ready; });
    const auto* worker = pool.worker();
    return worker != nullptr && ready >= worker->count;
}

bool is_bad_news(const Transition& transition) {
    return transition.to == State::failed || transition.to == State::backoff ||
           transition.cause.kind == Cause::Kind::start_timeout ||
           transition.cause.kind == Cause::Kind::drain_timeout ||
           transition.cause.kind == Cause::Kind::stop_timeout;
}

}  // namespace

bool is_over(State state) {
    return state == State::stopped || state == State::done || state == State::failed;
}

void Member::set_edition(std::shared_ptr<const Edition> to) {
    const auto* found = to->config.worker(pool);
    if (found == nullptr) return;
    edition = std::move(to);
    worker = found;
}

Fleet::Fleet(Spawner& spawner, TransitionLog& log, green::Event& changed)
    : spawner_{spawner}, log_{log}, changed_{changed}, random_{std::random_device{}()} {}

Fleet::~Fleet() = default;

std::shared_ptr<Pool> Fleet::find(const std::string& name) const {
    for (const auto& pool : pools_)
        if (pool->name == name) return pool;
    return nullptr;
}

std::shared_ptr<Pool> Fleet::add_pool(const std::string& name,
                                      std::shared_ptr<const Edition> edition) {
    auto pool = std::make_shared<Pool>();
    pool->name = name;
    pool->generation = edition->generation;
    pool->edition = std::move(edition);
    pools_.push_back(pool);
    return pool;
}

Member& Fleet::add(Pool& pool, int slot, std::uint64_t generation, bool on_trial, const char* who) {
    auto member = std::make_shared<Member>();
    member->pool = pool.name;
    member->set_edition(pool.edition);
    member->instance.slot = slot;
    member->instance.generation = generation;
    member->instance.on_trial = on_trial;
    member->instance.since = green::now();
    pool.members.push_back(member);
    apply(*member, Input::request(Input::What::start, who));
    return *member;
}

double Fleet::chance() { return std::uniform_real_distribution<double>(0, 1)(random_); }

void Fleet::apply(Member& member, const Input& input) {
    auto step = greensup::step(*member.worker, member.instance, input, green::now(), chance());
    member.instance = std::move(step.instance);
    if (step.transition) record(member, *step.transition);
    changed_.set();
    act(member, step.action);
}

void Fleet::record(const Member& member, const Transition& transition) {
    log_.write(member.pool, transition);
    const auto cause = to_text(transition.cause);
    const auto event = "worker." + std::string(to_text(transition.to));
    const auto write = [&](std::initializer_list<green::log::Field> fields) {
        if (is_bad_news(transition))
            green::log::warning(event, fields);
        else
            green::log::info(event, fields);
    };
    if (cause.empty())
        write({{"pool", member.pool},
               {"slot", transition.slot},
               {"generation", transition.generation},
               {"pid", transition.pid}});
    else
        write({{"pool", member.pool},
               {"slot", transition.slot},
               {"generation", transition.generation},
               {"pid", transition.pid},
               {"cause", cause}});
}

std::shared_ptr<Member> Fleet::shared(Member& member) const {
    for (const auto& pool : pools_)
        for (const auto& one : pool->members)
            if (one.get() == &member) return one;
    return nullptr;
}

// --- time and order ---

std::optional<TimePoint> Fleet::advance(bool ignores_order) {
    std::optional<TimePoint> next;
    const auto now = green::now();
    for (const auto& pool : pools_) {
        for (const auto& member : pool->members) {
            const auto& deadline = member->instance.deadline;
            if (deadline && now >= *deadline) apply(*member, Input::of(Input::What::deadline));
        }
    }
    grant_permits(ignores_order);
    for (const auto& pool : pools_)
        for (const auto& member : pool->members)
            if (const auto& deadline = member->instance.deadline)
                next = next ? std::min(*next, *deadline) : *deadline;
    return next;
}

void Fleet::grant_permits(bool ignores_order) {
    for (const auto& pool : pools_) {
        for (const auto& member : pool->members) {
            if (member->instance.state != State::waiting) continue;
            const auto most = member->edition->config.supervisor.spawn_concurrency;
            if (starting_now(pools_) >= most) return;
            if (ignores_order || missing(*member).empty())
                apply(*member, Input::of(Input::What::permit));
        }
    }
}

std::string Fleet::missing(const Member& member) const {
    const auto grants = pipe_grants(member.edition->config, member.pool);
    const bool is_behind = std::any_of(grants.begin(), grants.end(), [&](const auto& grant) {
        return grant.reads && member.edition->pipes.at(grant.pipe)->is_behind();
    });
    for (const auto& name : member.worker->after) {
        const auto pool = find(name);
        if (!pool || is_all_ready(*pool)) continue;
        if (!is_behind || !waits_for_reader(*pool, member.pool, {})) return name;
    }
    return {};
}

bool Fleet::waits_for_reader(const Pool& pool, const std::string& reader,
                             std::set<std::string> seen) const {
    if (!seen.insert(pool.name).second || is_all_ready(pool)) return false;
    std::set<std::string> ahead;
    for (const auto& member : pool.members) {
        ahead.insert(member->worker->after.begin(), member->worker->after.end());
        for (const auto& grant : pipe_grants(member->edition->config, pool.name)) {
            const auto& pipe = *member->edition->pipes.at(grant.pipe);
            if (!grant.reads && pipe.is_behind()) ahead.insert(pipe_end(pipe.config().to).worker);
        }
    }
    return std::any_of(ahead.begin(), ahead.end(), [&](const std::string& name) {
        const auto next = find(name);
        return name == reader || (next && waits_for_reader(*next, reader, seen));
    });
}

std::string Fleet::waits_for(const Pool& pool) const {
    for (const auto& member : pool.members) {
        if (member->instance.state != State::waiting) continue;
        if (auto name = missing(*member); !name.empty()) return name;
    }
    return {};
}

template <class Opened>
Opened Fleet::with_earlier(Opened Edition::*what, const Edition& edition) const {
    auto all = edition.*what;
    for (const auto& pool : pools_)
        for (const auto& member : pool->members) {
            const auto& its = (*member->edition).*what;
            all.insert(its.begin(), its.end());
        }
    return all;
}

std::map<std::string, std::shared_ptr<OpenQueue>> Fleet::open_queues(const Edition& edition) const {
    return with_earlier(&Edition::queues, edition);
}

std::map<std::string, std::shared_ptr<OpenPipe>> Fleet::open_pipes(const Edition& edition) const {
    return with_earlier(&Edition::pipes, edition);
}

void Fleet::tell_pipes(const Edition& edition) const {
    for (const auto& [name, pipe] : open_pipes(edition)) {
        // Into one that is to go only those of before write.
        const bool stays = edition.pipes.contains(name);
        const auto has_it = [&, &name = name](const auto& member) {
            return stays || member->edition->pipes.contains(name);
        };
        PipeSides sides;
        sides.writers_over = true;
        if (const auto pool = find(pipe_end(pipe->config().from).worker)) {
            std::set<int> active;
            for (const auto& member : pool->members) {
                if (!has_it(member)) continue;
                const auto state = member->instance.state;
                // Who was given up has not said his last word.
                if (state == State::done || state == State::stopped)
                    sides.writer_slots_over.insert(member->instance.slot);
                else
                    active.insert(member->instance.slot);
            }
            for (const auto slot : active) sides.writer_slots_over.erase(slot);
            // A roll is to come to those that are over too.
            if (pool->is_rolling) sides.writer_slots_over.clear();
            sides.writers_over = active.empty() && !pool->is_rolling;
        }
        if (const auto pool = find(pipe_end(pipe->config().to).worker)) {
            std::set<int> active;
            for (const auto& member : pool->members) {
                if (!has_it(member)) continue;
                const auto state = member->instance.state;
                auto& slots = state == State::done     ? sides.reader_slots_done
                              : state == State::failed ? sides.reader_slots_failed
                                                       : active;
                slots.insert(member->instance.slot);
            }
            for (const auto slot : active) sides.reader_slots_failed.erase(slot);
            for (const auto slot : active) sides.reader_slots_done.erase(slot);
            for (const auto slot : sides.reader_slots_failed) sides.reader_slots_done.erase(slot);
            // Who stays till its turn to be replaced would see the end again in each of its lives.
            const bool is_to_wait =
                !stays &&
                std::any_of(pool->members.begin(), pool->members.end(), [&](const auto& member) {
                    return has_it(member) && !member->is_leaving &&
                           !is_over(member->instance.state);
                });
            if (is_to_wait) {
                sides.writers_over = false;
                sides.writer_slots_over.clear();
            }
        }
        pipe->tell(std::move(sides));
    }
}

void Fleet::sweep() {
    std::size_t gone = 0;
    for (const auto& pool : pools_)
        gone += std::erase_if(pool->members, [](const auto& member) {
            return member->is_leaving && is_over(member->instance.state);
        });
    gone += std::erase_if(
        pools_, [](const auto& pool) { return !pool->is_wanted && pool->members.empty(); });
    if (gone > 0) changed_.set();
}

}  // namespace greensup
