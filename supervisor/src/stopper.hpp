// The end: does what shutdown.hpp decides.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <green/event.hpp>
#include <green/group.hpp>

#include "edition.hpp"
#include "fleet.hpp"
#include "shutdown.hpp"

namespace greensup {

class Stopper {
 public:
    Stopper(Fleet& fleet, green::Event& changed) noexcept : fleet_{fleet}, changed_{changed} {}

    /// Stops everything in order, within shutdown_timeout. Again, a second later, it is hurry().
    void begin(const Edition& edition, const char* who);
    /// Stops everything at once: stop.signal to all, and SIGKILL a second later. Again, it is
    /// SIGKILL.
    void hurry(const Edition& edition, const char* who);

    [[nodiscard]] bool has_begun() const noexcept { return edition_ != nullptr; }
    [[nodiscard]] bool is_done() const;
    /// All that were open when it began, by name. They stay so until the end.
    [[nodiscard]] const std::map<std::string, std::shared_ptr<OpenQueue>>& queues() const noexcept {
        return queues_;
    }
    [[nodiscard]] const std::map<std::string, std::shared_ptr<OpenPipe>>& pipes() const noexcept {
        return pipes_;
    }
    /// Returns when to look again.
    std::optional<TimePoint> advance();

 private:
    void read_roles();
    [[nodiscard]] ShutdownView view();
    [[nodiscard]] std::map<const OpenPipe*, std::set<int>> reading_slots() const;
    void tell(const std::string& pool);
    void to_all(Input::What what, const char* who);
    void log_waiting(const std::vector<std::string>& reasons);

    Fleet& fleet_;
    green::Event& changed_;
    const Edition* edition_ = nullptr;
    std::map<std::string, std::shared_ptr<OpenQueue>> queues_;
    std::map<std::string, std::shared_ptr<OpenPipe>> pipes_;
    std::vector<QueueRole> roles_;
    std::set<std::string> told_;
    std::set<std::string> kept_;  // queues that have messages for later
    TimePoint began_{};
    std::optional<TimePoint> kill_at_;  // in a hurry
    bool was_killed_ = false;
    std::vector<std::string> reasons_;
    green::Group followers_;
};

}  // namespace greensup
