#pragma once
// A world of the test's own making: time goes on only when nobody has anything to do, and then at
// once; descriptors and signals happen when the test says so.

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "loop/reactor.hpp"

namespace tests {

class VirtualReactor final : public green::detail::Reactor {
 public:
    void attach(green::detail::ReactorSink& sink) noexcept override { sink_ = &sink; }
    green::TimePoint now() noexcept override { return now_; }
    int watch(int fd, std::uint32_t generation) noexcept override;
    void unwatch(int fd) noexcept override;
    void watch_signal(int signal) override { signals_.insert(signal); }
    void unwatch_signal(int signal) noexcept override { signals_.erase(signal); }
    void wait(green::TimePoint until) noexcept override;
    void notify() noexcept override { notified_ = true; }

    /// Reported at the next wait(), if the descriptor is watched by then.
    void make_ready(int fd, green::detail::Readiness readiness);
    void raise(int signal) { raised_.push_back(signal); }
    /// As a report that was on its way when the descriptor was closed.
    void report_stale(int fd, std::uint32_t generation);

    [[nodiscard]] std::size_t watched() const noexcept { return fds_.size(); }
    [[nodiscard]] std::size_t watched_signals() const noexcept { return signals_.size(); }

 private:
    struct Report {
        int fd;
        std::uint32_t generation;
        green::detail::Readiness readiness;
    };

    green::detail::ReactorSink* sink_ = nullptr;
    green::TimePoint now_{std::chrono::hours(1)};
    std::map<int, std::uint32_t> fds_;
    std::set<int> signals_;
    std::vector<Report> reports_;
    std::vector<int> raised_;
    bool notified_ = false;
};

}  // namespace tests
