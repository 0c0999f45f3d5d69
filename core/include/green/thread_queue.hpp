#pragma once

#include <concepts>
#include <cstddef>
#include <deque>
#include <iterator>
#include <limits>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/gets.hpp>
#include <green/detail/thread_gate.hpp>
#include <green/errors.hpp>
#include <green/operation.hpp>

namespace green {

/// Items from any thread to any thread, first in, first out, bounded. A greenlet waits in its hub,
/// a thread without a hub blocks; getters and putters are each served in the order in which they
/// came, of whatever thread they are. Costs a lock for each item, and a wake-up of the other hub
/// where somebody waits; within one hub a Queue costs next to nothing.
///
///  * An item is moved out of its putter only when there is room for it: a put that returns false
///    or throws leaves it with the caller.
///  * An item stays here until its getter takes it. Of a getter that was woken and leaves by an
///    interrupt instead, the next one is told: nothing is lost and nothing is overtaken.
///  * Greenlets that wait in it when it is destroyed get Closed; a thread without a hub must not
///    wait in it then.
template <class T>
class ThreadQueue {
    static_assert(std::is_nothrow_move_constructible_v<T>,
                  "an item that cannot be moved safely could be lost");

 public:
    using Item = T;
    class Getter;
    class Putter;
    class Ready;

    /// Throws UsageError when `capacity` is 0.
    explicit ThreadQueue(std::size_t capacity)
        : capacity_{capacity}, room_{mutex_, permits(capacity), "a queue's put"} {}
    ThreadQueue(const ThreadQueue&) = delete;
    ThreadQueue& operator=(const ThreadQueue&) = delete;
    ~ThreadQueue() {
        // Those who come through one gate admit others by the other one.
        room_.lose_waiters();
        filled_.lose_waiters();
    }

    /// Appends an item, waiting for room. Switches, unless there is room.
    /// Returns false once `deadline` has passed. Throws Closed. Moves from `item` only on success.
    bool put(T&& item, Deadline deadline = Deadline::never()) {
        std::unique_lock lock{mutex_};
        if (!room_.pass(lock, deadline)) return false;
        append(std::move(item));
        return true;
    }
    bool put(const T& item,
             Deadline deadline = Deadline::never()) requires std::copy_constructible<T> {
        return put(T(item), deadline);
    }
    /// Appends the item if there is room. Never switches; safe in hub callbacks. Throws Closed.
    bool try_put(T&& item) {
        const std::lock_guard lock{mutex_};
        if (!room_.try_pass()) return false;
        append(std::move(item));
        return true;
    }

    /// Takes the oldest item, waiting until there is one. Switches, unless there is.
    /// Throws Closed when the queue is closed and empty.
    T get() { return std::move(*take(Deadline::never())); }
    /// As get(); throws a Timeout of its own once `deadline` has passed.
    T get(Deadline deadline) {
        std::optional<T> item = take(deadline);
        if (!item) throw Timeout{0};
        return std::move(*item);
    }
    /// The oldest item if one comes before `limit` has passed. Throws Closed.
    std::optional<T> get_for(Deadline limit) { return take(limit); }
    /// The oldest item if there is one. Never switches; safe in hub callbacks. Throws Closed.
    std::optional<T> try_get() {
        const std::lock_guard lock{mutex_};
        if (!filled_.try_pass()) return std::nullopt;
        return pop();
    }

    /// The oldest item; nothing once `deadline` has passed, or it is closed and empty. Switches,
    /// unless there is one.
    std::optional<T> next(Deadline deadline = Deadline::never()) {
        std::unique_lock lock{mutex_};
        if (!filled_.pass(lock, deadline) || items_.empty()) return std::nullopt;
        return pop();
    }
    /// `for (auto item : queue)`: until it is closed and empty. Switches at each step, unless there
    /// is an item.
    [[nodiscard]] auto begin() { return detail::ItemIterator<ThreadQueue, T>{*this}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// Refuses further puts and wakes all who wait: putters get Closed at once, getters what is
    /// left, then Closed.
    void close() noexcept {
        const std::lock_guard lock{mutex_};
        room_.open();
        filled_.open();
    }

    [[nodiscard]] std::size_t size() const noexcept {
        const std::lock_guard lock{mutex_};
        return items_.size();
    }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] bool full() const noexcept { return size() >= capacity_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] bool closed() const noexcept {
        const std::lock_guard lock{mutex_};
        return filled_.is_open();
    }
    [[nodiscard]] std::size_t waiting_getters() const noexcept {
        const std::lock_guard lock{mutex_};
        return filled_.waiting();
    }
    [[nodiscard]] std::size_t waiting_putters() const noexcept {
        const std::lock_guard lock{mutex_};
        return room_.waiting();
    }

 private:
    static std::ptrdiff_t permits(std::size_t capacity) {
        if (capacity == 0) throw UsageError("a ThreadQueue needs room for at least one item");
        constexpr auto most = std::numeric_limits<std::ptrdiff_t>::max() / 2;
        return capacity < static_cast<std::size_t>(most) ? static_cast<std::ptrdiff_t>(capacity)
                                                         : most;
    }

    // With the mutex held, by one who has passed; all pass when the queue is closed.

    void append(T&& item) {
        if (room_.is_open()) throw Closed("put into a closed ThreadQueue");
        try {
            items_.push_back(std::move(item));
        } catch (...) {
            room_.admit();
            throw;
        }
        filled_.admit();
    }
    std::optional<T> pop() {
        if (items_.empty()) throw Closed("get from a closed ThreadQueue");
        std::optional<T> item{std::move(items_.front())};
        items_.pop_front();
        room_.admit();
        return item;
    }
    std::optional<T> take(Deadline deadline) {
        std::unique_lock lock{mutex_};
        if (!filled_.pass(lock, deadline)) return std::nullopt;
        return pop();
    }

    mutable std::mutex mutex_;
    std::size_t capacity_;
    detail::ThreadGate room_;
    detail::ThreadGate filled_{mutex_, 0, "a queue's get"};
    std::deque<T> items_;
};

/// Waits for an item of its own: what select() waits by.
template <class T>
class ThreadQueue<T>::Getter final : public detail::ThreadGate::Node {
 public:
    explicit Getter(ThreadQueue& queue) noexcept : Node{queue.filled_}, queue_{&queue} {}
    [[nodiscard]] detail::WaitNode& node() noexcept { return *this; }
    /// The item. Once, when it has fired, before anything else waits. Throws Closed when it fired
    /// because the queue has ended.
    [[nodiscard]] T take() {
        const auto lock = enter();
        return std::move(*queue_->pop());
    }

 private:
    ThreadQueue* queue_;
};

/// Waits for room for an item, which stays with the caller until take(): what select() waits by.
template <class T>
class ThreadQueue<T>::Putter final : public detail::ThreadGate::Node {
 public:
    Putter(ThreadQueue& queue, T& item) noexcept
        : Node{queue.room_}, queue_{&queue}, item_{&item} {}
    [[nodiscard]] detail::WaitNode& node() noexcept { return *this; }
    /// Moves the item into the queue. Once, when it has fired, before anything else waits. Throws
    /// Closed when the queue was closed, and std::bad_alloc; the item was not moved then.
    void take() {
        const auto lock = enter();
        queue_->append(std::move(*item_));
    }

 private:
    ThreadQueue* queue_;
    T* item_;
};

/// Waits until there is an item, or the queue has ended, and takes nothing: somebody else may be
/// quicker.
template <class T>
class ThreadQueue<T>::Ready final : public detail::ThreadGate::Node {
 public:
    explicit Ready(ThreadQueue& queue) noexcept : Node{queue.filled_, Wants::look} {}
};

}  // namespace green
