#include "leftovers.hpp"

#include <csignal>
#include <memory>
#include <optional>

#include <green/fd.hpp>
#include <green/group.hpp>
#include <green/log.hpp>
#include <green/sys.hpp>

#include "units.hpp"

namespace greensup {
namespace {

namespace sys = green::sys;

// The worker began to leave a little later than we think, and measures by its own clock.
constexpr Duration grace = 1s;
constexpr Duration after_kill = 5s;

/// A living process that is the one meant, as far as that is known.
std::shared_ptr<green::Fd> find(const ProcessRecord& record) {
    const auto opened = sys::pidfd_open(record.pid);
    if (!opened.ok()) return nullptr;
    auto fd = std::make_shared<green::Fd>(opened.as_int());
    // Asked with the descriptor in hand: the number cannot change its owner any more.
    const bool is_known = record.start_time != 0;
    if (is_known && start_time_of(record.pid) != record.start_time) return nullptr;
    return fd;
}

void await(const ProcessRecord& record, green::Fd& fd) {
    const bool is_surely_ours = record.start_time != 0;
    if (record.kind == Kind::exec && is_surely_ours)
        (void)sys::pidfd_send_signal(fd.number(), SIGTERM);
    if (fd.wait_readable(record.patience + grace) || !is_surely_ours) return;
    green::log::warning("leftover.killed", {{"worker", record.name}, {"pid", record.pid}});
    (void)sys::kill(-record.pid, SIGKILL);
    if (!fd.wait_readable(after_kill))
        green::log::error("leftover.unkillable", {{"worker", record.name}, {"pid", record.pid}});
}

}  // namespace

bool await_leftovers(const std::vector<ProcessRecord>& records, green::Event& stop) {
    green::Event done;
    green::Group waits;
    for (const auto& record : records) {
        const auto fd = find(record);
        if (!fd) continue;
        green::log::info(
            "leftover.awaited",
            {{"worker", record.name}, {"pid", record.pid}, {"at_most", to_text(record.patience)}});
        waits.spawn([record, fd] { await(record, *fd); });
    }
    if (waits.empty()) return !stop.is_set();
    green::Group end;
    end.spawn([&] {
        waits.join();
        done.set();
    });
    end.spawn([&] {
        stop.wait();
        done.set();
    });
    done.wait();
    return !stop.is_set();
}

}  // namespace greensup
