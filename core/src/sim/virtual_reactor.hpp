#pragma once
// A world of somebody's own making: time goes on only when nobody has anything to do, and then at
// once; descriptors and signals happen when they are told to.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "loop/reactor.hpp"

namespace green::detail {

class VirtualReactor : public Reactor {
 public:
    void attach(ReactorSink& sink) noexcept override { sink_ = &sink; }
    TimePoint now() noexcept override { return now_; }
    int watch(int fd, std::uint32_t generation) noexcept override;
    void unwatch(int fd) noexcept override;
    void watch_signal(int signal) override { signals_.insert(signal); }
    void unwatch_signal(int signal) noexcept override { signals_.erase(signal); }
    std::unique_ptr<Watch> watch_level(int fd, Readiness wanted,
                                       std::function<void(Readiness)> report) override;
    void wait(TimePoint until) noexcept override;
    void notify() noexcept override { notified_.store(true, std::memory_order_release); }
    [[nodiscard]] bool may_report() noexcept override;

    /// Reported at the next wait(), if the descriptor is watched now. Once: it is not ready any
    /// more afterwards.
    void make_ready(int fd, Readiness readiness);
    void raise(int signal) { raised_.push_back(signal); }
    /// Time goes on while somebody computes.
    void advance(Duration by) { now_ += by; }
    /// As a report that was on its way when the descriptor was closed.
    void report_stale(int fd, std::uint32_t generation);
    /// Calls the function inside a wait(), on the hub's stack, once the clock has come to `when`:
    /// the earliest first, equal ones in the order in which they were given. It must neither switch
    /// nor throw.
    void at(TimePoint when, std::function<void()> function);

    [[nodiscard]] std::size_t watched() const noexcept { return fds_.size() + levels_.size(); }
    [[nodiscard]] std::size_t watched_signals() const noexcept { return signals_.size(); }

 protected:
    /// Called before anything is reported: the place to call make_ready().
    virtual void gather() noexcept {}

 private:
    struct Level;
    struct Report {
        int fd;
        std::uint32_t generation;
        Readiness readiness;
    };
    struct Event {
        TimePoint when;
        std::uint64_t sequence;
        std::function<void()> function;
        /// For a heap whose front is the earliest.
        [[nodiscard]] static bool later(const Event& a, const Event& b) noexcept {
            return a.when != b.when ? a.when > b.when : a.sequence > b.sequence;
        }
    };

    void run_due() noexcept;
    [[nodiscard]] bool has_report() const noexcept;

    ReactorSink* sink_ = nullptr;
    TimePoint now_{std::chrono::hours(1)};
    std::map<int, std::uint32_t> fds_;
    std::set<int> signals_;
    std::vector<Report> reports_;
    std::vector<Level*> levels_;  // of watchers
    std::vector<std::pair<int, Readiness>> level_reports_;
    std::vector<int> raised_;
    std::vector<Event> agenda_;  // a heap
    std::uint64_t next_sequence_ = 0;
    std::atomic<bool> notified_{false};
};

}  // namespace green::detail
