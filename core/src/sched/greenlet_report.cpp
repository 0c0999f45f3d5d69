// Who is there, what it waits on and who made it.

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <green/hub.hpp>

#include "loop/watcher_board.hpp"
#include "sched/hub.hpp"
#include "sched/symbols.hpp"

namespace green {
namespace detail {
namespace {

GreenletState state_of(TaskState state) noexcept {
    switch (state) {
        case TaskState::fresh:
        case TaskState::delayed:
            return GreenletState::delayed;
        case TaskState::parked:
            return GreenletState::waiting;
        case TaskState::running:
            return GreenletState::running;
        case TaskState::ready:
        case TaskState::done:
            break;
    }
    return GreenletState::ready;
}

const char* text(GreenletState state) noexcept {
    switch (state) {
        case GreenletState::delayed:
            return "starts later";
        case GreenletState::ready:
            return "ready";
        case GreenletState::running:
            return "running";
        case GreenletState::waiting:
            return "waits";
    }
    return "?";
}

}  // namespace

GreenletReport Hub::describe(const Task& task) const {
    GreenletReport report{.id = task.id,
                          .name = task.name(),
                          .state = state_of(task.state),
                          .waits_on = {},
                          .since = {},
                          .spawner = task.spawner,
                          .spawned_at = task.spawned_from};
    if (task.state != TaskState::parked) return report;
    report.since = task.since;
    if (task.wait_count == 0) report.waits_on.emplace_back("a time");  // it sleeps
    for (std::size_t i = 0; i < task.wait_count; ++i) {
        task.waits[i]->describe(report.waits_on.emplace_back());
    }
    return report;
}

std::vector<GreenletReport> Hub::describe_tasks() {
    std::vector<GreenletReport> reports;
    reports.reserve(task_count_ + 1);
    tasks_.for_each([&](Task& task) { reports.push_back(describe(task)); });
    return reports;
}

std::string Hub::report_tasks() {
    std::string report;
    tasks_.for_each([&](Task& task) { report += "  " + describe(task).text() + "\n"; });
    watchers_->report(report);
    return report;
}

}  // namespace detail

std::string GreenletReport::text() const {
    std::string line = name + ": " + detail::text(state);
    if (state == GreenletState::waiting) {
        const char* separator = " on ";
        for (const std::string& what : waits_on) line += std::exchange(separator, " or ") + what;
        const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now() - since);
        line += " for " + std::to_string(waited.count()) + " ms";
    }
    if (spawned_at != nullptr) line += ", spawned at " + detail::code_address(spawned_at);
    return line;
}

std::vector<GreenletReport> hub_greenlets() { return detail::Hub::current().describe_tasks(); }
std::string hub_report() { return detail::Hub::current().report_tasks(); }

std::string hub_tree() {
    const std::vector<GreenletReport> all = hub_greenlets();
    std::map<std::uint64_t, std::vector<const GreenletReport*>> made;  // by whom
    for (const GreenletReport& one : all) made[one.id];
    std::vector<std::pair<const GreenletReport*, std::size_t>> to_write;  // with depths, last first
    for (auto one = all.rbegin(); one != all.rend(); ++one) {
        const auto maker = made.find(one->spawner);
        if (one->id == one->spawner || maker == made.end()) {
            to_write.emplace_back(&*one, 1);
        } else {
            maker->second.push_back(&*one);
        }
    }
    std::string tree;
    while (!to_write.empty()) {
        const auto [one, depth] = to_write.back();
        to_write.pop_back();
        tree += std::string(2 * depth, ' ') + one->text() + "\n";
        for (const GreenletReport* child : made[one->id]) to_write.emplace_back(child, depth + 1);
    }
    return tree;
}

}  // namespace green
