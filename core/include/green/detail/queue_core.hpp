#pragma once
// What all queues have in common: who is given an item, who is given room, and when.
//
//  K1  An item is with its putter, in the store or with its getter, never in between: it is moved
//      in when its putter runs and has room, and out when its getter runs.
//  K2  A getter that is woken has been promised an item, a putter that is woken has been promised
//      room. A promise that is not taken, because its holder left by an interrupt, goes to the
//      next one who waits.
//  K3  What is promised is not there for anybody else. A promised item takes up no room.
//  K4  Who could be served does not wait. One that comes when there is something takes it at once;
//      only those who waited hold promises.
//  K5  Those who peek are woken before those who take: what they were woken for is still there when
//      they run. Those who wait for Ready are woken by what nobody takes.
//  K6  After close() getters wait on while items are promised to others, for those may come back.
//
// Longer than most headers: the lists and the nodes that stand in them are one protocol.

#include <cstddef>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include <green/detail/park.hpp>
#include <green/detail/promise.hpp>
#include <green/errors.hpp>

namespace green::detail {

/// The part of a queue that never switches. Everything in it is safe in hub callbacks.
template <class Store>
class QueueCore {
 public:
    using Item = typename Store::Item;
    static_assert(std::is_nothrow_move_constructible_v<Item>,
                  "an item that cannot be moved safely could be lost");

    class Getter;
    class Putter;
    class Looker;
    class Peeker;
    class Ready;

    static constexpr std::size_t unbounded = std::numeric_limits<std::size_t>::max();

    QueueCore(const QueueCore&) = delete;
    QueueCore& operator=(const QueueCore&) = delete;

    /// Refuses further puts and wakes all who wait: putters get Closed at once, getters what is
    /// left, then Closed.
    void close() noexcept {
        closed_ = true;
        promised_room_ = 0;
        while (Putter* putter = putters_.first_open()) putter->end();
        end_waits_when_over();
    }
    /// As close(), and drops what is left, also what a woken getter was about to take.
    void close_now() noexcept {
        closed_ = true;
        promised_items_ = 0;
        items_.clear();
        close();
    }

    /// Items that can be had now.
    [[nodiscard]] std::size_t size() const noexcept { return items_.size() - promised_items_; }
    [[nodiscard]] bool empty() const noexcept { return !has_item(); }
    /// A put would wait. Room that a woken putter was promised is taken.
    [[nodiscard]] bool full() const noexcept { return !has_room(); }
    [[nodiscard]] bool closed() const noexcept { return closed_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    /// Growing wakes putters; what is too many after shrinking stays until it is got. Throws
    /// UsageError when `capacity` is 0.
    void set_capacity(std::size_t capacity) {
        capacity_ = checked(capacity);
        offer_room();
    }
    [[nodiscard]] std::size_t waiting_getters() const noexcept { return getters_.size(); }
    [[nodiscard]] std::size_t waiting_putters() const noexcept { return putters_.size(); }
    /// Those who wait for an item that they do not take: by peek() or Ready.
    [[nodiscard]] std::size_t waiting_lookers() const noexcept {
        return peekers_.size() + watchers_.size();
    }

 protected:
    explicit QueueCore(std::size_t capacity) : capacity_{checked(capacity)} {}
    ~QueueCore() = default;

    [[nodiscard]] bool has_item() const noexcept { return items_.size() > promised_items_; }
    [[nodiscard]] bool has_room() const noexcept {
        return items_.size() - promised_items_ + promised_room_ < capacity_;
    }
    /// Nothing will ever come out again.
    [[nodiscard]] bool over() const noexcept { return closed_ && items_.empty(); }

    /// There must be room. Throws std::bad_alloc; the item was not moved then.
    void add(Item&& item) {
        items_.push(std::move(item));
        if (!getters_.empty() || !peekers_.empty() || !watchers_.empty()) offer_items();
    }
    /// The next item that is promised to nobody; there must be one.
    [[nodiscard]] Item take_item() noexcept { return remove(promised_items_); }
    [[nodiscard]] const Item* next_item() const noexcept {
        return has_item() ? &items_.front(promised_items_) : nullptr;
    }
    /// For a woken peeker: the next item even when it is promised.
    [[nodiscard]] const Item* seen_item() const noexcept {
        return items_.empty() ? nullptr : &items_.front(0);
    }

    Store items_;

 private:
    [[nodiscard]] static std::size_t checked(std::size_t capacity) {
        if (capacity == 0) throw UsageError("a queue needs room for at least one item");
        return capacity;
    }
    [[nodiscard]] Item remove(std::size_t promised) noexcept {
        Item item = items_.pop(promised);
        if (!putters_.empty()) [[unlikely]]
            offer_room();
        if (closed_) [[unlikely]]
            end_waits_when_over();
        return item;
    }
    // What is done for those who wait stays out of line: the way of an item that nobody waits for
    // is short enough to be inlined.
    [[gnu::noinline]] void offer_items() noexcept {
        if (has_item()) wake_peekers();
        while (has_item()) {
            Getter* getter = getters_.first_open();
            if (getter == nullptr) {
                while (watchers_.fire_one()) {
                }
                break;
            }
            ++promised_items_;
            getter->promise(woken_);
        }
        if (!putters_.empty()) offer_room();
    }
    [[gnu::noinline]] void offer_room() noexcept {
        while (has_room()) {
            Putter* putter = putters_.first_open();
            if (putter == nullptr) break;
            ++promised_room_;
            putter->promise(woken_);
        }
    }
    [[gnu::noinline]] void end_waits_when_over() noexcept {
        if (!over()) return;
        while (Getter* getter = getters_.first_open()) getter->end();
        wake_peekers();
        while (watchers_.fire_one()) {
        }
    }
    void wake_peekers() noexcept {
        while (Looker* peeker = peekers_.first_open()) {
            peeker->fire();
            woken_.push_back(*peeker);
        }
    }

    std::size_t capacity_;
    std::size_t promised_items_ = 0;
    std::size_t promised_room_ = 0;
    bool closed_ = false;
    WaitList<Getter> getters_;
    WaitList<Putter> putters_;
    WaitList<Looker> peekers_;
    WaitList<Looker> watchers_;
    WaitList<WaitNode> woken_;  // those that come back here when they run
};

/// Waits for an item of its own: what get() and select() wait by.
template <class Store>
class QueueCore<Store>::Getter final : public PromiseNode {
 public:
    explicit Getter(QueueCore& queue) noexcept : PromiseNode{Reach::inside}, queue_{&queue} {}

    [[nodiscard]] WaitNode& node() noexcept { return *this; }
    /// The queue has ended: take() would throw.
    [[nodiscard]] bool over() const noexcept { return ended() || queue_->over(); }
    /// The item. Once, when it has fired, before anything else waits. Throws Closed when it fired
    /// because the queue has ended.
    [[nodiscard]] Item take() {
        if (over()) throw Closed("get from a closed queue");
        if (!redeem()) return queue_->take_item();
        --queue_->promised_items_;
        return queue_->remove(0);
    }

    bool arm() override {
        arm_anew();
        if (queue_->has_item() || queue_->over()) return true;
        queue_->getters_.push_back(*this);
        return false;
    }
    void abandon() noexcept override {
        if (!redeem() || queue_->over()) return;
        --queue_->promised_items_;
        queue_->offer_items();
    }
    void describe(std::string& into) const override { into += "a queue's get"; }

 private:
    friend class QueueCore;
    QueueCore* queue_;
};

/// Waits for room for an item, which stays with the caller until take(): what put() and select()
/// wait by.
template <class Store>
class QueueCore<Store>::Putter final : public PromiseNode {
 public:
    Putter(QueueCore& queue, Item& item) noexcept
        : PromiseNode{Reach::inside}, queue_{&queue}, item_{&item} {}

    [[nodiscard]] WaitNode& node() noexcept { return *this; }
    /// Moves the item into the queue. Once, when it has fired, before anything else waits. Throws
    /// Closed when the queue was closed, and std::bad_alloc; the item was not moved then.
    void take() {
        if (ended() || queue_->closed_) throw Closed("put into a closed queue");
        if (redeem()) --queue_->promised_room_;
        try {
            queue_->add(std::move(*item_));
        } catch (...) {
            queue_->offer_room();
            throw;
        }
    }

    bool arm() override {
        arm_anew();
        if (queue_->closed_ || queue_->has_room()) return true;
        queue_->putters_.push_back(*this);
        return false;
    }
    void abandon() noexcept override {
        if (!redeem() || queue_->closed_) return;
        --queue_->promised_room_;
        queue_->offer_room();
    }
    void describe(std::string& into) const override { into += "a queue's put"; }

 private:
    friend class QueueCore;
    QueueCore* queue_;
    Item* item_;
};

/// Waits until there is an item, or the queue has ended, and takes nothing.
template <class Store>
class QueueCore<Store>::Looker : public WaitNode {
 public:
    bool arm() override {
        if (queue_->has_item() || queue_->over()) return true;
        list_->push_back(*this);
        return false;
    }
    void describe(std::string& into) const override { into += "a queue's item"; }

 protected:
    Looker(QueueCore& queue, WaitList<Looker>& list) noexcept
        : WaitNode{Reach::inside}, queue_{&queue}, list_{&list} {}

 private:
    QueueCore* queue_;
    WaitList<Looker>* list_;
};

/// For those who peek: what woke it is still there when it runs, unless somebody came who did not
/// wait.
template <class Store>
class QueueCore<Store>::Peeker final : public Looker {
 public:
    explicit Peeker(QueueCore& queue) noexcept : Looker{queue, queue.peekers_} {}
};

/// For those who want to know when a get could succeed: somebody else may be quicker.
template <class Store>
class QueueCore<Store>::Ready : public Looker {
 public:
    explicit Ready(QueueCore& queue) noexcept : Looker{queue, queue.watchers_} {}
};

}  // namespace green::detail
