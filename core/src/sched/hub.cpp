#include "sched/hub.hpp"

#include <algorithm>
#include <cstdio>
#include <cxxabi.h>
#include <utility>

#include <green/detail/local.hpp>

#include "loop/ev_reactor.hpp"
#include "loop/watcher_board.hpp"
#include "os/signal_board.hpp"
#include "sched/mailbox.hpp"
#include "sched/switching.hpp"

namespace green::detail {
Hub& Hub::make_for_thread() {
    // Goes with the thread; in a forked child it stays, untouched, for ever.
    struct Keeper {
        Hub* hub = nullptr;
        ~Keeper() {
            if (hub != nullptr && !hub->is_abandoned()) delete hub;
        }
    };
    if (why_none != nullptr) throw UsageError(why_none);
    refuse_in_forked_child();
    thread_local Keeper keeper;
    keeper.hub = new Hub(make_ev_reactor(), config_for_thread);
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete): the keeper does not end here
    return *keeper.hub;
}

Hub* Hub::try_make_for_thread() noexcept {
    if (why_none != nullptr || forked_child) return nullptr;
    try {
        return &make_for_thread();
    } catch (...) {  // whoever waits here is told why, when he tries
        return nullptr;
    }
}

void Hub::configure(const HubOptions& config) {
    if (this_threads != nullptr) throw UsageError("this thread has its hub already");
    config_for_thread = config;
}

const CallableTypes Hub::PlainTask::types{&typeid(PlainTask), &typeid(void())};

Hub::PlainTask::PlainTask(const char* name) : Task{types} {
    given_name = std::make_unique<std::string>(name);
    began = true;
}

/// Whoever still has a handle finds it ended.
void Hub::PlainTask::end() noexcept {
    state = TaskState::done;
    outcome = Outcome::returned;
    stack = nullptr;
}

Hub::Hub(std::unique_ptr<Reactor> reactor, HubOptions config)
    : config_{config},
      reactor_{std::move(reactor)},
      stacks_{std::make_unique<StackPool>(sanitizer::scaled_stack(config.stack_size))},
      overflow_{std::make_unique<OverflowWatch>(*stacks_)},
      timers_{reactor_->now()},
      fds_{*reactor_},
      signals_{std::make_unique<SignalBoard>(*reactor_)},
      watchers_{std::make_unique<WatcherBoard>(*this)},
      running_{main_.get()},
      exceptions_{reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals())},
      look_in_{1},
      turn_time_{reactor_->now()},
      mailbox_{std::make_shared<Mailbox>(*reactor_)} {
    refuse_in_forked_child();
    mind_forks();
    reactor_->attach(*this);
    main_->hub = hub_->hub = probe_.hub = this;
    main_->hub_number = hub_->hub_number = number_;
    main_->state = TaskState::running;
    hub_->state = TaskState::parked;
    hub_->began = false;
    // Users' callbacks run there, and know nothing of how small greenlets are.
    hub_->stack = &stacks_->make_hubs(
        sanitizer::scaled_stack(std::max(config.stack_size, HubOptions{}.stack_size)));
    tasks_.push_back(*main_);
    outer_ = std::exchange(this_threads, this);
}

Hub::~Hub() {
    struct AtLast {
        Hub& hub;
        ~AtLast() {
            hub.main_->end();
            hub.hub_->end();
        }
    } const at_last{*this};
    if (is_abandoned()) {
        // Nothing of it may run here, and the reactor's descriptors lead to the parent's world.
        (void)watchers_.release();
        (void)reactor_.release();
        (void)stacks_.release();
        (void)overflow_.release();
        return;
    }
    keep_from_main();
    if (running_ != main_.get()) {
        // exit() was called on a greenlet's stack: we stand on memory that the pool would unmap.
        free_locals(*main_);
        free_locals(*hub_);
        drop_all();
        fds_.end();
        (void)stacks_.release();
        (void)overflow_.release();
        this_threads = outer_;
        return;
    }
    fence_ = nullptr;  // exit() may have been called behind one
    end_turn();
    const Deadline limit = last_time;
    std::size_t survivors = end_all(limit);
    // What ends, or is dropped, may ask for the end of the turn; what is done then, or dropped, may
    // start others. Those that would go on so for ever are left behind.
    std::uint64_t seen = 0;
    for (int round = 0; round < 16 && (seen != next_id_ || !turn_ends_.empty()); ++round) {
        seen = next_id_;
        end_turn();
        drop_all();
        if (seen != next_id_ || main_->locals != nullptr || hub_->locals != nullptr)
            survivors = end_all(limit);
    }
    if (survivors > 0) {
        std::fprintf(
            stderr,
            "greensup: %zu greenlets would not end with their hub; their destructors do not run\n",
            survivors);
    }
    fds_.end();
    end_shortage();
    while (next_task() != nullptr) {  // those that were killed before they ran
    }
    disown_survivors();
    this_threads = outer_;
}

/// Whoever still has a handle finds it ended.
void Hub::disown_survivors() noexcept {
    while (!tasks_.empty()) {
        Task& task = tasks_.front();
        task.unlink();
        if (&task == main_.get()) continue;
        task.state = TaskState::done;
        task.outcome = Outcome::exited;
    }
}

void Hub::drop_all() noexcept {
    (void)mailbox_->close();
    watchers_->close();
    while (!orphans_.empty()) delete &orphans_.front();
}

// --- the ring ---

void Hub::enroll(Task& task, const void* spawned_from) noexcept {
    task.hub = this;
    task.hub_number = number_;
    task.id = next_id_++;
    task.spawner = running_->id;
    task.spawned_from = spawned_from;
    task.inherited = running_->inherited;
}

void Hub::start(Task& task) noexcept {
    if (task.state != TaskState::fresh) return;
    hold(task);
    make_ready(task);
    if (traced_) [[unlikely]]
        trace(TraceEvent::started, task);
}

/// Until it is done (H4).
void Hub::hold(Task& task) noexcept {
    task.retain();
    tasks_.push_back(task);
    ++task_count_;
}
void Hub::let_go(Task& task) noexcept {
    task.unlink();
    --task_count_;
    task.release();
}

void Hub::start_later(Task& task, TimePoint when) {
    if (task.state != TaskState::fresh) return;
    /// Lives until it starts the greenlet, or until that was killed.
    struct Delay final : Timer, EndHook {
        explicit Delay(Task& its_task) noexcept : starts{&its_task} {}
        void ended(Task&) noexcept override {
            cancel_timer(*this);
            delete this;
        }
        static void fire(Timer& timer) noexcept {
            auto* self = static_cast<Delay*>(&timer);
            Task& task = *self->starts;
            delete self;  // also takes the hook out of the task
            // It was killed, and what it captured still goes.
            if (task.done()) return;
            task.state = TaskState::fresh;
            task.retain();
            task.hub->let_go(task);  // start() takes hold of it again
            task.hub->start(task);
            task.release();
        }
        Task* starts;
    };
    auto delay = std::make_unique<Delay>(task);
    timers_.start(*delay, when, &Delay::fire);
    task.end_hooks.push_back(*delay.release());
    hold(task);
    task.state = TaskState::delayed;
}

std::size_t Hub::minimal_ident(Task& task) {
    if (task.minimal_ident == Task::no_ident) {
        const auto free =
            std::find(idents_.begin(), idents_.end(), static_cast<const Task*>(nullptr));
        const auto index = free - idents_.begin();
        if (!task.done()) {  // else it only gets to know what it would have been
            if (free == idents_.end()) {
                idents_.push_back(&task);
            } else {
                *free = &task;
            }
        }
        task.minimal_ident = static_cast<std::uint32_t>(index);
    }
    return task.minimal_ident;
}

void Hub::free_ident(const Task& task) noexcept {
    const std::size_t ident = task.minimal_ident;
    if (ident < idents_.size() && idents_[ident] == &task) idents_[ident] = nullptr;
}

Task* Hub::first_alive(Task* task) noexcept {
    while (task != nullptr && task->done()) {  // killed before it ran
        if (scout_.on_the_way()) scout_.step();
        task->leave_ring();
        task = ring_.pop();
    }
    return task;
}

Task* Hub::first_with_stack(Task* task) noexcept {
    task = first_alive(task);
    while (task != nullptr && !task->began && !give_stack(*task)) task = next_task();
    return task;
}

bool Hub::give_stack(Task& task) noexcept {
    try {
        task.stack = &stacks_->take();
        return true;
    } catch (...) {
        scout_.stop();
        task.stack = stacks_->take_last();
        if (task.stack == nullptr) {  // another one is ending on it
            without_stack_.push(task);
            return false;
        }
        task.outcome = Outcome::failed;
        task.failure = std::current_exception();
        return true;
    }
}

/// A stack has come back.
void Hub::end_shortage() noexcept {
    while (Task* task = without_stack_.pop()) ring_.push(*task);
}

bool Hub::renew_budget() noexcept {
    constexpr unsigned clock_every = 32;
    if (budget_ == 0 || (budget_ % clock_every == 0 && now() >= slice_end_)) return false;
    // A scout has to come along with each switch.
    look_in_ = scout_.on_the_way() ? 1 : (budget_ - 1) % clock_every + 1;
    if (scout_.on_the_way()) scout_.step();
    budget_ -= look_in_;
    return true;
}

// --- switching ---

// Not instrumented: it begins on one stack and ends on another.
[[gnu::no_sanitize_thread]] void Hub::begin(void*& from, Task& next) noexcept {
    next.began = true;
    Stack& stack = *next.stack;
    Switch::begin(from, stack.high, stack.size(),
                  &next == hub_.get() ? &Hub::hub_entry : &Hub::greenlet_entry);
}

// --- a greenlet's life ---

// Not instrumented: what it does after it has told the sanitizer that it leaves would count as done
// on a stack that is gone.
[[gnu::no_sanitize_address, gnu::no_sanitize_thread]] void* Hub::greenlet_entry() noexcept {
    Hub& hub = current();
    hub.arrived(nullptr);
    Stack& stack = *hub.running_->stack;
    Task& next = hub.run_greenlets(stack);
    hub.left_ = &stack;
    hub.became_running(next);
    *hub.exceptions_ = next.exceptions;
    hub.tell_sanitizer(next, nullptr);
    if (!next.began) {
        // The hub, before anybody ever waited on an empty ring. It begins from here; its own stack
        // is elsewhere, and this one is given back when it is there.
        void* nowhere = nullptr;
        hub.begin(nowhere, next);
    }
    return next.context;
}

/// Runs the present one, then all that are ready and never ran, right here, on the stack of the one
/// that just ended. Gives the one to go on with.
Task& Hub::run_greenlets(Stack& stack) noexcept {
    for (;;) {
        run_one(*running_);
        Task* next = budget_left() ? next_task() : nullptr;
        if (next == nullptr) return *hub_;
        if (next->began) return *next;
        next->began = true;
        next->stack = &stack;
        became_running(*next);
    }
}

void Hub::run_one(Task& task) noexcept {
    if (task.outcome != Outcome::pending) [[unlikely]]
        return end_without_stack(task);
    Outcome outcome = Outcome::returned;
    std::exception_ptr failure;
    try {
        call_watched(task.inherited ? &run_in_context : &run_plainly, &task);
    } catch (const GreenletExit&) {
        outcome = Outcome::exited;
    } catch (...) {
        outcome = Outcome::failed;
        failure = std::current_exception();
    }
    if (outcome != Outcome::returned) {
        ++task.shields;  // as run() does
        free_locals(task);
        task.drop_callable();
    }
    finish(task, outcome, std::move(failure));
}

/// It ends on one that was kept for that: what it captured may wait when it is destroyed, and the
/// error handler may be called.
void Hub::end_without_stack(Task& task) noexcept {
    ++task.shields;
    task.drop_callable();
    finish(task, Outcome::failed, std::exchange(task.failure, nullptr));
}

void Hub::finish_unborn(Task& task, Outcome outcome, std::exception_ptr failure) noexcept {
    Burial burial{task, *running_};
    burials_.push_back(burial);
    // Out of play before the callable goes: its destructors may wait, and others run meanwhile.
    task.buried = task.state == TaskState::ready;
    task.state = TaskState::done;
    task.outcome = outcome;
    if (outcome == Outcome::failed) task.failure = failure;
    task.drop_callable();
    finish(task, outcome, std::move(failure));
}

bool Hub::ends_here(const Task& task) noexcept {
    bool here = &task == running_;
    burials_.for_each([&](const Burial& burial) {
        here = here || (burial.task == &task && burial.by == running_);
    });
    return here;
}

void Hub::finish(Task& task, Outcome outcome, std::exception_ptr failure) noexcept {
    if (task.inherited || task.locals != nullptr) [[unlikely]] {
        task.inherited = {};
        free_locals(task);  // those that were made when the callable was dropped
    }
    task.outcome = outcome;
    task.state = TaskState::done;
    if (task.kill) task.kill = nullptr;
    if (outcome == Outcome::failed) [[unlikely]] {
        task.failure = std::move(failure);
        report_failure(task);
    }
    if (traced_) [[unlikely]]
        trace(TraceEvent::ended, task);
    if (task.minimal_ident != Task::no_ident) free_ident(task);
    // A hook may unlink another one, or add one: each is taken from the front, once.
    while (!task.end_hooks.empty()) {
        EndHook& hook = task.end_hooks.front();
        hook.unlink();
        hook.ended(task);
    }
    while (!task.joiners.empty()) static_cast<WaitNode&>(task.joiners.front()).fire();
    if (!task.linked()) return;  // was never started
    if (task.references == 1) {  // the hub alone holds it: what waits in its destructors is known
        task.drop_object();
        task.state = TaskState::done;
    }
    let_go(task);
}

}  // namespace green::detail
