#pragma once

#include <green/detail/task.hpp>

namespace green::detail {

/// The tasks that are ready, first in, first out. Linked through the tasks themselves.
class ReadyRing {
 public:
    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
    void push(Task& task) noexcept {
        task.next_ready = nullptr;
        (head_ == nullptr ? head_ : tail_->next_ready) = &task;
        tail_ = &task;
    }
    /// It stands there, and nobody else.
    [[nodiscard]] bool holds_only(const Task& task) const noexcept {
        return head_ == &task && task.next_ready == nullptr;
    }
    [[nodiscard]] Task* pop() noexcept {
        Task* task = head_;
        if (task != nullptr) head_ = task->next_ready;
        return task;
    }
    [[nodiscard]] Task* front() const noexcept { return head_; }
    /// The ring must not be empty.
    [[nodiscard]] Task& back() const noexcept { return *tail_; }

 private:
    Task* head_ = nullptr;
    Task* tail_ = nullptr;
};

}  // namespace green::detail
