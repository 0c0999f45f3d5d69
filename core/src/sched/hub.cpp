#include "sched/hub.hpp"

#include <cstdio>
#include <cxxabi.h>
#include <utility>

#include "loop/ev_reactor.hpp"
#include "os/signal_board.hpp"
#include "sched/context.hpp"
#include "sched/sanitizer.hpp"

namespace green::detail {
Hub& Hub::make_for_thread() {
    thread_local std::unique_ptr<Hub> hub;  // goes with the thread
    hub = std::make_unique<Hub>(make_ev_reactor());
    return *hub;
}

Hub::PlainTask::PlainTask(const char* name) : Task{typeid(PlainTask)} {
    given_name = std::make_unique<std::string>(name);
    began = true;
}

Hub::Hub(std::unique_ptr<Reactor> reactor, HubConfig config)
    : config_{config},
      reactor_{std::move(reactor)},
      stacks_{std::make_unique<StackPool>(sanitizer::scaled_stack(config.stack_size))},
      overflow_{std::make_unique<OverflowWatch>(*stacks_)},
      fds_{*reactor_},
      signals_{std::make_unique<SignalBoard>(*reactor_)},
      running_{&main_},
      exceptions_{reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals())},
      switches_left_{config.budget_switches},
      turn_time_{reactor_->now()} {
    reactor_->attach(*this);
    main_.hub = hub_.hub = this;
    main_.state = TaskState::running;
    hub_.state = TaskState::parked;
    hub_.stack = &stacks_->take();
    sanitizer::fresh_stack(hub_.stack->low, hub_.stack->size());
    hub_.context = Switch::prepare<&Hub::hub_entry>(hub_.stack->high, hub_.stack->size());
    tasks_.push_back(main_);
    outer_ = std::exchange(this_threads, this);
}

Hub::~Hub() {
    if (running_ != &main_) {
        // exit() was called on a greenlet's stack: we stand on memory that the pool would unmap.
        (void)stacks_.release();
        (void)overflow_.release();
        this_threads = outer_;
        return;
    }
    if (const std::size_t survivors = kill_all()) {
        std::fprintf(
            stderr,
            "greensup: %zu greenlets would not end with their hub; their destructors do not run\n",
            survivors);
    }
    while (next_task() !=
           nullptr) {  // those that were killed before they ran still stand in the ring
    }
    this_threads = outer_;
}

// --- the ring ---

void Hub::enroll(Task& task, const void* spawned_from) noexcept {
    task.hub = this;
    task.id = next_id_++;
    task.spawned_from = spawned_from;
}

void Hub::start(Task& task) noexcept {
    if (task.state != TaskState::fresh) return;
    task.retain();  // until it is done (H4)
    tasks_.push_back(task);
    make_ready(task);
}

void Hub::make_ready(Task& task) noexcept {
    task.state = TaskState::ready;
    task.retain();
    ring_.push(task);
}

Task* Hub::next_task() noexcept {
    while (Task* task = ring_.pop()) {
        const bool killed_before_it_ran = task->done();
        task->release();  // the ring's reference; the one of H4 keeps a living task
        if (!killed_before_it_ran) return task;
    }
    return nullptr;
}

// --- switching ---

void Hub::became_running(Task& task) noexcept {
    running_ = &task;
    task.state = TaskState::running;
    served_ = 0;
    ++switches_;
}

void Hub::switch_away() noexcept {
    Task* next = nullptr;
    if (switches_left_ > 0) {
        --switches_left_;
        // The clock costs several switches, so it is asked on every sixteenth only.
        if (switches_left_ % 16 != 0 || now() < slice_end_) next = next_task();
    }
    if (next == running_) {  // the only one that is ready yields
        next->state = TaskState::running;
        return;
    }
    suspend_for(next != nullptr ? *next : hub_);
}

void Hub::suspend_for(Task& next) noexcept {
    Task& me = *running_;
    if (!next.began) {
        next.began = true;
        next.stack = &stacks_->take();
        sanitizer::fresh_stack(next.stack->low, next.stack->size());
        next.context = Switch::prepare<&Hub::greenlet_entry>(next.stack->high, next.stack->size());
    }
    became_running(next);
    me.exceptions = std::exchange(*exceptions_, next.exceptions);
    jump(me.context, &me.fake_stack, next);
    arrived(me.fake_stack);
}

void Hub::leave_for(Task& next, Stack& stack) noexcept {
    left_ = &stack;
    became_running(next);
    *exceptions_ = next.exceptions;
    jump(nowhere_, nullptr, next);
    __builtin_unreachable();
}

void Hub::jump(void*& from, void** fake_stack, Task& next) noexcept {
    const void* low = next.stack != nullptr ? next.stack->low : main_stack_low_;
    const std::size_t size = next.stack != nullptr ? next.stack->size() : main_stack_size_;
    sanitizer::leaving(fake_stack, low, size);
    Switch::jump(from, next.context);
}

void Hub::arrived(void* fake_stack) noexcept {
    const void* low = nullptr;
    std::size_t size = 0;
    sanitizer::arrived(fake_stack, &low, &size);
    if (main_stack_size_ == 0) {  // the first switch of all comes from the main stack
        main_stack_low_ = low;
        main_stack_size_ = size;
    }
    if (left_ != nullptr) stacks_->give_back(*std::exchange(left_, nullptr));
}

// --- a greenlet's life ---

void Hub::greenlet_entry() noexcept {
    Hub& hub = current();
    hub.arrived(nullptr);
    hub.run_greenlets();
}

void Hub::run_greenlets() noexcept {
    Stack& stack = *running_->stack;
    for (;;) {
        run_one(*running_);
        Task* next = nullptr;
        if (switches_left_ > 0) {
            --switches_left_;
            next = next_task();
        }
        if (next == nullptr) leave_for(hub_, stack);
        if (next->began) leave_for(*next, stack);
        // One that never ran can begin right here, on the stack of the one that just ended.
        next->began = true;
        next->stack = &stack;
        became_running(*next);
    }
}

void Hub::run_one(Task& task) noexcept {
    Ending ending;
    try {
        task.run();
        ending = Returned{};
    } catch (const GreenletExit& exit) {
        ending = exit;
    } catch (...) {
        ending = std::current_exception();
    }
    ++task.shields;  // destructors of what the callable captured must not be interrupted
    finish(task, std::move(ending));
}

void Hub::finish(Task& task, Ending ending) noexcept {
    task.drop_callable();
    task.ending = std::move(ending);
    task.state = TaskState::done;
    task.stack = nullptr;
    task.kill = nullptr;
    if (const auto* error = std::get_if<std::exception_ptr>(&task.ending))
        report_error(task.name(), *error);
    // A hook may unlink another one, or add one: each is taken from the front, once.
    while (!task.end_hooks.empty()) {
        EndHook& hook = task.end_hooks.front();
        hook.unlink();
        hook.ended(task);
    }
    if (task.linked()) {  // was started
        task.unlink();
        task.release();
    }
}

}  // namespace green::detail
