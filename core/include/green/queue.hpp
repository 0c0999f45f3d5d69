#pragma once

#include <cstddef>
#include <deque>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>
#include <green/errors.hpp>

namespace green {

/// Items from greenlet to greenlet of one hub, first in, first out; getters and putters are each
/// served in the order in which they came.
///
///  * An item is moved out of its putter only when there is room for it: a put that returns false
///  or throws leaves it
///    with the caller.
///  * An item is moved straight into the getter that has waited longest. If that one leaves by an
///  interrupt instead,
///    the item goes back to the front: nothing is lost and nothing is overtaken.
template <class T>
class Queue {
    static_assert(std::is_nothrow_move_constructible_v<T>,
                  "an item that cannot be moved safely could be lost");

 public:
    static constexpr std::size_t unbounded = std::numeric_limits<std::size_t>::max();

    explicit Queue(std::size_t capacity = unbounded) : capacity_{capacity} {
        if (capacity == 0) throw UsageError("a Queue needs room for at least one item");
    }
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;

    /// Appends an item, waiting for room. Switches, unless there is room.
    /// Returns false once `deadline` has passed. Throws Closed. Moves from `item` only on success.
    bool put(T&& item, Deadline deadline = Deadline::never()) {
        if (try_put(std::move(item))) return true;
        Putter putter{*this};
        if (!detail::park(putter, deadline)) return false;
        if (closed_) {
            return_room();
            throw Closed("put into a closed Queue");
        }
        --promised_;
        append(std::move(item));
        return true;
    }
    bool put(const T& item, Deadline deadline = Deadline::never()) {
        return put(T(item), deadline);
    }

    /// Appends the item if there is room. Never switches; safe in hub callbacks. Throws Closed.
    bool try_put(T&& item) {
        if (closed_) throw Closed("put into a closed Queue");
        if (!has_room()) return false;
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
    /// The oldest item if one comes within `limit`. Throws Closed.
    std::optional<T> get_for(Duration limit) { return take(limit); }
    /// The oldest item if there is one. Never switches; safe in hub callbacks. Throws Closed.
    std::optional<T> try_get() {
        if (items_.empty()) {
            if (closed_) throw Closed("get from a closed Queue");
            return std::nullopt;
        }
        std::optional<T> item{std::move(items_.front())};
        items_.pop_front();
        offer_room();
        return item;
    }

    /// Refuses further puts and wakes all who wait: putters get Closed at once, getters what is
    /// left, then Closed.
    void close() noexcept {
        closed_ = true;
        // Each gives its room back when it finds the queue closed.
        while (putters_.fire_one()) ++promised_;
        getters_.fire_all();
    }

    [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }
    [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
    [[nodiscard]] bool closed() const noexcept { return closed_; }
    [[nodiscard]] std::size_t waiting_getters() const noexcept { return getters_.size(); }
    [[nodiscard]] std::size_t waiting_putters() const noexcept { return putters_.size(); }

 private:
    class Getter final : public detail::WaitNode {
     public:
        explicit Getter(Queue& queue) noexcept : WaitNode{detail::Reach::inside}, queue_{&queue} {}
        bool arm() override {
            if (!queue_->items_.empty() || queue_->closed_) return true;
            queue_->getters_.push_back(*this);
            return false;
        }
        void abandon() noexcept override {
            if (item) queue_->put_back(std::move(*item));
        }
        void describe(std::string& into) const override { into += "a queue's get"; }

        std::optional<T> item;

     private:
        Queue* queue_;
    };

    // A fired putter has been promised the room of one item.
    class Putter final : public detail::WaitNode {
     public:
        explicit Putter(Queue& queue) noexcept : WaitNode{detail::Reach::inside}, queue_{&queue} {}
        bool arm() override {
            if (queue_->closed_ || queue_->has_room()) {
                ++queue_->promised_;
                return true;
            }
            queue_->putters_.push_back(*this);
            return false;
        }
        void abandon() noexcept override { queue_->return_room(); }
        void describe(std::string& into) const override { into += "a queue's put"; }

     private:
        Queue* queue_;
    };

    [[nodiscard]] bool has_room() const noexcept { return items_.size() + promised_ < capacity_; }

    std::optional<T> take(Deadline deadline) {
        if (!items_.empty() || closed_) return try_get();
        Getter getter{*this};
        if (!detail::park(getter, deadline)) return std::nullopt;
        return getter.item ? std::move(getter.item) : try_get();
    }
    void append(T&& item) {
        Getter* getter = getters_.first_open();
        if (getter == nullptr) {
            items_.push_back(std::move(item));
            return;
        }
        getter->item.emplace(std::move(item));
        getter->fire();
        offer_room();
    }
    void put_back(T&& item) noexcept {
        Getter* getter = getters_.first_open();
        if (getter == nullptr) {
            items_.push_front(std::move(item));
            return;
        }
        getter->item.emplace(std::move(item));
        getter->fire();
    }
    void offer_room() noexcept {
        if (has_room() && putters_.fire_one()) ++promised_;
    }
    void return_room() noexcept {
        --promised_;
        offer_room();
    }

    std::size_t capacity_;
    std::size_t promised_ = 0;
    bool closed_ = false;
    std::deque<T> items_;
    detail::WaitList<Getter> getters_;
    detail::WaitList<Putter> putters_;
};

}  // namespace green
