#pragma once
// A queue that knows which of its items have been dealt with.

#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/gets.hpp>
#include <green/detail/park.hpp>
#include <green/errors.hpp>
#include <green/queue.hpp>

namespace green {

namespace detail {

/// A store that counts: each item that was put is a task until it is reported done.
template <class Store>
class Ledger : public Store {
 public:
    using typename Store::Item;

    void push(Item&& item) {
        Store::push(std::move(item));
        ++unfinished_;
    }
    /// What is dropped is done: each before its destructor runs, which may come back here.
    void clear() noexcept {
        while (!Store::empty()) {
            [[maybe_unused]] const Item dropped = Store::pop(0);
            --unfinished_;
        }
        finish(0);
    }
    void finish(std::size_t tasks) noexcept {
        unfinished_ -= tasks;
        if (unfinished_ == 0) joiners_.fire_all();
    }
    [[nodiscard]] std::size_t unfinished() const noexcept { return unfinished_; }
    bool join(Deadline deadline) {
        if (unfinished_ == 0) return true;
        ListNode node{joiners_, "a queue's tasks"};
        return park(node, deadline) || node.missed();
    }

 private:
    std::size_t unfinished_ = 0;
    WaitList<ListNode> joiners_;
};

}  // namespace detail

/// A queue of tasks. Each item counts as unfinished from its put until it is reported done: by
/// task_done() when it was got, by the end of its Job when it was taken with work(). close_now()
/// counts what it drops as done.
template <class T, class Store = Fifo<T>>
class JoinableQueue : public BasicQueue<T, detail::Ledger<Store>> {
    using Base = BasicQueue<T, detail::Ledger<Store>>;

 public:
    class Job;
    class Jobs;

    using Base::Base;

    /// Takes the next item as a job, waiting until there is one. Switches, unless there is.
    /// Throws Closed when it is closed and empty, a Timeout of its own once `deadline` has passed.
    Job work(Deadline deadline = Deadline::never()) { return Job{*this, this->get(deadline)}; }
    /// The next job; nothing once `deadline` has passed, or the queue is closed and empty.
    /// Switches, unless there is one.
    std::optional<Job> next_job(Deadline deadline = Deadline::never()) {
        std::optional<T> item = this->next(deadline);
        if (!item) return std::nullopt;
        return std::optional<Job>{Job{*this, std::move(*item)}};
    }
    /// `for (auto job : queue.jobs())`: until the queue is closed and empty. Each job is done
    /// before the next one is waited for.
    [[nodiscard]] Jobs jobs() noexcept { return Jobs{*this}; }

    /// One item that was got is done. Throws UsageError when none was that is left to be done, but
    /// by jobs.
    void task_done() {
        const std::size_t others = this->items_.size() + jobs_;
        if (this->items_.unfinished() == others) throw UsageError("task_done() called too often");
        this->items_.finish(1);
    }
    /// Waits until every item that was put is done. Switches, unless all are.
    /// Returns false once `deadline` has passed.
    bool join(Deadline deadline = Deadline::never()) { return this->items_.join(deadline); }
    /// Items that were put and are not done.
    [[nodiscard]] std::size_t unfinished_tasks() const noexcept {
        return this->items_.unfinished();
    }

 private:
    std::size_t jobs_ = 0;
};

/// An item with the duty to report it done, which its end does: also when an exception, or a kill,
/// ends the greenlet that works on it. It must not outlive the queue.
template <class T, class Store>
class JoinableQueue<T, Store>::Job {
 public:
    Job(Job&& other) noexcept
        : queue_{std::exchange(other.queue_, nullptr)}, item_{std::move(other.item_)} {}
    Job& operator=(Job&&) = delete;
    ~Job() {
        if (queue_ == nullptr) return;
        --queue_->jobs_;
        queue_->items_.finish(1);
    }

    [[nodiscard]] T& operator*() noexcept { return item_; }
    [[nodiscard]] T* operator->() noexcept { return &item_; }

 private:
    friend class JoinableQueue;
    Job(JoinableQueue& queue, T&& item) noexcept : queue_{&queue}, item_{std::move(item)} {
        ++queue_->jobs_;
    }

    JoinableQueue* queue_;
    T item_;
};

/// The jobs of a queue, one after the other.
template <class T, class Store>
class JoinableQueue<T, Store>::Jobs {
 public:
    explicit Jobs(JoinableQueue& queue) noexcept : queue_{&queue} {}

    std::optional<Job> next() { return queue_->next_job(); }
    [[nodiscard]] auto begin() { return detail::ItemIterator<Jobs, Job>{*this}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
    JoinableQueue* queue_;
};

}  // namespace green
