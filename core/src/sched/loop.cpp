// The hub's own stack: what happens when nobody is ready, or when the ring has had its turn.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

#include "loop/watcher_board.hpp"
#include "os/signal_board.hpp"
#include "sched/mailbox.hpp"
#include "sched/switching.hpp"

namespace green::detail {

void* Hub::hub_entry() noexcept {
    Hub& hub = current();
    hub.arrived(nullptr);
    for (;;) {
        hub.fence_ = "a hub callback must not wait";
        const bool nobody = hub.ring_.empty() || hub.ring_.holds_only(hub.probe_);
        Task* const last = nobody ? nullptr : &hub.ring_.back();
        hub.turn();
        const bool crowd = hub.woke_a_crowd(last);
        if (hub.scout_.on_the_way()) hub.scout_.step();
        Task* next = hub.next_with_stack();
        if (crowd && !hub.ring_.empty()) hub.scout_.start(*hub.ring_.front(), hub.ring_.back());
        hub.fence_ = nullptr;
        if (next != nullptr) hub.suspend_for(*next);
    }
}

void Hub::turn() noexcept {
    refuse_in_forked_child();  // of a greenlet that went on there
    ++turns_;
    if (ring_.holds_only(probe_)) ring_.pop()->leave_ring();
    end_turn();
    watchers_->before_looking_outside();
    if (!polls_.empty()) polls_.look();
    TimePoint until = TimePoint::min();
    if (nobody_has_work()) {
        if (deadlocked()) {
            end_deadlock();
        } else if (!watchers_->keep_hub_hot()) {
            until = timers_.nearest();
            if (!polls_.empty() && linger(until)) until = TimePoint::min();
        }
    }
    reactor_->wait(until);
    run_posted();
    watchers_->wake_waiters();
    turn_time_ = now();
    timers_.expire(turn_time_);
    watchers_->after_looking_outside(ring_.empty());
    if (ring_.empty() && !idle_.empty()) idle_.fire_all();
    turned_.fire_all();
    send_probe();
    budget_ = config_.budget_switches;
    slice_end_ = config_.budget_time < TimePoint::max() - turn_time_
                     ? turn_time_ + config_.budget_time
                     : TimePoint::max();
    look_in_ = 1;
    refuse_in_forked_child();  // of what ran in this turn
}

bool Hub::linger(TimePoint until) noexcept { return polls_.linger(time_until(until)); }

Duration Hub::time_to_linger(Deadline deadline) noexcept {
    // What a wait would find first is left to it.
    if (fence_ != nullptr || running_->attention || deadline.when() <= turn_time_)
        return Duration::zero();
    const bool alone = nobody_has_work() && polls_.empty() && turn_ends_.empty();
    if (!alone || watchers_->keep_hub_hot()) return Duration::zero();
    const Duration longest = time_until(std::min(timers_.nearest(), deadline.when()));
    if (longest <= Duration::zero()) return Duration::zero();
    if (!budget_left()) {
        look_in_ = 1;  // the switch that comes now finds the same
        return Duration::zero();
    }
    return longest;
}

void Hub::end_turn() noexcept {
    if (turn_ends_.empty()) return;
    IntrusiveList<TurnEnd> asked;  // who asks again means the next one
    while (!turn_ends_.empty()) {
        TurnEnd& end = turn_ends_.front();
        end.unlink();
        asked.push_back(end);
    }
    while (!asked.empty()) {
        TurnEnd& end = asked.front();
        end.unlink();
        end.turn_ends();
    }
}

void TurnEnd::ask() {
    if (!linked()) Hub::current().at_turn_end(*this);
}

bool Hub::woke_a_crowd(const Task* last) const noexcept {
    constexpr int many = 64;
    const Task* woken = last != nullptr ? last->next_ready : ring_.front();
    for (int count = 0; woken != nullptr; woken = woken->next_ready) {
        if (++count == many) return true;
    }
    return false;
}

Hub::Probe::Probe() : Task{PlainTask::types} {
    state = TaskState::done;
    references = 0;
}

void Hub::send_probe() noexcept {
    if (probe_.in_ring || ring_.empty()) return;
    probe_.in_ring = true;
    probe_.since = turn_time_;
    ring_.push(probe_);
}

/// Called in place of that: its turn has come.
void Hub::Probe::destroy() noexcept {
    in_ring = false;
    hub->lag_ = hub->soon() - since;
    hub->longest_lag_ = std::max(hub->longest_lag_, hub->lag_);
}

bool Hub::nobody_has_work() const noexcept {
    return (ring_.empty() || ring_.holds_only(probe_)) && idle_.empty() && !mailbox_->waiting() &&
           watchers_->pending() == 0;
}

bool Hub::nothing_keeps_alive() const noexcept {
    return timers_.keeping_alive() == 0 && outside_waits_ == 0 && watchers_->keeping_alive() == 0;
}

bool Hub::deadlocked() noexcept {
    if (nothing_keeps_alive()) return true;
    return timers_.size() == 0 && !watchers_->keep_hub_hot() && !reactor_->may_report();
}

void Hub::end_deadlock() noexcept {
    if (WaitNode* joiner = std::exchange(joiner_, nullptr)) {
        joiner->fire();
        return;
    }
    constexpr const char* what = "this would block for ever: nothing can wake any greenlet\n";
    try {
        const std::string text = what + report_tasks();
        if (main_->shields > 0 || main_->exceptions.uncaught > 0) {
            // It waits in a destructor or under a shield, where nothing may be thrown.
            std::fprintf(stderr, "greensup: %s", text.c_str());
            std::abort();
        }
        main_->kill = std::make_exception_ptr(LoopExit(text));
    } catch (const std::bad_alloc&) {  // then without the list
        main_->kill = std::make_exception_ptr(LoopExit(what));
    }
    interrupt(*main_);
}

void Hub::run_posted() noexcept {
    if (!mailbox_->waiting()) return;
    Letters letters = mailbox_->take();
    while (Letter* letter = letters.pop()) {
        try {
            letter->arrive();
        } catch (...) {
            report_error("posted function", std::current_exception());
        }
        refuse_in_forked_child();
        letter->let_go();
    }
}

void Hub::on_signal(int signal) noexcept { signals_->deliver(signal); }

}  // namespace green::detail
