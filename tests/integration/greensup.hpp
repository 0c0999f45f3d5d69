#pragma once
// A running supervisor, its workers as the transition log shows them, and clients that accept no
// excuse.

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <green/endpoint.hpp>
#include <green/fd.hpp>
#include <green/process.hpp>

#include "support/temp_dir.hpp"

namespace tests {

/// One instance as last seen in the log.
struct Seen {
    std::string pool;
    int slot = 0;
    int pid = 0;
    std::string state;
    std::string cause;
};

/// Follows RUN_DIR/transitions.log and keeps what it says.
class Transitions {
 public:
    explicit Transitions(std::string path);

    /// Reads on until the condition holds. Switches. Returns false once `deadline` has passed.
    bool wait_for(const std::function<bool()>& condition, green::Deadline deadline);
    /// Takes what has been written up to now.
    void catch_up();

    [[nodiscard]] std::vector<Seen> in_state(const std::string& pool,
                                             const std::string& state) const;
    [[nodiscard]] std::set<int> ready_pids(const std::string& pool) const;
    /// Processes that were started and have not left.
    [[nodiscard]] std::set<int> living_pids() const;
    [[nodiscard]] const std::set<int>& all_pids() const { return all_pids_; }
    /// The smallest number of ready ones of the pool since it was last reset.
    [[nodiscard]] std::size_t fewest_ready(const std::string& pool) const;
    void reset_fewest();
    [[nodiscard]] std::size_t starts(const std::string& pool) const;
    [[nodiscard]] const std::string& text() const { return text_; }

 private:
    void take_line(const std::string& line);

    std::string path_;
    green::Fd changes_;  // inotify
    std::size_t offset_ = 0;
    std::string text_;
    std::map<std::tuple<std::string, int, std::uint64_t>, Seen> instances_;
    std::set<int> all_pids_;
    std::map<std::string, std::size_t> fewest_;
    std::map<std::string, std::size_t> starts_;
};

class Greensup {
 public:
    /// Starts `greensup start` on a file with this text, in a directory of its own. `${RUN}` in the
    /// text is replaced by the run directory.
    explicit Greensup(const std::string& toml);
    Greensup(const Greensup&) = delete;
    Greensup& operator=(const Greensup&) = delete;
    ~Greensup();

    /// Starts it again, after it has ended.
    void start();
    void rewrite(const std::string& toml);
    /// Waits until each pool has as many ready instances as told.
    void await_ready(const std::map<std::string, std::size_t>& counts);
    void signal(int number);
    /// SIGTERM, then its exit status.
    green::ExitStatus stop();
    green::ExitStatus join();

    [[nodiscard]] nlohmann::json status();
    [[nodiscard]] green::Endpoint socket(const std::string& name);
    [[nodiscard]] Transitions& transitions() { return *transitions_; }
    [[nodiscard]] std::string run_dir() const { return dir_ / "run"; }
    [[nodiscard]] std::string file() const { return dir_ / "workers.toml"; }
    [[nodiscard]] std::string log() const;
    [[nodiscard]] pid_t pid() const { return process_.pid(); }
    [[nodiscard]] const TempDir& dir() const { return dir_; }

    /// Directory of the built programs.
    [[nodiscard]] static std::string bin();
    /// Runs a verb and gives its exit code and output.
    struct Ran {
        int code = 0;
        std::string output;
    };
    static Ran run(const std::vector<std::string>& arguments);

 private:
    TempDir dir_;
    green::Process process_;
    std::unique_ptr<Transitions> transitions_;
};

[[nodiscard]] bool process_exists(int pid);

}  // namespace tests
