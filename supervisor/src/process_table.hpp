// RUN_DIR/processes: which processes are ours, for the supervisor that comes after a SIGKILL of
// this one. It has to know whom to wait for before it touches the queues they are attached to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <green/fd.hpp>

#include "clock.hpp"
#include "config.hpp"

namespace greensup {

/// A process and since when it runs: together these name it for ever.
struct ProcessRecord {
    int pid = 0;
    std::uint64_t start_time = 0;  // field 22 of /proc/PID/stat
    Kind kind = Kind::exec;
    Duration patience{};  // how long it may take to leave by itself
    std::string name;     // "web/0"
};

/// When the process with this number started; nothing if there is none.
std::optional<std::uint64_t> start_time_of(int pid);

/// Rows of fixed size in a file, so that keeping it costs one small write per start and per end.
class ProcessTable {
 public:
    /// What the table of an earlier supervisor says; nothing if there is none.
    static std::vector<ProcessRecord> read(const std::string& path);

    /// Starts the file anew. Throws Refusal.
    explicit ProcessTable(const std::string& path);

    /// Takes an empty row; its place in the file is there before the process is, so that writing
    /// it down cannot fail for want of space. Throws std::system_error.
    int reserve();
    void fill(int row, const ProcessRecord& record);
    void clear(int row);

 private:
    green::Fd file_;
    std::vector<bool> taken_;
};

}  // namespace greensup
