// What exactly is executed for one instance: pure, so that it can be shown and tested.
#pragma once

#include <string>
#include <vector>

#include "config.hpp"
#include "variables.hpp"

namespace greensup {

struct Launch {
    /// Absolute if the command names a path; else to be looked up in the child's own PATH.
    std::string program;
    std::vector<std::string> arguments;    // argv, [0] as written
    std::vector<std::string> environment;  // "NAME=value", sorted; without greensup's own variables
    std::string directory;
};

/// The command, environment (env_pass from `ours`, then env) and directory of one instance.
Launch make_launch(const Config& config, const WorkerConfig& worker,
                   const InstanceVariables& instance, const Environment& ours);

/// What a worker may do with a queue.
struct QueueGrant {
    std::string queue;
    bool produce = false;
    bool consume = false;

    [[nodiscard]] bool any() const { return produce || consume; }
    friend bool operator==(const QueueGrant&, const QueueGrant&) = default;
};
QueueGrant grant(const QueueConfig& queue, const WorkerConfig& worker);

/// The end of a pipe that a worker has.
struct PipeGrant {
    std::string pipe;
    bool reads = false;
    bool is_standard = false;  // its stdin or stdout; else it opens it by name

    friend bool operator==(const PipeGrant&, const PipeGrant&) = default;
};
std::vector<PipeGrant> pipe_grants(const Config& config, const std::string& worker);

/// All of them that allow anything. Workers of kind "exec" have none.
std::vector<QueueGrant> grants(const Config& config, const WorkerConfig& worker);

}  // namespace greensup
