// Starting one process of an instance.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <sys/resource.h>
#include <vector>

#include <green/ipc/frame_stream.hpp>
#include <green/process.hpp>

#include "edition.hpp"
#include "launch.hpp"
#include "process_table.hpp"
#include "worker_fsm.hpp"

namespace greensup {

/// What a process has of a pipe.
struct HeldEnd {
    std::shared_ptr<OpenPipe> pipe;
    PipeGrant grant;
    int end = 0;       // its number there
    green::Fd theirs;  // until it has it
};

/// One process and what is its alone. An instance has one after the other.
struct Incarnation {
    green::Process process;
    std::optional<green::ipc::FrameStream> channel;  // kind = "hub"
    std::uint32_t owner = 0;                         // its number in every queue's segment
    std::vector<std::shared_ptr<OpenQueue>> queues;  // which it was given
    std::vector<QueueGrant> grants;                  // in the same order
    std::vector<HeldEnd> ends;                       // of pipes
    int row = -1;                                    // in the table of processes
};

/// It could not be started. A shortage is the system's fault and passes by itself.
struct SpawnFailure {
    int error = 0;
    bool is_shortage = false;
    std::string stage_and_path;  // of a shortage, all that is known of it
};

class Spawner {
 public:
    /// `ours`: what programs may get of our own variables.
    Spawner(Environment ours, const std::string& process_table);

    /// Starts a process for the instance. Never switches.
    std::shared_ptr<Incarnation> spawn(const Edition& edition, const WorkerConfig& worker,
                                       const Instance& instance, SpawnFailure& failure);

    /// After its end: mends the queues first, so that its messages are with others at once, and
    /// only then gives its numbers free. Switches if it had a process and there are many slots.
    void bury(Incarnation& incarnation, bool in_peace = false);

 private:
    green::Command command_for(const Edition& edition, const WorkerConfig& worker,
                               const Instance& instance) const;
    void start(const Edition& edition, const WorkerConfig& worker, const Instance& instance,
               Incarnation& into);
    void join_pipes(const Edition& edition, const WorkerConfig& worker, int slot, Incarnation& into,
                    green::Command& command);
    [[nodiscard]] std::uint32_t take_owner();

    Environment ours_;
    ProcessTable table_;
    std::vector<bool> owners_;  // by number; 0 is nobody
    std::uint32_t last_owner_ = 0;
    std::optional<rlimit> first_limit_;  // of descriptors, before we raised ours
};

}  // namespace greensup
