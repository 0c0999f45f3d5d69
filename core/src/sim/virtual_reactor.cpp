#include "sim/virtual_reactor.hpp"

#include <algorithm>
#include <utility>

namespace green::detail {

struct VirtualReactor::Level final : Watch {
    ~Level() override {
        if (is_at_home()) std::erase(world->levels_, this);
    }

    VirtualReactor* world = nullptr;
    int fd = -1;
    Readiness wanted;
    std::function<void(Readiness)> report;
};

int VirtualReactor::watch(int fd, std::uint32_t generation) noexcept {
    fds_[fd] = generation;
    return 0;
}

void VirtualReactor::unwatch(int fd) noexcept { fds_.erase(fd); }

void VirtualReactor::make_ready(int fd, Readiness readiness) {
    const auto found = fds_.find(fd);
    if (found != fds_.end()) reports_.push_back({fd, found->second, readiness});
    const auto is_of_it = [fd](const Level* level) { return level->fd == fd; };
    if (std::any_of(levels_.begin(), levels_.end(), is_of_it)) {
        level_reports_.emplace_back(fd, readiness);
    }
}

std::unique_ptr<Watch> VirtualReactor::watch_level(int fd, Readiness wanted,
                                                   std::function<void(Readiness)> report) {
    auto level = std::make_unique<Level>();
    level->world = this;
    level->fd = fd;
    level->wanted = wanted;
    level->report = std::move(report);
    levels_.push_back(level.get());
    return level;
}

void VirtualReactor::report_stale(int fd, std::uint32_t generation) {
    reports_.push_back({fd, generation, {true, true}});
}

void VirtualReactor::at(TimePoint when, std::function<void()> function) {
    agenda_.push_back({when, next_sequence_++, std::move(function)});
    std::push_heap(agenda_.begin(), agenda_.end(), Event::later);
}

void VirtualReactor::run_due() noexcept {
    while (!agenda_.empty() && agenda_.front().when <= now_) {
        std::pop_heap(agenda_.begin(), agenda_.end(), Event::later);
        const Event event = std::move(agenda_.back());
        agenda_.pop_back();
        event.function();
    }
}

bool VirtualReactor::has_report() const noexcept {
    return !reports_.empty() || !level_reports_.empty() || !raised_.empty() ||
           notified_.load(std::memory_order_acquire);
}

bool VirtualReactor::may_report() noexcept { return has_report() || !agenda_.empty(); }

void VirtualReactor::wait(TimePoint until) noexcept {
    for (;;) {
        run_due();
        gather();
        if (has_report()) break;
        const TimePoint next = agenda_.empty() ? until : std::min(until, agenda_.front().when);
        if (next <= now_ || next == TimePoint::max()) break;
        now_ = next;
    }
    std::vector<Report> reports;
    std::vector<int> raised;
    reports.swap(reports_);
    raised.swap(raised_);
    for (const Report& report : reports)
        sink_->on_ready(report.fd, report.generation, report.readiness);
    for (const auto& [fd, readiness] : std::exchange(level_reports_, {})) {
        for (const Level* level : levels_) {
            if (level->fd != fd) continue;
            const bool readable = level->wanted.readable && readiness.readable;
            const bool writable = level->wanted.writable && readiness.writable;
            if (readable || writable) level->report({readable, writable});
        }
    }
    for (const int signal : raised) sink_->on_signal(signal);
    if (notified_.exchange(false, std::memory_order_acq_rel)) sink_->on_notify();
}

}  // namespace green::detail
