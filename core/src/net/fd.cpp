#include <poll.h>

#include <green/detail/give_way.hpp>
#include <green/fd.hpp>

#include "loop/watcher_board.hpp"
#include "sched/hub.hpp"

namespace green {

Fd& Fd::operator=(Fd&& other) noexcept {
    if (this != &other) {
        close();
        number_ = other.number();
        tenure_ = {};
        other.number_ = -1;
        hub_ = std::exchange(other.hub_, 0);
    }
    return *this;
}

void Fd::forget() noexcept {
    // Another hub than the present one: its thread has ended, or we are a forked child. Nobody
    // waits there.
    const std::uint32_t entered_in = std::exchange(hub_, 0);
    detail::Hub* const hub = detail::Hub::current_or_null();
    if (hub != nullptr && hub->number() == entered_in) hub->fds().close(number_);
}

void Fd::close() noexcept {
    number_ = number();
    if (number_ < 0) return;
    forget();
    if (detail::Hub* hub = detail::Hub::current_or_null()) hub->watchers().closing(number_);
    (void)sys::close(std::exchange(number_, -1));
}

int Fd::release() noexcept {
    number_ = number();
    if (number_ >= 0) forget();
    return std::exchange(number_, -1);
}

bool Fd::entered(bool make) {
    if (!is_open()) return false;  // also one that a fork has closed: its hub may have known it
    const detail::Hub* const present = detail::Hub::current_or_null();
    if (present != nullptr && present->number() == hub_) return true;
    if (!make) return false;
    detail::Hub& hub = detail::Hub::current();
    hub.fds().open(number_);
    hub_ = hub.number();
    tenure_ = {};
    return true;
}

int Fd::entered_number() {
    if (!entered(true)) sys::fail(EBADF, "waiting for a descriptor");
    return number_;
}

namespace {

/// Whether it is ready now, by asking the system.
bool poll_now(int number, detail::Direction direction) {
    const short wanted = direction == detail::Direction::read ? POLLIN | POLLRDHUP : POLLOUT;
    pollfd one{number, wanted, 0};
    const bool ready = sys::must(sys::poll(&one, 1, 0), "poll") > 0;
    if (ready && (one.revents & POLLNVAL) != 0) sys::fail(EBADF, "waiting for a descriptor");
    return ready;
}

bool wait_for(Fd& fd, detail::Direction direction, Deadline deadline) {
    for (detail::FdOperation operation{fd, direction, deadline}; operation.go();) {
        if (operation.number() < 0) sys::fail(EBADF, "waiting for a descriptor");
        if (poll_now(operation.number(), direction)) return true;
        operation.blocked();
    }
    return false;
}

}  // namespace

bool Fd::wait_readable(Deadline deadline) {
    return wait_for(*this, detail::Direction::read, deadline);
}
bool Fd::wait_writable(Deadline deadline) {
    return wait_for(*this, detail::Direction::write, deadline);
}

FdReadiness::Ready::Ready(const FdReadiness& readiness)
    : FdNode{readiness.fd_->entered_number(), readiness.direction_} {}

bool FdReadiness::Ready::arm() {
    check_open();
    if (poll_now(number(), direction())) return true;
    blocked();
    return FdNode::arm();
}

namespace detail {

FdOperation::FdOperation(Fd& fd, Direction direction, Deadline deadline, Reach reach)
    : fd_{&fd}, direction_{direction}, reach_{reach}, deadline_{deadline}, number_{fd.number()} {
    Hub* const hub = deadline == Deadline::passed() ? nullptr : Hub::current_or_null();
    const bool gives_way = hub != nullptr && hub->served_enough();
    // Entered before it gives way: after that only the node can tell whether the descriptor is
    // still there.
    if (fd.entered(gives_way)) node_.emplace(number_, direction, reach);
    if (!gives_way) return;
    hub->yield();
    if (node_) node_->check_open();
}

bool FdOperation::go() {
    const bool may_wait = deadline_ != Deadline::passed();
    if (blocked_) {
        blocked_ = false;
        if (!node_ && !may_wait) return false;
        if (!node_ && fd_->entered(true)) node_.emplace(number_, direction_, reach_);
        if (node_) node_->blocked();
    }
    // Without a node nothing is known of the descriptor, so it is worth trying.
    while (node_ && !node_->worth_trying()) {
        node_->hold();
        const bool fired = may_wait && park(*node_, deadline_);
        node_->check_open();
        // What the hub knows is as old as its last look outside: a call that must not wait is made
        // all the same.
        if (!fired && tried_) return false;
        if (!fired) break;
    }
    tried_ = true;
    return true;
}

FdReport::FdReport(Fd& fd, Direction direction) : FdNode{fd.entered_number(), direction} {}

void give_way_at_times(Deadline deadline) {
    Hub* const hub = deadline == Deadline::passed() ? nullptr : Hub::current_or_null();
    if (hub != nullptr && hub->served_enough()) hub->yield();
}

void FdOperation::drained() noexcept {
    if (node_) node_->drained();
}

}  // namespace detail
}  // namespace green
