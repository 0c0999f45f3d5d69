#pragma once
// Items from greenlet to greenlet of one hub: in the order of their puts, the newest first, or the
// lowest first.

#include <concepts>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include <green/deadline.hpp>
#include <green/detail/gets.hpp>
#include <green/detail/park.hpp>
#include <green/detail/queue_core.hpp>
#include <green/detail/ring.hpp>
#include <green/detail/stores.hpp>
#include <green/errors.hpp>
#include <green/operation.hpp>

namespace green {

/// Items from greenlet to greenlet of one hub. `Store` says which item is the next; getters and
/// putters that wait are each served in the order in which they came.
///
///  * An item is moved out of its putter only when there is room for it: a put that returns false
///    or throws leaves it with the caller.
///  * An item is promised to the getter that has waited longest, and moved when that one runs. If
///    it leaves by an interrupt instead, the item never left the queue: nothing is lost and nothing
///    is overtaken.
///  * Who need not wait is served at once. A getter leaves to those woken before it what they were
///    promised; a put may come in before those of putters that were woken and did not run yet.
///  * Those who peek see an item before a getter that was woken with them takes it away.
template <class T, class Store>
class BasicQueue : public detail::QueueCore<Store>, public detail::Gets<BasicQueue<T, Store>, T> {
    using Core = detail::QueueCore<Store>;
    using Gets = detail::Gets<BasicQueue, T>;
    friend Gets;

 public:
    using typename Core::Getter;
    using typename Core::Putter;
    using typename Core::Ready;

    /// Throws UsageError when `capacity` is 0.
    explicit BasicQueue(std::size_t capacity = Core::unbounded) : Core{capacity} {}
    /// Begins with these items, as if they had been put. Throws UsageError when they are too many.
    BasicQueue(std::size_t capacity, std::vector<T> items) : Core{capacity} {
        for (T& item : items) {
            if (!try_put(std::move(item))) throw UsageError("more items than a queue has room for");
        }
    }

    /// Puts an item, waiting for room. Switches, unless there is room.
    /// Returns false once `deadline` has passed. Throws Closed. Moves from `item` only on success.
    bool put(T&& item, Deadline deadline = Deadline::never()) {
        return try_put(std::move(item)) || put_when_room(item, deadline);
    }
    bool put(const T& item,
             Deadline deadline = Deadline::never()) requires std::copy_constructible<T> {
        return put(T(item), deadline);
    }
    /// Puts the item if there is room. Never switches; safe in hub callbacks. Throws Closed.
    bool try_put(T&& item) {
        if (this->closed()) throw Closed("put into a closed queue");
        if (!this->has_room()) return false;
        this->add(std::move(item));
        return true;
    }

    /// Looks at the next item, waiting until there is one, and leaves it where it is. Switches,
    /// unless there is one.
    /// The item is the queue's, and may be gone when the caller has waited for anything, or has got
    /// or put an item. Throws Closed when it is closed and empty, a Timeout of its own once
    /// `deadline` has passed.
    const T& peek(Deadline deadline = Deadline::never()) {
        const T* item = look(deadline);
        if (item == nullptr) throw Timeout{0};
        return *item;
    }
    /// As peek(); nullptr when no item came before `limit` had passed.
    const T* peek_for(Deadline limit) { return look(limit); }
    /// As peek(); nullptr when there is no item. Never switches; safe in hub callbacks.
    const T* try_peek() {
        const T* item = this->next_item();
        if (item == nullptr && this->over()) throw Closed("peek into a closed queue");
        return item;
    }

 private:
    // What waits stays out of line, so that what need not wait is short.
    [[gnu::noinline]] bool put_when_room(T& item, Deadline deadline) {
        Putter putter{*this, item};
        if (!detail::park(putter, deadline)) return false;
        putter.take();
        return true;
    }
    const T* look(Deadline deadline) {
        const T* item = try_peek();
        while (item == nullptr) {
            typename Core::Peeker peeker{*this};
            if (!detail::park(peeker, deadline)) break;
            item = this->seen_item();  // gone again when somebody came who did not wait
            if (item == nullptr && this->over()) throw Closed("peek into a closed queue");
        }
        return item;
    }
};

/// First in, first out.
template <class T>
using Fifo = detail::Ring<T>;
/// Last in, first out: a getter takes the newest item there is when it runs.
template <class T>
using Lifo = detail::Pile<T>;
/// Lowest first, equal ones in the order in which they came: a getter takes the lowest item there
/// is when it runs. `Compare` must not throw.
template <class T, class Compare = std::less<T>>
using LowestFirst = detail::Heap<T, Compare>;

template <class T>
using Queue = BasicQueue<T, Fifo<T>>;
template <class T>
using LifoQueue = BasicQueue<T, Lifo<T>>;
template <class T, class Compare = std::less<T>>
using PriorityQueue = BasicQueue<T, LowestFirst<T, Compare>>;

}  // namespace green
