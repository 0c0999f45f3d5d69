#include "launch.hpp"

#include <algorithm>
#include <filesystem>

#include "units.hpp"

namespace greensup {

Launch make_launch(const Config& config, const WorkerConfig& worker,
                   const InstanceVariables& instance, const Environment& ours) {
    Launch launch;
    for (const auto& word : worker.command)
        launch.arguments.push_back(expand_instance(word, instance));
    launch.directory = expand_instance(worker.cwd, instance);
    launch.program = launch.arguments.front();
    if (launch.program.find('/') != std::string::npos)
        launch.program =
            (std::filesystem::path(config.directory) / launch.program).lexically_normal().string();

    std::map<std::string, std::string> variables;
    for (const auto& [name, value] : ours.variables)
        if (std::any_of(
                worker.env_pass.begin(), worker.env_pass.end(),
                [&, &variable = name](const std::string& glob) { return matches(glob, variable); }))
            variables[name] = value;
    for (const auto& [name, value] : worker.env) variables[name] = expand_instance(value, instance);
    for (const auto& [name, value] : variables)
        launch.environment.push_back(std::string(name).append("=").append(value));
    return launch;
}

QueueGrant grant(const QueueConfig& queue, const WorkerConfig& worker) {
    const auto listed = [&](const std::vector<std::string>& names) {
        return worker.kind == Kind::hub &&
               std::any_of(names.begin(), names.end(), [&](const std::string& name) {
                   return name == "*" || name == worker.name;
               });
    };
    return {queue.name, listed(queue.producers), listed(queue.consumers)};
}

std::vector<PipeGrant> pipe_grants(const Config& config, const std::string& worker) {
    std::vector<PipeGrant> result;
    for (const auto& pipe : config.pipes) {
        const auto from = pipe_end(pipe.from);
        const auto to = pipe_end(pipe.to);
        if (from.worker == worker) result.push_back({pipe.name, false, !from.stream.empty()});
        if (to.worker == worker) result.push_back({pipe.name, true, !to.stream.empty()});
    }
    return result;
}

std::vector<QueueGrant> grants(const Config& config, const WorkerConfig& worker) {
    std::vector<QueueGrant> result;
    for (const auto& queue : config.queues)
        if (auto one = grant(queue, worker); one.any()) result.push_back(std::move(one));
    return result;
}

}  // namespace greensup
