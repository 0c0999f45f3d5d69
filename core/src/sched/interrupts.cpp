// Kills and timeouts: how they are noted in a task, and when they appear in it.

#include <utility>

#include <green/detail/identity.hpp>
#include <green/detail/local.hpp>
#include <green/shield.hpp>
#include <green/timeout.hpp>

#include "sched/switching.hpp"

namespace green {
namespace detail {

/// The one that reads the open scopes of a task.
class Interrupts {
 public:
    /// The outermost scope whose limit has passed and whose Timeout was not thrown yet.
    static TimeoutScope* due(const Task& task) noexcept {
        TimeoutScope* found = nullptr;
        for (TimeoutScope* scope = task.timeouts; scope != nullptr; scope = scope->outer_) {
            if (scope->expired_ && !scope->delivered_) found = scope;
        }
        return found;
    }
    [[noreturn]] static void deliver(TimeoutScope& scope) {
        scope.delivered_ = true;
        scope.task_->attention = due(*scope.task_) != nullptr;
        if (scope.instead_) std::rethrow_exception(scope.instead_);
        throw Timeout{scope.identity_};
    }
};

void Hub::deliver(bool event_fired) {
    Task& me = *running_;
    if (me.shields > 0 || exceptions_->uncaught > 0) return;
    if (me.kill) {
        const std::exception_ptr reason = std::exchange(me.kill, nullptr);
        me.attention = Interrupts::due(me) != nullptr;
        std::rethrow_exception(reason);
    }
    // What woke it was there before the limit passed: it wins, and the limit is looked at again at
    // the next wait.
    if (event_fired) return;
    if (TimeoutScope* scope = Interrupts::due(me)) Interrupts::deliver(*scope);
    me.attention = false;
}

void Hub::interrupt(Task& task) noexcept {
    task.attention = true;
    if (task.state != TaskState::parked || task.shields > 0 || task.exceptions.uncaught > 0) return;
    ++task.epoch;
    make_ready(task);
}

void Hub::kill(Task& task, std::exception_ptr reason) {
    if (task.done()) return;
    const bool may_throw = task.shields == 0 && exceptions_->uncaught == 0;
    if (&task == running_ && may_throw) std::rethrow_exception(reason);
    if (task.began) {
        if (!task.kill) task.kill = std::move(reason);
        interrupt(task);
        return;
    }
    Outcome outcome = Outcome::failed;
    try {
        std::rethrow_exception(reason);
    } catch (const GreenletExit&) {
        outcome = Outcome::exited;
    } catch (...) {  // any other reason is a failure with that reason
    }
    const Shield shield;  // the destructors of what is left of it may wait
    task.retain();        // the hooks may drop the last handle
    finish_unborn(task, outcome, std::move(reason));
    task.release();
}

std::size_t Hub::kill_all(Deadline limit) noexcept {
    const std::exception_ptr exit = std::make_exception_ptr(GreenletExit{});
    const Shield shield;  // a limit of main's that passes now has nobody to tell
    try {
        // What dies may start others on its way: each round finds those that were not there before.
        std::uint64_t seen = 0;
        for (std::uint64_t last = next_id_; seen != last; last = next_id_) {
            std::vector<TaskPtr<Task>> doomed;
            tasks_.for_each([&](Task& task) {
                if (&task == main_.get() || task.id < seen) return;
                task.retain();
                doomed.emplace_back(&task);
            });
            seen = last;
            for (const auto& task : doomed) kill(*task, exit);
            // Who catches it may run on for ever; all others are done after a few rounds, or when
            // what they wait for has come, if any time passes.
            TimePoint then = now();
            for (int round = 1; task_count_ > 0; ++round) {
                if (round % last_rounds == 0) {
                    if (nothing_keeps_alive() || limit.has_passed() || now() == then) break;
                    then = now();
                }
                if (!ring_.empty()) {
                    yield();
                } else if (!wait_for_turn(limit)) {
                    break;
                }
            }
        }
    } catch (...) {
        report_error("hub teardown", std::current_exception());
    }
    return task_count_;
}

std::size_t Hub::end_all(Deadline limit) noexcept {
    for (;;) {
        const std::size_t survivors = kill_all(limit);
        if (main_->locals == nullptr && hub_->locals == nullptr) return survivors;
        free_locals(*main_);  // whose destructors may start greenlets
        free_locals(*hub_);
    }
}

}  // namespace detail

TimeoutScope::TimeoutScope(Deadline deadline, TimerOptions options)
    : identity_{detail::next_identity()}, task_{&detail::current_task()}, outer_{task_->timeouts} {
    timer_.keeps_alive = options.ref;
    start(deadline);
    task_->timeouts = this;
}

TimeoutScope::TimeoutScope(Deadline deadline, std::exception_ptr instead, TimerOptions options)
    : TimeoutScope{deadline, options} {
    instead_ = std::move(instead);
}

namespace {

/// In a forked child one of the parent's is in no timers any more.
void stop(detail::Timer& timer, const detail::Task& whose) noexcept {
    if (whose.home.is_here()) {
        detail::cancel_timer(timer);
    } else {
        timer.room = detail::Timer::Room::none;
    }
}

}  // namespace

TimeoutScope::~TimeoutScope() {
    stop(timer_, *task_);
    task_->timeouts = outer_;
}

void TimeoutScope::start(Deadline deadline) {
    if (deadline.is_never() || !task_->home.is_here()) return;
    timer_.scope = this;
    detail::start_timer(timer_, deadline.when(), &TimeoutScope::fire);
}

void TimeoutScope::restart(Deadline deadline) {
    cancel();
    start(deadline);
}

void TimeoutScope::cancel() noexcept {
    stop(timer_, *task_);
    expired_ = delivered_ = false;
}

void TimeoutScope::fire(detail::Timer& timer) noexcept {
    TimeoutScope& scope = *static_cast<ScopeTimer&>(timer).scope;
    scope.expired_ = true;
    scope.task_->hub->interrupt(*scope.task_);
}

Shield::Shield() noexcept {
    detail::Hub* hub = detail::Hub::current_if_possible();
    task_ = hub != nullptr ? &hub->running() : nullptr;
    if (task_ != nullptr) ++task_->shields;
}
Shield::~Shield() {
    if (task_ != nullptr) --task_->shields;
}

NoSwitch::NoSwitch(const char* why) noexcept : hub_{detail::Hub::current_if_possible()} {
    if (hub_ != nullptr) outer_ = hub_->set_fence(why);
}
NoSwitch::~NoSwitch() {
    if (hub_ != nullptr) (void)hub_->set_fence(outer_);
}

}  // namespace green
