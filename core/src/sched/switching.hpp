#pragma once
// The way from one greenlet to the next, inline: every nanosecond here is paid on every switch.

#include <utility>

#include "sched/context.hpp"
#include "sched/hub.hpp"
#include "sched/sanitizer.hpp"

namespace green::detail {

inline void Hub::make_ready(Task& task) noexcept {
    task.state = TaskState::ready;
    ring_.push(task);
}

inline Task* Hub::next_task() noexcept {
    Task* task = ring_.pop();
    if (task != nullptr && task->done()) [[unlikely]]
        return first_alive(task);
    return task;
}

[[gnu::always_inline]] inline Task* Hub::next_with_stack() noexcept {
    Task* task = ring_.pop();
    // One that began and has ended is in no ring.
    if (task == nullptr || task->began) [[likely]]
        return task;
    return first_with_stack(task);
}

inline void Hub::became_running(Task& task) noexcept {
    running_ = &task;
    task.state = TaskState::running;
    served_ = 0;
    ++switches_;
    if (traced_) [[unlikely]]
        trace(TraceEvent::entered, task);
}

[[gnu::always_inline]] inline void Hub::switch_away() noexcept {
    Task* next = budget_left() ? next_with_stack() : nullptr;
    if (next == running_) {  // the only one that is ready yields
        next->state = TaskState::running;
        return;
    }
    suspend_for(next != nullptr ? *next : *hub_);
}

[[gnu::always_inline]] inline void Hub::suspend_for(Task& next) noexcept {
    Task& me = *running_;
    became_running(next);
    me.exceptions = std::exchange(*exceptions_, next.exceptions);
    tell_sanitizer(next, &me.fake_stack);
    if (next.began) [[likely]] {
        Switch::jump(me.context, next.context);
    } else {
        begin(me.context, next);
    }
    arrived(me.fake_stack);
}

[[gnu::always_inline]] inline void Hub::tell_sanitizer(Task& next, void** fake_stack) noexcept {
    const void* low = next.stack != nullptr ? next.stack->low : main_stack_low_;
    const std::size_t size = next.stack != nullptr ? next.stack->size() : main_stack_size_;
    sanitizer::leaving(fake_stack, low, size);
    sanitizer::switch_to(next.stack != nullptr ? next.stack->fiber.get() : main_fiber_.get());
}

inline void Hub::arrived(void* fake_stack) noexcept {
    const void* low = nullptr;
    std::size_t size = 0;
    sanitizer::arrived(fake_stack, &low, &size);
    if (GREEN_ADDRESS_SANITIZER && main_stack_size_ == 0) {
        // The first switch of all comes from the main stack.
        main_stack_low_ = low;
        main_stack_size_ = size;
    }
    if (left_ == nullptr) return;
    stacks_->give_back(*std::exchange(left_, nullptr));
    if (!without_stack_.empty()) [[unlikely]]
        end_shortage();
}

}  // namespace green::detail
