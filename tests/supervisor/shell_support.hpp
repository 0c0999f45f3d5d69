// A supervisor in a process of its own, and what a test wants to know of it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <green/deadline.hpp>
#include <green/fd.hpp>
#include <green/process.hpp>

#include "control_client.hpp"
#include "status.hpp"
#include "support/temp_dir.hpp"

namespace greensup::test {

using namespace std::chrono_literals;

/// A line of transitions.log.
struct Line {
    std::int64_t t_ns = 0;
    std::string pool;
    int slot = 0;
    std::uint64_t generation = 0;
    int pid = 0;
    std::string from;
    std::string to;
    std::string cause;
};

/// Runs `greensup start` on a file in a directory of its own. Its log goes to a file, whose growth
/// is what waiting calls wait for.
class Running {
 public:
    static constexpr auto patience = 90s;

    /// `toml`: without version and [supervisor]; `supervisor`: more keys of that section;
    /// `descriptors`: how many it may have, 0 for as many as we.
    explicit Running(const std::string& toml, const std::string& supervisor = "",
                     unsigned descriptors = 0);
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running();

    void write(const std::string& toml);
    void write_raw(const std::string& text);
    void start();

    [[nodiscard]] std::string file() const { return directory_ / "workers.toml"; }
    [[nodiscard]] std::string run_dir() const { return directory_ / "run"; }
    [[nodiscard]] const tests::TempDir& directory() const { return directory_; }
    [[nodiscard]] green::Process& process() { return process_; }
    [[nodiscard]] std::string log() const;
    [[nodiscard]] std::vector<Line> transitions() const;

    [[nodiscard]] Status status() const;
    /// The first status for which `wanted` holds. Fails the test when none comes.
    Status await(const std::function<bool(const Status&)>& wanted);
    void await_log(const std::string& text, std::size_t times = 1);
    /// For what the log does not tell of: looks now and then. Fails the test when it does not come.
    static void until(const std::function<bool()>& holds);
    /// Everybody ready in this generation or a later one, and no roll going on.
    Status await_settled(std::uint64_t generation = 1);
    Answer ask(const Request& request) const;
    /// Waits for its end.
    green::ExitStatus end();

 private:
    void await_growth(green::Deadline deadline);

    tests::TempDir directory_;
    std::string supervisor_;
    unsigned descriptors_;
    green::Process process_;
    green::Fd watch_;
};

[[nodiscard]] const PoolStatus* find(const Status& status, std::string_view pool);
[[nodiscard]] std::vector<int> pids(const Status& status, std::string_view pool);
/// The smallest number of ready workers after `count` were ready for the first time, as the
/// transitions tell it.
[[nodiscard]] int fewest_ready(const std::vector<Line>& lines, const std::string& pool, int count);
[[nodiscard]] bool lives(int pid);
/// command = ["SELF", "--role=ROLE", ...] for a worker's section.
[[nodiscard]] std::string role(const std::string& name,
                               const std::vector<std::string>& arguments = {});

}  // namespace greensup::test
