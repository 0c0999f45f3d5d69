#pragma once
// How functions and news reach a hub from other threads. The hub and all its HubRefs share one
// mailbox: it outlives the hub, and says so.

#include <atomic>
#include <functional>
#include <mutex>
#include <utility>

#include <green/detail/home.hpp>

#include "loop/reactor.hpp"

namespace green::detail {

/// What is on its way to a hub. Posting it takes no memory, so that who must not fail can.
class Letter {
 public:
    Letter() noexcept = default;
    Letter(const Letter&) = delete;
    Letter& operator=(const Letter&) = delete;
    virtual ~Letter() = default;

    /// In the hub, on its stack.
    virtual void arrive() = 0;
    /// Nobody needs it any more: it has arrived, or never will.
    virtual void let_go() noexcept = 0;

 private:
    friend class Letters;
    Letter* next_ = nullptr;
};

/// In the order in which they came. Those that are not taken out are let go.
class Letters {
 public:
    Letters() noexcept = default;
    Letters(Letters&& other) noexcept
        : first_{std::exchange(other.first_, nullptr)},
          last_{std::exchange(other.last_, nullptr)} {}
    Letters& operator=(Letters&&) = delete;
    ~Letters() {
        while (Letter* letter = pop()) letter->let_go();
    }

    void push(Letter& letter) noexcept {
        letter.next_ = nullptr;
        (first_ == nullptr ? first_ : last_->next_) = &letter;
        last_ = &letter;
    }
    [[nodiscard]] Letter* pop() noexcept {
        return first_ == nullptr ? nullptr : std::exchange(first_, first_->next_);
    }

 private:
    Letter* first_ = nullptr;
    Letter* last_ = nullptr;
};

class Mailbox {
 public:
    explicit Mailbox(Reactor& reactor) noexcept : reactor_{&reactor} {}

    /// From any thread. Returns false, and lets the letter go, once the hub has gone.
    bool post(Letter& letter) noexcept;
    /// The same for a function, which is dropped then. Throws UsageError when it is empty, and
    /// std::bad_alloc.
    bool post(std::function<void()> function);

    // For the hub, in its thread.
    [[nodiscard]] bool waiting() const noexcept { return waiting_.load(std::memory_order_acquire); }
    [[nodiscard]] Letters take() noexcept;
    /// From now on nothing is taken in, and the reactor is not touched any more. Returns what was
    /// left.
    [[nodiscard]] Letters close() noexcept;

 private:
    const Home home_;
    std::mutex mutex_;
    Reactor* reactor_;  // nullptr: the hub has gone
    Letters posted_;
    std::atomic<bool> waiting_{false};
};

}  // namespace green::detail
