#include <cerrno>
#include <system_error>
#include <utility>

#include <green/errors.hpp>
#include <green/sys.hpp>
#include <green/world_watchers.hpp>

#include "loop/reactor.hpp"
#include "loop/watcher_board.hpp"
#include "os/child.hpp"
#include "os/signal_board.hpp"
#include "sched/hub.hpp"

namespace green {
namespace {

detail::Reactor& reactor() { return detail::Hub::current().reactor(); }

bool has(IoEvents events, IoEvents one) noexcept { return (events & one) != IoEvents::none; }

}  // namespace

// --- descriptors ---

IoWatcher::IoWatcher(int fd, IoEvents events) : WatcherOf{detail::WatcherKind::io, true} {
    set(fd, events);
}

void IoWatcher::set(int fd, IoEvents events) {
    check_inactive("set()");
    if (events == IoEvents::none || (events & IoEvents::read_write) != events) {
        throw UsageError("an IoWatcher watches for read, write or both");
    }
    sys::must(sys::fcntl(fd, F_GETFD), "watching fd " + std::to_string(fd));
    fd_ = fd;
    events_ = events;
}

void IoWatcher::arm() {
    reported_ = IoEvents::none;
    watch_ =
        reactor().watch_level(fd_, {has(events_, IoEvents::read), has(events_, IoEvents::write)},
                              [this](detail::Readiness ready) {
                                  if (ready.readable) reported_ = reported_ | IoEvents::read;
                                  if (ready.writable) reported_ = reported_ | IoEvents::write;
                                  make_pending();
                              });
}

void IoWatcher::collect() {
    // What feed() made pending without a report is taken for all that is watched.
    ready_ = reported_ == IoEvents::none ? events_ : reported_;
    reported_ = IoEvents::none;
}

void IoWatcher::closing() noexcept {
    reported_ = reported_ | IoEvents::closed;
    make_pending();
    watch_.reset();  // before the number can be given to another one
    deactivate();
    cancel_wait(std::make_exception_ptr(std::system_error(
        EBADF, std::system_category(), "fd " + std::to_string(fd_) + " was closed")));
}

std::string IoWatcher::describe() const {
    const char* direction = events_ == IoEvents::read_write ? " readable or writable"
                            : events_ == IoEvents::read     ? " readable"
                                                            : " writable";
    return "fd " + std::to_string(fd_) + direction;
}

void closing_fd(int fd) noexcept {
    detail::Hub* hub = detail::Hub::current_or_null();
    if (hub == nullptr || fd < 0) return;
    hub->watchers().closing(fd);
    hub->fds().close(fd);
}

IoEvents wait_io(int fd, IoEvents events, Deadline deadline) {
    IoWatcher watcher{fd, events};
    return watcher.wait(deadline) ? watcher.ready() : IoEvents::none;
}
bool wait_readable(int fd, Deadline deadline) {
    return wait_io(fd, IoEvents::read, deadline) != IoEvents::none;
}
bool wait_writable(int fd, Deadline deadline) {
    return wait_io(fd, IoEvents::write, deadline) != IoEvents::none;
}

// --- the wall clock ---

PeriodicWatcher::PeriodicWatcher(WallTime at)
    : WatcherOf{detail::WatcherKind::periodic, true}, at_{at} {}

PeriodicWatcher::PeriodicWatcher(Duration interval, Duration offset)
    : WatcherOf{detail::WatcherKind::periodic, true}, at_{offset}, interval_{interval} {
    if (interval <= Duration::zero()) throw UsageError("a period must be longer than nothing");
    if (offset < Duration::zero() || offset >= interval) {
        throw UsageError("the offset of a period lies inside of it");
    }
}

PeriodicWatcher::PeriodicWatcher(Next next)
    : WatcherOf{detail::WatcherKind::periodic, true}, next_{std::move(next)} {
    if (!next_) throw UsageError("a PeriodicWatcher needs a time, an interval or a function");
}

WallTime PeriodicWatcher::ask() const {
    const WallTime present = std::chrono::system_clock::now();
    const WallTime next = next_(present);
    if (next <= present) throw UsageError("the next time of a PeriodicWatcher is in the past");
    return next;
}

void PeriodicWatcher::watch(WallTime at) {
    watch_ = reactor().watch_wall_clock(at, interval_, [this] { make_pending(); });
}

void PeriodicWatcher::prepare() {
    if (next_) at_ = ask();
}
void PeriodicWatcher::arm() { watch(at_); }

void PeriodicWatcher::collect() {
    if (next_) {
        const WallTime next = ask();
        if (active()) watch(next);
    } else if (interval_ == Duration::zero() && active()) {
        watch_.reset();
        deactivate();
    }
}

// --- signals ---

SignalWatcher::SignalWatcher(int signal)
    : WatcherOf{detail::WatcherKind::signal, false}, signal_{signal} {
    detail::check_catchable(signal);
}

void SignalWatcher::arm() { detail::Hub::current().signals().add(*this); }
void SignalWatcher::disarm() noexcept { detail::Hub::current().signals().remove(*this); }
std::string SignalWatcher::describe() const { return "signal " + std::to_string(signal_); }

// --- children ---

ChildWatcher::ChildWatcher(std::shared_ptr<detail::Child> child) noexcept
    : WatcherOf{detail::WatcherKind::child, true}, child_{std::move(child)} {}
ChildWatcher::ChildWatcher(pid_t pid) : ChildWatcher{detail::Child::adopt(pid)} {}
ChildWatcher::ChildWatcher(const Process& process)
    : ChildWatcher{((void)process.child(), process.child_)} {}

pid_t ChildWatcher::pid() const noexcept { return child_->pid(); }
const std::optional<ExitStatus>& ChildWatcher::status() const noexcept { return child_->status(); }

void ChildWatcher::arm() {
    watch_ = reactor().watch_level(child_->pidfd(), {true, false},
                                   [this](detail::Readiness) { make_pending(); });
}

void ChildWatcher::collect() {
    if (!child_->reap() || !active()) return;  // not ended: somebody called feed()
    watch_.reset();
    deactivate();
}

bool ChildWatcher::happened() { return child_->reap(); }
std::string ChildWatcher::describe() const { return "the end of pid " + std::to_string(pid()); }

void detail::EndWatcher::arm() {
    watch_ = reactor().watch_level(child_->pidfd(), {true, false},
                                   [this](Readiness) { make_pending(); });
}

void detail::EndWatcher::collect() {
    if (!child_->ended() || !active()) return;
    watch_.reset();
    deactivate();
}

bool detail::EndWatcher::happened() { return child_->ended(); }
std::string detail::EndWatcher::describe() const {
    return "the end of pid " + std::to_string(child_->pid());
}

// --- files ---

StatWatcher::StatWatcher(std::string path, Duration interval)
    : WatcherOf{detail::WatcherKind::stat, true},
      path_{std::move(path)},
      interval_{interval},
      seen_{std::make_unique<detail::FileSnapshots>()} {
    if (path_.empty() || path_.find('\0') != std::string::npos) {
        throw UsageError("a StatWatcher needs a path without a NUL");
    }
    if (interval < Duration::zero()) throw UsageError("a StatWatcher looks forward in time");
}
StatWatcher::~StatWatcher() { stop(); }

void StatWatcher::arm() {
    watch_ = reactor().watch_file(path_, interval_, *seen_, [this] { make_pending(); });
}

FileState StatWatcher::attr() const { return seen_->attr; }
FileState StatWatcher::prev() const { return seen_->prev; }
std::string StatWatcher::describe() const { return "the file " + path_; }

}  // namespace green
