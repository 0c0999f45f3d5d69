#include "loop/watcher_board.hpp"

#include <utility>

#include <green/errors.hpp>
#include <green/world_watchers.hpp>

#include "sched/hub.hpp"

namespace green::detail {

void WatcherBoard::check_open() const {
    if (closed_) throw UsageError("a watcher cannot be started any more: its hub is going");
}

void WatcherBoard::enter(Watcher& watcher) noexcept {
    watcher.seat_.unlink();  // one that the hub owns, restarted just after its end
    of(watcher.kind_).push_back(watcher.seat_);
    ++active_count_;
    if (watcher.ref_) ++keeping_alive_;
}

void WatcherBoard::leave(Watcher& watcher) noexcept {
    watcher.seat_.unlink();
    --active_count_;
    if (watcher.ref_) --keeping_alive_;
    if (watcher.owned_by_hub_) ended_.push_back(watcher.seat_);
}

void WatcherBoard::set_ref(Watcher& watcher, bool ref) noexcept {
    if (watcher.ref_) --keeping_alive_;
    if (ref) ++keeping_alive_;
}

void WatcherBoard::make_pending(Watcher& watcher) noexcept {
    if (watcher.pending_.linked()) return;
    watcher.pending_since_ = next_pending_++;
    pending_at(watcher.priority_).push_back(watcher.pending_);
    ++pending_count_;
}

void WatcherBoard::drop_pending(Watcher& watcher) noexcept {
    watcher.pending_.unlink();
    --pending_count_;
}

void WatcherBoard::adopt(std::unique_ptr<Watcher> watcher) noexcept {
    watcher.release()->owned_by_hub_ = true;
}

void WatcherBoard::sent() noexcept {
    any_sent_ = true;
    hub_->reactor().notify();
}

// --- a turn of the hub ---

void WatcherBoard::before_looking_outside() noexcept {
    if (of(WatcherKind::prepare).empty()) return;
    make_all_pending(WatcherKind::prepare);
    run_pending();
}

void WatcherBoard::wake_waiters() noexcept {
    if (any_sent_.load(std::memory_order_relaxed) && any_sent_.exchange(false)) {
        of(WatcherKind::async).for_each([this](WatcherSeat& seat) {
            if (seat.watcher->pending()) make_pending(*seat.watcher);
        });
    }
    if (pending_count_ == 0) return;
    for (List& list : pending_) {
        // One at a time: an error handler may destroy any of them.
        List settled;
        while (!list.empty()) {
            WatcherSeat& seat = list.front();
            seat.unlink();
            settled.push_back(seat);
            seat.watcher->settle();
        }
        while (!settled.empty()) {
            WatcherSeat& seat = settled.front();
            seat.unlink();
            list.push_back(seat);
        }
    }
}

void WatcherBoard::after_looking_outside(bool nobody_is_ready) noexcept {
    make_all_pending(WatcherKind::check);
    if (nobody_is_ready) make_idle_pending();
    run_pending();
}

void WatcherBoard::make_all_pending(WatcherKind kind) noexcept {
    of(kind).for_each([this](WatcherSeat& seat) { make_pending(*seat.watcher); });
}

void WatcherBoard::make_idle_pending() noexcept {
    List& idle = of(WatcherKind::idle);
    if (idle.empty()) return;
    for (int priority = Watcher::highest_priority; pending_at(priority).empty(); --priority) {
        idle.for_each([&](WatcherSeat& seat) {
            if (seat.watcher->priority_ == priority) make_pending(*seat.watcher);
        });
        if (!pending_at(priority).empty() || priority == Watcher::lowest_priority) return;
    }
}

void WatcherBoard::run_pending() noexcept {
    if (pending_count_ > 0) {
        const std::uint64_t limit = next_pending_;
        for (int priority = Watcher::highest_priority; priority >= Watcher::lowest_priority;
             --priority) {
            List& list = pending_at(priority);
            while (!list.empty() && list.front().watcher->pending_since_ < limit) {
                Watcher& watcher = *list.front().watcher;
                drop_pending(watcher);
                watcher.run();
            }
        }
    }
    if (!ended_.empty()) destroy_ended();
}

void WatcherBoard::destroy_ended() noexcept {
    List ended;  // what ends while they are destroyed waits for the next time
    while (!ended_.empty()) {
        WatcherSeat& seat = ended_.front();
        seat.unlink();
        ended.push_back(seat);
    }
    while (!ended.empty()) {
        WatcherSeat& seat = ended.front();
        seat.unlink();
        if (seat.watcher->pending_.linked()) {  // it ended, but its last callback is still to run
            ended_.push_back(seat);
        } else {
            const std::unique_ptr<Watcher> last{seat.watcher};
        }
    }
}

// --- ends ---

void WatcherBoard::closing(int fd) noexcept {
    of(WatcherKind::io).for_each([fd](WatcherSeat& seat) {
        auto& watcher = static_cast<IoWatcher&>(*seat.watcher);
        if (watcher.fd() == fd) watcher.closing();
    });
}

void WatcherBoard::report(std::string& into) {
    for (List& list : active_) {
        list.for_each([&into](WatcherSeat& seat) {
            const Watcher& watcher = *seat.watcher;
            into += "  a watcher of " + watcher.describe();
            into += watcher.pending() ? ": pending" : ": active";
            into += watcher.ref() ? "\n" : ", does not keep the hub alive\n";
        });
    }
}

void WatcherBoard::close() noexcept {
    closed_ = true;
    for (List& list : active_) {
        while (!list.empty()) list.front().watcher->stop();
    }
    // An expired timer may be pending still, and belong to nobody's list but this.
    for (List& list : pending_) {
        while (!list.empty()) list.front().watcher->stop();
    }
    while (!ended_.empty()) destroy_ended();
}

void WatcherBoard::forked() noexcept {
    // The others find out by themselves that they are elsewhere, as those of other hubs have to.
    // What the hub owns stays as it is: its destructors belong to the parent.
    for (List& list : pending_) {
        while (!list.empty()) drop_pending(*list.front().watcher);
    }
    while (!ended_.empty()) ended_.front().unlink();
    List& forks = of(WatcherKind::fork);
    forks.for_each([](WatcherSeat& seat) { seat.watcher->home_ = {}; });
    make_all_pending(WatcherKind::fork);
    run_pending();
    while (!forks.empty()) forks.front().watcher->stop();
}

}  // namespace green::detail
