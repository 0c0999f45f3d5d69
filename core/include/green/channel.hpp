#pragma once
// Rendezvous: an item goes from the one who puts it to the one who gets it, and is never kept in
// between. Longer than most headers: the lists and the nodes that stand in them are one protocol.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/gets.hpp>
#include <green/detail/park.hpp>
#include <green/detail/promise.hpp>
#include <green/detail/ring.hpp>
#include <green/detail/task.hpp>
#include <green/errors.hpp>
#include <green/greenlet.hpp>
#include <green/operation.hpp>
#include <green/shield.hpp>

namespace green {

/// Items from greenlet to greenlet of one hub, without a store: put() returns when a getter has
/// taken the item. Getters and putters are each served in the order in which they came.
///
///  * A getter that finds a waiting putter takes its item at once and goes on; the putter is made
///    ready.
///  * A putter that finds a waiting getter is paired with it, makes it ready and lets it run first.
///    Until that one has run, no kill and no limit reaches the putter.
///  * The item stays with its putter until its getter runs. If that one is killed instead, the next
///    getter is paired with the putter, or the putter waits again, before all others.
///  * When it is destroyed, who waits gets Closed; those who are paired are not disturbed.
///  * A put that returns false or throws leaves the item with its caller. A kill that comes when
///    the item has been taken is delivered at the putter's next suspension point.
template <class T>
class Channel : public detail::Gets<Channel<T>, T> {
    static_assert(std::is_nothrow_move_constructible_v<T>,
                  "an item that cannot be moved safely could be lost");
    friend detail::Gets<Channel, T>;

 public:
    using Item = T;
    class Getter;
    class Putter;
    class Ready;

    Channel() = default;
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    ~Channel() {
        while (!paired_.empty()) paired_.front().outlive_channel();
        while (!returned_.empty()) returned_.front().refuse();
    }

    /// Gives the item to a getter, waiting for one. Switches, unless none waits and `deadline` has
    /// passed already.
    /// Returns false once `deadline` has passed. Throws Closed. Moves from `item` only on success.
    bool put(T&& item, Deadline deadline = Deadline::never()) {
        Putter putter{*this, item};
        do {
            if (!detail::park(putter, deadline)) return false;
        } while (!putter.settled());
        return true;
    }
    bool put(const T& item,
             Deadline deadline = Deadline::never()) requires std::copy_constructible<T> {
        return put(T(item), deadline);
    }
    /// Gives the item to a getter that waits, if there is one. Never switches; safe in hub
    /// callbacks. Throws Closed. Should that getter be killed before it runs, the item waits for
    /// the next one: its putter has gone.
    bool try_put(T&& item) {
        if (closed_) throw Closed("put into a closed channel");
        Getter* getter = getters_.first_open();
        if (getter == nullptr) return false;
        strays_.push(std::move(item));
        promise_stray(*getter);
        return true;
    }

    /// Refuses further puts and wakes all who wait: they get Closed, putters keep their items. Who
    /// has been paired is not disturbed.
    void close() noexcept {
        closed_ = true;
        while (!returned_.empty()) returned_.front().refuse();
        while (!putters_.empty()) putters_.front().refuse();
        end_waits_when_over();
    }

    [[nodiscard]] bool closed() const noexcept { return closed_; }
    /// There is no store, so it is empty and full at the same time.
    [[nodiscard]] std::size_t size() const noexcept { return 0; }
    [[nodiscard]] bool empty() const noexcept { return true; }
    [[nodiscard]] bool full() const noexcept { return true; }
    [[nodiscard]] std::size_t waiting_getters() const noexcept { return getters_.size(); }
    [[nodiscard]] std::size_t waiting_putters() const noexcept {
        return returned_.size() + putters_.size();
    }

 private:
    [[nodiscard]] bool has_stray() const noexcept { return strays_.size() > promised_strays_; }
    [[nodiscard]] bool has_item() noexcept { return has_stray() || first_putter() != nullptr; }
    [[nodiscard]] Putter* first_putter() noexcept {
        Putter* first = nullptr;
        returned_.for_each([&first](Putter& putter) {
            if (first == nullptr && putter.has_item()) first = &putter;
        });
        return first != nullptr ? first : putters_.first_open();
    }
    /// Nothing will ever come out again.
    [[nodiscard]] bool over() const noexcept { return closed_ && strays_.empty(); }
    [[nodiscard]] T take_item() noexcept {
        if (has_stray()) return remove_stray(promised_strays_);
        Putter& putter = *first_putter();
        T item = putter.hand_over();
        putter.fire();
        return item;
    }
    [[nodiscard]] T remove_stray(std::size_t promised) noexcept {
        T item = strays_.pop(promised);
        end_waits_when_over();
        return item;
    }
    void promise_stray(Getter& getter) noexcept {
        ++promised_strays_;
        getter.promise(woken_);
    }
    /// A stray came back from a getter that was killed.
    void offer_stray() noexcept {
        if (Getter* getter = getters_.first_open()) {
            promise_stray(*getter);
        } else {
            tell_lookers();
        }
    }
    void tell_lookers() noexcept {
        while (lookers_.fire_one()) {
        }
    }
    void end_waits_when_over() noexcept {
        if (!over()) return;
        while (Getter* getter = getters_.first_open()) getter->end();
        tell_lookers();
    }

    bool closed_ = false;
    std::size_t promised_strays_ = 0;
    detail::Ring<T>
        strays_;  // items of try_put(), each promised to a getter unless that was killed
    detail::WaitList<Getter> getters_;
    detail::WaitList<Putter> putters_;
    detail::WaitList<Putter> returned_;         // who has lost a getter, before all others
    detail::WaitList<Getter> paired_;           // who was woken to take a putter's item
    detail::WaitList<detail::WaitNode> woken_;  // who was woken to take a stray
    detail::WaitList<Ready> lookers_;
};

/// Waits for an item: what get() and select() wait by.
template <class T>
class Channel<T>::Getter final : public detail::PromiseNode {
 public:
    explicit Getter(Channel& channel) noexcept
        : PromiseNode{detail::Reach::inside}, channel_{&channel} {}

    [[nodiscard]] WaitNode& node() noexcept { return *this; }
    /// The channel has ended: take() would throw.
    [[nodiscard]] bool over() const noexcept {
        return putter_ == nullptr && (ended() || channel_->over());
    }
    /// The item. Once, when it has fired, before anything else waits. Throws Closed when it fired
    /// because the channel was closed.
    [[nodiscard]] T take() {
        if (Putter* putter = leave_putter()) return putter->hand_over();
        if (over()) throw Closed("get from a closed channel");
        if (!redeem()) return channel_->take_item();
        --channel_->promised_strays_;
        return channel_->remove_stray(0);
    }

    bool arm() override {
        arm_anew();
        if (channel_->has_item() || channel_->over()) return true;
        channel_->getters_.push_back(*this);
        return false;
    }
    void abandon() noexcept override {
        if (Putter* putter = leave_putter()) {
            putter->lost_its_getter();
        } else if (redeem()) {
            --channel_->promised_strays_;
            channel_->offer_stray();
        }
    }
    void describe(std::string& into) const override { into += "a channel's get"; }

 private:
    friend class Channel;
    void pair_with(Putter& putter) noexcept {
        putter_ = &putter;
        this->fire();
        channel_->paired_.push_back(*this);
    }
    Putter* leave_putter() noexcept {
        if (putter_ != nullptr) this->unlink();
        return std::exchange(putter_, nullptr);
    }
    void outlive_channel() noexcept {
        this->unlink();
        putter_->channel_ = nullptr;
    }

    Channel* channel_;
    Putter* putter_ = nullptr;  // whose item it will take; that one waits until it has
};

/// Waits for a getter: what put() and select() wait by.
template <class T>
class Channel<T>::Putter final : public detail::WaitNode {
 public:
    Putter(Channel& channel, T& item) noexcept
        : WaitNode{detail::Reach::inside}, channel_{&channel}, item_{&item} {}

    [[nodiscard]] WaitNode& node() noexcept { return *this; }
    /// To be asked when it has fired: waits until its getter has taken the item. Returns false when
    /// that one was killed before it could, so that the operation must wait again. Switches, unless
    /// the item has been taken. Throws Closed when the channel was closed or destroyed; the item
    /// was not moved then.
    [[nodiscard]] bool settled() {
        if (stage_ == Stage::paired) {
            const Shield shield;  // the item is as good as gone: nothing may be thrown here
            do {
                yield();
            } while (stage_ == Stage::paired);
        }
        if (stage_ == Stage::refused) throw Closed("put into a closed channel");
        if (stage_ == Stage::alone_again) stage_ = Stage::to_wait;
        return stage_ == Stage::taken;
    }
    /// Waits until a getter has taken the item, however long that takes. Once, when it has fired,
    /// before anything else waits. Switches and throws as settled().
    void take() {
        while (!settled()) detail::park(*this, Deadline::never());
    }

    bool arm() override {
        if (channel_->closed_) {
            stage_ = Stage::refused;
            return true;
        }
        stage_ = Stage::waiting;
        if (Getter* getter = channel_->getters_.first_open()) {
            pair_with(*getter);
            return true;
        }
        if (this->linked()) return false;  // among those that have lost a getter
        channel_->putters_.push_back(*this);
        channel_->tell_lookers();
        return false;
    }
    [[nodiscard]] bool beyond_recall() const noexcept override { return stage_ == Stage::taken; }
    void describe(std::string& into) const override { into += "a channel's put"; }

 private:
    friend class Channel;
    enum class Stage : std::uint8_t {
        waiting,
        paired,       // with a getter that was woken and did not run yet
        alone_again,  // that one was killed, and the putter did not run yet
        to_wait,      // it has run, keeps its place, and can be given nothing until it waits again
        taken,
        refused,
    };

    void pair_with(Getter& getter) noexcept {
        this->unlink();
        stage_ = Stage::paired;
        getter.pair_with(*this);
    }
    void lost_its_getter() noexcept {
        if (channel_ == nullptr) {
            stage_ = Stage::refused;
        } else if (Getter* next = channel_->getters_.first_open()) {
            pair_with(*next);
        } else {
            stage_ = Stage::alone_again;
            channel_->returned_.push_back(*this);
            channel_->tell_lookers();
        }
    }
    /// One that has lost its getter: nothing else of its wait can happen before it has run.
    [[nodiscard]] bool has_item() const noexcept {
        return stage_ == Stage::alone_again || (stage_ == Stage::waiting && this->open());
    }
    void refuse() noexcept {
        const bool waits = std::exchange(stage_, Stage::refused) == Stage::waiting;
        waits ? this->fire() : this->unlink();
    }
    [[nodiscard]] T hand_over() noexcept {
        stage_ = Stage::taken;
        return std::move(*item_);
    }

    Channel* channel_;  // nullptr: it has gone while this was paired
    T* item_;
    Stage stage_ = Stage::waiting;
};

/// Waits until a putter waits, or the channel has ended. It takes nothing: somebody else may be
/// quicker.
template <class T>
class Channel<T>::Ready : public detail::WaitNode {
 public:
    explicit Ready(Channel& channel) noexcept
        : WaitNode{detail::Reach::inside}, channel_{&channel} {}

    bool arm() override {
        if (channel_->has_item() || channel_->over()) return true;
        channel_->lookers_.push_back(*this);
        return false;
    }
    void describe(std::string& into) const override { into += "a channel's putter"; }

 private:
    Channel* channel_;
};

}  // namespace green
