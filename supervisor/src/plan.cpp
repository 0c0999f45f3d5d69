#include "plan.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>
#include <set>

#include "config_schema.hpp"
#include "launch.hpp"
#include "units.hpp"

namespace greensup {
namespace {

using What = PlanStep::What;

std::vector<int> slots(int from, int to) {
    std::vector<int> result(static_cast<std::size_t>(std::max(0, to - from)));
    std::iota(result.begin(), result.end(), from);
    return result;
}

/// Plans end up in logs, and variables hold secrets: of these only that they changed is said.
std::string reason(const KeyChange& change) {
    if (change.key == "env") return "env: changed";
    return change.key + ": " + change.before + " -> " + change.after;
}

class Planner {
 public:
    Planner(const Config& before, const Config& after, const Roster& roster, Scope scope)
        : before_(before), after_(after), roster_(roster), scope_(scope) {}

    Plan run() {
        // What somebody will need comes first, what nobody needs any more last.
        plan_supervisor();
        plan_sockets();
        plan_queues();
        plan_pipes();
        for (const auto& worker : after_.workers) plan_pool(worker);
        for (const auto& worker : before_.workers)
            if (after_.worker(worker.name) == nullptr)
                add(What::retire_pool, worker.name, slots_of(worker), {"removed"});
        std::move(last_.begin(), last_.end(), std::back_inserter(plan_.steps));
        return std::move(plan_);
    }

 private:
    void add(What what, const std::string& name, std::vector<int> which,
             std::vector<std::string> reasons) {
        plan_.steps.push_back({what, name, std::move(which), std::move(reasons)});
    }

    [[nodiscard]] bool first_start() const { return before_.workers.empty(); }

    void plan_supervisor() {
        if (first_start()) return;
        for (const auto& change :
             changes(supervisor_schema(), before_.supervisor, after_.supervisor))
            add(change.effect == Effect::live ? What::update_supervisor : What::needs_restart,
                "supervisor", {}, {reason(change)});
    }

    void plan_sockets() {
        for (const auto& socket : after_.sockets) {
            const auto* old = before_.socket(socket.name);
            if (old == nullptr) {
                add(What::bind_socket, socket.name, {}, {to_text(socket.listen)});
                continue;
            }
            const auto changed = changes(socket_schema(), *old, socket);
            if (changed.empty()) continue;
            std::vector<std::string> reasons;
            reasons.reserve(changed.size());
            for (const auto& change : changed) reasons.push_back(reason(change));
            add(What::bind_socket, socket.name, {}, reasons);
            last_.push_back({What::close_socket, socket.name, {}, {"bound anew"}});
            rebound_.insert(socket.name);
        }
        for (const auto& socket : before_.sockets)
            if (after_.socket(socket.name) == nullptr)
                last_.push_back({What::close_socket, socket.name, {}, {"removed"}});
    }

    void plan_queues() {
        for (const auto& queue : after_.queues) {
            const auto* old = before_.queue(queue.name);
            if (old == nullptr) {
                add(What::open_queue, queue.name, {}, {});
                // Whoever may use it has to be told, and a worker is told when it starts.
                for (const auto& worker : before_.workers)
                    if (grant(queue, worker).any())
                        because_[worker.name].push_back("queue " + queue.name + " is new");
                continue;
            }
            std::vector<std::string> live;
            for (const auto& change : changes(queue_schema(), *old, queue)) {
                if (change.effect == Effect::restart)
                    add(What::needs_restart, "queue " + queue.name, {}, {reason(change)});
                if (change.effect == Effect::live) live.push_back(reason(change));
            }
            if (!live.empty()) add(What::update_queue, queue.name, {}, live);
            for (const auto& worker : after_.workers)
                if (grant(*old, worker) != grant(queue, worker))
                    because_[worker.name].push_back("its part in queue " + queue.name + " changed");
        }
        for (const auto& queue : before_.queues) {
            if (after_.queue(queue.name) != nullptr) continue;
            last_.push_back({What::close_queue, queue.name, {}, {"removed"}});
            for (const auto& worker : before_.workers)
                if (grant(queue, worker).any())
                    because_[worker.name].push_back("queue " + queue.name + " is gone");
        }
    }

    /// A process gets its end when it starts, and keeps it.
    void plan_pipes() {
        for (const auto& pipe : after_.pipes) {
            const auto* old = before_.pipe(pipe.name);
            if (old == nullptr) {
                add(What::open_pipe, pipe.name, {}, {pipe.from + " -> " + pipe.to});
                concern(pipe, "pipe " + pipe.name + " is new");
                continue;
            }
            const auto changed = changes(pipe_schema(), *old, pipe);
            if (changed.empty()) continue;
            std::vector<std::string> reasons;
            reasons.reserve(changed.size());
            for (const auto& change : changed) reasons.push_back(reason(change));
            const auto why = "pipe " + pipe.name + ": " + join(reasons, "; ");
            concern(pipe, why);
            if (old->from != pipe.from) concern(pipe_end(old->from).worker, why);
            if (old->to != pipe.to) concern(pipe_end(old->to).worker, why);
        }
        for (const auto& pipe : before_.pipes) {
            if (after_.pipe(pipe.name) != nullptr) continue;
            last_.push_back({What::close_pipe, pipe.name, {}, {"removed"}});
            concern(pipe, "pipe " + pipe.name + " is gone");
        }
    }

    void concern(const PipeConfig& pipe, const std::string& why) {
        concern(pipe_end(pipe.from).worker, why);
        concern(pipe_end(pipe.to).worker, why);
    }
    void concern(const std::string& worker, const std::string& why) {
        if (before_.worker(worker) != nullptr) because_[worker].push_back(why);
    }

    [[nodiscard]] const RosterPool* roster(const std::string& name) const {
        for (const auto& pool : roster_.pools)
            if (pool.name == name) return &pool;
        return nullptr;
    }

    [[nodiscard]] std::vector<int> slots_of(const WorkerConfig& worker) const {
        const auto* pool = roster(worker.name);
        return pool == nullptr ? slots(0, worker.count) : pool->slots;
    }

    void plan_pool(const WorkerConfig& worker) {
        const auto* old = before_.worker(worker.name);
        if (old == nullptr) {
            add(What::start_pool, worker.name, slots(0, worker.count), {"new"});
            return;
        }
        auto roll = because_[worker.name];
        std::vector<std::string> live;
        for (const auto& change : changes(worker_schema(), *old, worker)) {
            if (change.effect == Effect::roll) roll.push_back(reason(change));
            if (change.effect == Effect::live) live.push_back(reason(change));
        }
        for (const auto& socket : worker.sockets)
            if (rebound_.contains(socket)) roll.push_back("socket " + socket + " is bound anew");
        const auto* pool = roster(worker.name);
        if (pool != nullptr && !pool->settled) roll.emplace_back("its last roll did not finish");
        if (scope_ == Scope::everything && roll.empty()) roll.emplace_back("asked for");
        if (!roll.empty()) {
            roll.insert(roll.end(), live.begin(), live.end());
            add(What::roll_pool, worker.name, slots(0, worker.count), roll);
        } else if (!live.empty()) {
            plan_live(*old, worker, live);
        }
    }

    void plan_live(const WorkerConfig& old, const WorkerConfig& worker,
                   const std::vector<std::string>& reasons) {
        if (old.count == worker.count || reasons.size() > 1)
            add(What::update_pool, worker.name, {}, reasons);
        const auto count = std::to_string(old.count) + " -> " + std::to_string(worker.count);
        if (old.count < worker.count)
            add(What::scale_up, worker.name, slots(old.count, worker.count), {"count: " + count});
        if (old.count > worker.count)
            add(What::scale_down, worker.name, slots(worker.count, old.count), {"count: " + count});
    }

    const Config& before_;
    const Config& after_;
    const Roster& roster_;
    Scope scope_;
    Plan plan_;
    std::vector<PlanStep> last_;
    std::set<std::string> rebound_;
    std::map<std::string, std::vector<std::string>> because_;
};

std::string_view word(What what) {
    switch (what) {
        case What::bind_socket:
            return "bind";
        case What::open_queue:
        case What::open_pipe:
            return "open";
        case What::update_supervisor:
        case What::update_queue:
            return "update";
        case What::start_pool:
            return "start";
        case What::update_pool:
            return "update";
        case What::scale_up:
            return "add";
        case What::scale_down:
            return "remove";
        case What::roll_pool:
            return "roll";
        case What::retire_pool:
            return "retire";
        case What::close_socket:
        case What::close_queue:
        case What::close_pipe:
            return "close";
        case What::needs_restart:
            return "later";
    }
    return "";
}

std::string subject(const PlanStep& step) {
    switch (step.what) {
        case What::bind_socket:
        case What::close_socket:
            return "socket " + step.name;
        case What::open_queue:
        case What::update_queue:
        case What::close_queue:
            return "queue " + step.name;
        case What::open_pipe:
        case What::close_pipe:
            return "pipe " + step.name;
        default:
            return step.name;
    }
}

std::string padded(std::string text, std::size_t width) {
    text.resize(std::max(text.size(), width), ' ');
    return text;
}

}  // namespace

Plan make_plan(const Config& before, const Config& after, const Roster& roster, Scope scope) {
    return Planner{before, after, roster, scope}.run();
}

std::string to_text(const Plan& plan) {
    if (plan.empty()) return "nothing to do\n";
    std::size_t width = 0;
    for (const auto& step : plan.steps) width = std::max(width, subject(step).size());
    std::string text;
    for (const auto& step : plan.steps) {
        auto line = padded(std::string(word(step.what)), 7) + padded(subject(step), width);
        if (!step.slots.empty()) {
            line += step.slots.size() == 1 ? "  slot" : "  slots";
            for (const auto slot : step.slots) line += " " + std::to_string(slot);
        }
        for (std::size_t i = 0; i < step.reasons.size(); ++i)
            line += (i == 0 ? "  (" : "; ") + step.reasons[i] +
                    (i + 1 == step.reasons.size() ? ")" : "");
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    }
    return text;
}

}  // namespace greensup
