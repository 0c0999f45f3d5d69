// The supervisor itself. Its main greenlet looks at everything whenever something has changed, does
// what can be done now, and sleeps; the other greenlets only bring news: signals, requests, ends
// and words of processes, queues that have got emptier.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <green/event.hpp>
#include <green/group.hpp>
#include <green/signals.hpp>

#include "control_server.hpp"
#include "fleet.hpp"
#include "reloader.hpp"
#include "roller.hpp"
#include "run_dir.hpp"
#include "status.hpp"
#include "stopper.hpp"

namespace greensup {

class Supervisor {
 public:
    /// For a run directory whose lock is held.
    Supervisor(Config config, Environment ours, RunPaths paths);
    Supervisor(const Supervisor&) = delete;
    Supervisor& operator=(const Supervisor&) = delete;
    ~Supervisor();

    /// Runs until it is told to stop and everything is gone. Switches. Throws Refusal when it
    /// cannot begin; then nothing was started.
    void run();

 private:
    struct Works;

    void watch_signals();
    void on_signal(int signal);
    void on_hangup();
    void stop(const std::string& who, bool in_a_hurry);
    /// Reads the file again and applies it. Switches.
    std::shared_ptr<ReloadJob> reload(std::optional<Scope> scope);
    void begin();
    void keep_going();
    void end();

    // supervisor_control.cpp
    std::string answer(const Request& request);
    std::string answer_reload(const Request& request);
    [[nodiscard]] Status status() const;

    Config first_;
    const Environment ours_;
    const RunPaths paths_;
    const TimePoint started_;
    const bool has_terminal_;
    green::Event changed_;
    green::Event stop_;  // asked to, while nothing ran yet
    bool is_reloading_ = false;
    bool reloads_again_ = false;
    std::unique_ptr<Works> works_;
    std::unique_ptr<ControlServer> server_;
    green::SignalSet signals_;
    green::Group greenlets_;
};

/// All of `greensup start FILE`. Returns its exit code.
int start_supervisor(const std::string& file);

}  // namespace greensup
