#include "support/virtual_reactor.hpp"

#include <cstdio>
#include <cstdlib>

namespace tests {

int VirtualReactor::watch(int fd, std::uint32_t generation) noexcept {
    fds_[fd] = generation;
    return 0;
}

void VirtualReactor::unwatch(int fd) noexcept { fds_.erase(fd); }

void VirtualReactor::make_ready(int fd, green::detail::Readiness readiness) {
    const auto found = fds_.find(fd);
    if (found != fds_.end()) reports_.push_back({fd, found->second, readiness});
}

void VirtualReactor::report_stale(int fd, std::uint32_t generation) {
    reports_.push_back({fd, generation, {true, true}});
}

void VirtualReactor::wait(green::TimePoint until) noexcept {
    const bool nothing = reports_.empty() && raised_.empty() && !notified_;
    if (nothing && until > now_) {
        if (until == green::TimePoint::max()) {
            std::fputs(
                "a virtual hub would sleep for ever: somebody waits for a world that the test does "
                "not move\n",
                stderr);
            std::abort();
        }
        now_ = until;
    }
    std::vector<Report> reports;
    std::vector<int> raised;
    reports.swap(reports_);
    raised.swap(raised_);
    for (const Report& report : reports)
        sink_->on_ready(report.fd, report.generation, report.readiness);
    for (const int signal : raised) sink_->on_signal(signal);
    if (notified_) sink_->on_notify();
    notified_ = false;
}

}  // namespace tests
