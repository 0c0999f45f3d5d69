#include "shutdown.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace greensup {
namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// The pools that may be meant by one side of a queue.
std::vector<std::string> pools_for(const Config& config, const std::vector<std::string>& listed,
                                   bool producers) {
    if (!contains(listed, "*")) return listed;
    std::vector<std::string> pools;
    for (const auto& worker : config.workers)
        if (worker.kind == Kind::hub && producers != worker.sockets.empty())
            pools.push_back(worker.name);
    return pools;
}

class Decider {
 public:
    Decider(const ShutdownView& view, TimePoint now) : view_(view), now_(now) {
        // pool -> pools that it feeds, directly or through others
        for (const auto& role : view.roles)
            for (const auto& producer : role.producers)
                feeds_[producer].insert(role.consumers.begin(), role.consumers.end());
        for (bool grew = true; grew;) {
            grew = false;
            for (auto& [from, targets] : feeds_) {
                const auto before = targets.size();
                for (const auto& target : std::set<std::string>(targets))
                    if (const auto it = feeds_.find(target); it != feeds_.end())
                        targets.insert(it->second.begin(), it->second.end());
                grew = grew || targets.size() != before;
            }
        }
    }

    ShutdownAction run() const {
        ShutdownAction action;
        action.done = std::all_of(view_.pools.begin(), view_.pools.end(),
                                  [](const auto& p) { return p.live == 0; });
        if (action.done) return action;
        if (now_ >= view_.deadline) {
            action.kill = true;
            return action;
        }
        auto until = view_.deadline;
        for (const auto& pool : view_.pools) {
            if (pool.live == 0 || pool.leaving) continue;
            const auto reason = waits_for(pool.name);
            const auto latest = latest_start(pool);
            if (reason.empty() || now_ >= latest) {
                action.drain.push_back(pool.name);
            } else {
                action.waits_for.push_back(pool.name + " waits for " + reason);
                until = std::min(until, latest);
            }
        }
        action.until = until;
        return action;
    }

 private:
    /// When this pool has to be told, so that it can still leave in peace. A pool that asks for
    /// more than half of what was given gets half: the rest is for the queues.
    [[nodiscard]] TimePoint latest_start(const ShutdownPool& pool) const {
        return view_.deadline - std::min(pool.needs, view_.allowed / 2);
    }

    [[nodiscard]] const ShutdownPool* pool(const std::string& name) const {
        for (const auto& p : view_.pools)
            if (p.name == name) return &p;
        return nullptr;
    }

    [[nodiscard]] std::uint64_t left_in(const QueueRole& role) const {
        for (const auto& q : view_.queues)
            if (q.name == role.queue && q.is_pipe == role.is_pipe) return q.left;
        return 0;
    }

    /// Whether `from` puts something in motion that reaches `to`.
    [[nodiscard]] bool reaches(const std::string& from, const std::string& to) const {
        const auto it = feeds_.find(from);
        return it != feeds_.end() && it->second.contains(to);
    }

    /// Empty if nothing that `name` consumes can still come. Who is in a circle with `name` is not
    /// waited for, only the circle's queues are: else each would wait for the other.
    [[nodiscard]] std::string waits_for(const std::string& name) const {
        for (const auto& role : view_.roles) {
            if (!contains(role.consumers, name)) continue;
            const auto what = (role.is_pipe ? "pipe " : "queue ") + role.queue;
            for (const auto& producer : role.producers) {
                const auto* p = pool(producer);
                if (p != nullptr && p->live > 0 && producer != name && !reaches(name, producer))
                    return std::string(producer).append(", which feeds ").append(what);
            }
            if (const auto left = left_in(role); left > 0)
                return what + " (" + std::to_string(left) + " left)";
        }
        return {};
    }

    const ShutdownView& view_;
    TimePoint now_;
    std::map<std::string, std::set<std::string>> feeds_;
};

}  // namespace

std::vector<QueueRole> read_roles(const Config& config) {
    std::vector<QueueRole> roles;
    for (const auto& queue : config.queues)
        roles.push_back({queue.name, pools_for(config, queue.producers, true),
                         pools_for(config, queue.consumers, false)});
    for (const auto& pipe : config.pipes)
        roles.push_back(
            {pipe.name, {pipe_end(pipe.from).worker}, {pipe_end(pipe.to).worker}, true});
    return roles;
}

ShutdownAction next_shutdown_action(const ShutdownView& view, TimePoint now) {
    return Decider{view, now}.run();
}

}  // namespace greensup
