// The hub's own stack: what happens when nobody is ready, or when the ring has had its turn.
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

#include "os/signal_board.hpp"
#include "sched/switching.hpp"

namespace green::detail {

void* Hub::hub_entry() noexcept {
    Hub& hub = current();
    hub.arrived(nullptr);
    for (;;) {
        hub.fence_ = "a hub callback must not wait";
        hub.turn();
        Task* next = hub.next_with_stack();
        hub.fence_ = nullptr;
        if (next != nullptr) hub.suspend_for(*next);
    }
}

void Hub::turn() noexcept {
    TimePoint until = TimePoint::min();
    if (ring_.empty() && idle_.empty() && !has_posted_.load(std::memory_order_acquire)) {
        if (deadlocked()) {
            end_deadlock();
        } else {
            until = timers_.nearest();
        }
    }
    reactor_->wait(until);
    run_posted();
    turn_time_ = now();
    timers_.expire(turn_time_);
    if (ring_.empty() && !idle_.empty()) idle_.fire_all();
    budget_ = config_.budget_switches;
    slice_end_ = turn_time_ + config_.budget_time;
    look_in_ = 1;
}

bool Hub::deadlocked() noexcept {
    if (timers_.keeping_alive() == 0 && outside_waits_ == 0) return true;
    return timers_.size() == 0 && !reactor_->may_report();
}

void Hub::end_deadlock() noexcept {
    constexpr const char* what = "this would block for ever: nothing can wake any greenlet\n";
    try {
        std::string text = what + report_tasks();
        if (main_.shields > 0 || main_.exceptions.uncaught > 0) {
            // It waits in a destructor or under a shield, where nothing may be thrown.
            std::fprintf(stderr, "greensup: %s", text.c_str());
            std::abort();
        }
        main_.kill = std::make_exception_ptr(LoopExit(std::move(text)));
    } catch (const std::bad_alloc&) {  // then without the list
        main_.kill = std::make_exception_ptr(LoopExit(what));
    }
    interrupt(main_);
}

void Hub::post(std::function<void()> function) {
    {
        const std::lock_guard lock{posted_mutex_};
        posted_.push_back(std::move(function));
    }
    has_posted_.store(true, std::memory_order_release);
    reactor_->notify();
}

void Hub::run_posted() noexcept {
    if (!has_posted_.exchange(false, std::memory_order_acq_rel)) return;
    std::vector<std::function<void()>> batch;
    {
        const std::lock_guard lock{posted_mutex_};
        batch.swap(posted_);
    }
    for (auto& function : batch) {
        try {
            function();
        } catch (...) {
            report_error("posted function", std::current_exception());
        }
    }
}

void Hub::on_signal(int signal) noexcept { signals_->deliver(signal); }

}  // namespace green::detail
