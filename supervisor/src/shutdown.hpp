// In which order pools stop, so that no accepted work is left behind.
//
// Producers of a queue or pipe stop first; its consumers go on until it is empty and everybody who
// could still put something into it is gone, or until the time that is left is what they need to
// stop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clock.hpp"
#include "config.hpp"

namespace greensup {

/// Who feeds and who empties a queue, or a pipe. `read_roles` takes it from the configuration: a
/// list of names is believed; "*" means that pools with sockets produce and pools without consume.
struct QueueRole {
    std::string queue;
    std::vector<std::string> producers;
    std::vector<std::string> consumers;
    bool is_pipe = false;
};
std::vector<QueueRole> read_roles(const Config& config);

struct ShutdownPool {
    std::string name;
    int live = 0;          // instances that have a process or will have one again
    bool leaving = false;  // was already told to drain
    Duration needs{};      // stop.drain + stop.timeout
};

struct ShutdownQueue {
    std::string name;
    std::uint64_t left = 0;  // messages that somebody may get before the deadline; of a pipe, bytes
    bool is_pipe = false;
};

struct ShutdownView {
    std::vector<ShutdownPool> pools;
    std::vector<ShutdownQueue> queues;
    std::vector<QueueRole> roles;
    TimePoint deadline{};  // when everything has to be gone
    Duration allowed{};    // from the order to the deadline: supervisor.shutdown_timeout
};

struct ShutdownAction {
    std::vector<std::string> drain;      // pools to tell now, in order
    bool kill = false;                   // the deadline has passed: SIGKILL for what is left
    bool done = false;                   // nobody is left
    std::optional<TimePoint> until;      // look again then, if nothing happens before
    std::vector<std::string> waits_for;  // for the log: "counter waits for queue texts (12 left)"
};

/// The next thing to do. Ask again after each exit, after messages have left a queue, and at
/// `until`.
ShutdownAction next_shutdown_action(const ShutdownView& view, TimePoint now);

}  // namespace greensup
