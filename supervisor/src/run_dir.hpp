// The directory of one running supervisor: who has its lock is the supervisor.
#pragma once

#include <string>

#include <green/fd.hpp>

namespace greensup {

/// Where things lie in a run directory.
struct RunPaths {
    std::string directory;

    [[nodiscard]] std::string lock() const { return directory + "/lock"; }
    [[nodiscard]] std::string control_socket() const { return directory + "/control.sock"; }
    [[nodiscard]] std::string transitions() const { return directory + "/transitions.log"; }
    [[nodiscard]] std::string processes() const { return directory + "/processes"; }
    [[nodiscard]] std::string queues() const { return directory + "/queues"; }
};

/// Holds the lock; it also ends with the process, however that ends.
class RunDir {
 public:
    /// Makes the directory, for us alone except that it can be passed through by those who may use
    /// the control socket, and takes the lock. Throws Refusal.
    RunDir(const std::string& directory, int control_mode);
    RunDir(const RunDir&) = delete;
    RunDir& operator=(const RunDir&) = delete;
    ~RunDir();

    [[nodiscard]] const RunPaths& paths() const noexcept { return paths_; }

 private:
    RunPaths paths_;
    green::Fd lock_;
};

}  // namespace greensup
