#include <thread>
#include <utility>

#include <green/errors.hpp>
#include <green/loop_watchers.hpp>

#include "loop/watcher_board.hpp"
#include "sched/hub.hpp"

namespace green {
namespace {

TimePoint later(TimePoint from, Duration by) noexcept {
    if (by <= Duration::zero()) return from;
    return by > TimePoint::max() - from ? TimePoint::max() : from + by;
}

}  // namespace

// --- time ---

TimerWatcher::TimerWatcher(Duration after, Duration repeat)
    : WatcherOf{detail::WatcherKind::timer, true} {
    clock_.owner = this;
    clock_.keeps_alive = false;  // ref() says whether this does
    set(after, repeat);
}

void TimerWatcher::set(Duration after, Duration repeat) {
    check_inactive("set()");
    set_repeat(repeat);
    after_ = after;
}

void TimerWatcher::set_repeat(Duration repeat) {
    if (repeat < Duration::zero()) throw UsageError("a timer cannot repeat in less than no time");
    repeat_ = repeat;
}

void TimerWatcher::start_clock(TimePoint when) {
    detail::start_timer(clock_, when, &TimerWatcher::expired);
    due_ = when;
}

void TimerWatcher::arm() { start_clock(later(now(), after_)); }
void TimerWatcher::disarm() noexcept { detail::cancel_timer(clock_); }

void TimerWatcher::expired(detail::Timer& timer) noexcept {
    TimerWatcher& self = *static_cast<Clock&>(timer).owner;
    self.make_pending();
    if (self.repeat_ == Duration::zero()) {
        self.deactivate();
        return;
    }
    const auto missed = (now() - self.due_) / self.repeat_;
    try {
        self.start_clock(later(self.due_ + missed * self.repeat_, self.repeat_));
    } catch (...) {
        self.fail(std::current_exception());
    }
}

void TimerWatcher::again() {
    if (!active() && !in_own_callback()) throw UsageError("again() on an inactive timer");
    if (repeat_ == Duration::zero()) {
        stop();
        return;
    }
    if (!active()) activate();
    drop_pending();
    start_clock(later(now(), repeat_));
}

void TimerWatcher::again(std::function<void()> callback) {
    if (active()) {
        set_callback(std::move(callback));
    } else {
        start(std::move(callback));
    }
    again();
}

// --- calls from elsewhere ---

// The order of these two lines and of those in disarm(): either send() finds no listener any more,
// or disarm() finds the sender. The board is used only in between.
void AsyncWatcher::send() noexcept {
    sent_ = true;
    senders_.enter();
    if (detail::WatcherBoard* listener = listener_) listener->sent();
    senders_.leave();
}

void AsyncWatcher::arm() {
    detail::WatcherBoard& board = detail::Hub::current().watchers();
    listener_ = &board;
    if (sent_) board.sent();
}

void AsyncWatcher::disarm() noexcept {
    listener_ = nullptr;
    while (!senders_.none()) std::this_thread::yield();
}

}  // namespace green
