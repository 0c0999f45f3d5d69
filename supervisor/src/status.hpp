// What `greensup status` shows, as a value: filled by the shell, rendered here, read back by the
// command line. The JSON field names are a contract ("schema":"greensup/1"); the table is not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clock.hpp"
#include "diagnostic.hpp"
#include "worker_fsm.hpp"

namespace greensup {

struct InstanceStatus {
    int slot = 0;
    State state = State::stopped;
    int pid = 0;  // 0: none
    std::uint64_t generation = 0;
    Cause cause;
    std::int64_t since_ms = 0;               // wall clock, ms since 1970: for display
    std::optional<std::int64_t> next_at_ms;  // when its back-off ends
    unsigned restarts = 0;
    bool on_trial = false;
};

enum class PoolState { ready, starting, rolling, degraded, failed, stopping, stopped, done };

struct PoolStatus {
    std::string name;
    bool wanted = true;
    bool degraded = false;  // a slot exceeded its restart intensity, or the last roll failed
    bool rolling = false;
    int count = 0;
    std::uint64_t generation = 0;
    std::string note;  // "2 of 4 moved", "roll failed: …"
    std::vector<InstanceStatus> instances;
};

/// Who has messages of a queue in hand.
struct QueueHolder {
    std::string worker;
    int slot = 0;
    int pid = 0;
    std::uint64_t leased = 0;
};

struct QueueStatus {
    std::string name;
    std::uint64_t ready = 0;
    std::uint64_t leased = 0;
    std::uint64_t bytes = 0;
    std::uint64_t delayed = 0;
    std::uint64_t dead = 0;
    std::int64_t oldest_ms = 0;  // the age of the oldest message that somebody may still get
    bool high = false;
    bool letters_full = false;  // dead ones find no room in the queue for dead letters
    bool removed = false;       // it is not in the file any more
    // Since the queue was made.
    std::uint64_t accepted = 0;
    std::uint64_t acked = 0;
    std::uint64_t redelivered = 0;
    std::uint64_t moved = 0;  // to the dead letters
    std::uint64_t duplicates = 0;
    std::uint64_t dropped_oldest = 0;
    std::uint64_t dropped_newest = 0;
    std::uint64_t rejected = 0;
    std::uint64_t expired = 0;
    std::uint64_t refused = 0;  // puts into a full queue
    std::uint64_t leases_expired = 0;
    std::vector<QueueHolder> holders;

    [[nodiscard]] std::uint64_t dropped() const {
        return dropped_oldest + dropped_newest + rejected + expired;
    }
};

/// A process at a pipe, or a slot for which nobody reads.
struct PipeEndStatus {
    int slot = 0;
    int pid = 0;        // 0: nobody
    std::string state;  // "open", "next", "held", "ended", "closed", "gone"
    std::uint64_t bytes = 0;
    std::uint64_t waiting = 0;
    // For so long something waits there, and nothing of it has moved; perhaps a second longer.
    std::int64_t stands_ms = 0;
};

struct PipeStatus {
    std::string name;
    std::string from;
    std::string to;
    std::string shape;
    std::uint64_t waiting = 0;  // bytes that were written, and that no reader has read
    // Since the pipe was opened.
    std::uint64_t passed = 0;   // bytes
    std::uint64_t torn = 0;     // messages of which the writer wrote only a part before it died
    std::uint64_t refused = 0;  // messages that were too large
    std::uint64_t missed = 0;   // bytes that were not kept for lost readers of a broadcast
    bool removed = false;       // it is not in the file any more
    std::vector<PipeEndStatus> writers;
    std::vector<PipeEndStatus> readers;
};

struct SocketStatus {
    std::string name;
    std::string listen;
};

/// The configuration in force, and the last one that was refused.
struct ConfigStatus {
    std::string file;
    bool rejected = false;
    std::int64_t rejected_at_ms = 0;
    Diagnostics mistakes;
};

struct Status {
    std::string name;
    int pid = 0;
    std::string version;
    std::uint64_t generation = 0;
    Duration uptime{};
    std::int64_t now_ms = 0;
    bool stopping = false;
    ConfigStatus config;
    std::vector<PoolStatus> pools;
    std::vector<QueueStatus> queues;
    std::vector<PipeStatus> pipes;
    std::vector<SocketStatus> sockets;
};

/// The pool in one word, from its instances and flags.
PoolState state_of(const PoolStatus& pool);
std::string_view to_text(PoolState state);

/// How many of its instances serve.
int ready_count(const PoolStatus& pool);

/// The table for people.
std::string to_text(const Status& status);

/// One JSON document, on one line; with `pretty` indented by two.
std::string to_json_text(const Status& status, bool pretty = false);

/// The other direction, for the command line. Nothing if it is not such a document.
std::optional<Status> parse_status(std::string_view json);

/// {"schema":"greensup/1","ok":false,"code":N,"error":{"id","message","hint"}}
std::string error_json_text(int code, std::string_view id, std::string_view message,
                            std::string_view hint = {});

}  // namespace greensup
