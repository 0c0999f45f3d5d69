#pragma once

#include <concepts>
#include <exception>
#include <optional>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>
#include <green/errors.hpp>

namespace green {

/// A flag that greenlets of one hub wait for.
class Event {
 public:
    [[nodiscard]] bool is_set() const noexcept { return set_; }

    /// Sets the flag and wakes all who wait. Never switches; safe in hub callbacks.
    void set() noexcept {
        set_ = true;
        waiters_.fire_all();
    }
    /// Only later waits see it: those that set() woke return true all the same.
    void clear() noexcept { set_ = false; }

    /// Waits until the flag is set. Switches, unless it is. FIFO among waiters.
    /// Returns false once `deadline` has passed.
    bool wait(Deadline deadline = Deadline::never()) {
        if (set_) return true;
        detail::ListNode node{waiters_, "an event"};
        return detail::park(node, deadline);
    }
    [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
    bool set_ = false;
    detail::WaitList<detail::ListNode> waiters_;
};

/// A value, or an error, that comes once. The first to set it wins.
template <class T>
class AsyncResult {
 public:
    /// Returns false when it was set before. Never switches.
    bool set(T value) {
        if (ready()) return false;
        value_.emplace(std::move(value));
        event_.set();
        return true;
    }
    bool set_exception(std::exception_ptr error) noexcept {
        if (ready()) return false;
        error_ = std::move(error);
        event_.set();
        return true;
    }
    [[nodiscard]] bool ready() const noexcept { return event_.is_set(); }

    /// Waits for it without raising its error. Switches, unless it is there.
    bool wait(Deadline deadline = Deadline::never()) { return event_.wait(deadline); }

    /// Waits for the value, or rethrows the error, the same object each time. Switches, unless it
    /// is there.
    const T& get() {
        wait();
        if (error_) std::rethrow_exception(error_);
        return *value_;
    }
    /// As get(); throws a Timeout of its own once `deadline` has passed.
    const T& get(Deadline deadline) {
        if (!wait(deadline)) throw Timeout{0};
        return get();
    }
    /// The value if it comes within `limit`.
    std::optional<T> get_for(Duration limit) requires std::copy_constructible<T> {
        if (!wait(limit)) return std::nullopt;
        return get();
    }
    /// The value if it is there. Never switches.
    std::optional<T> try_get() requires std::copy_constructible<T> {
        return ready() ? std::optional<T>{get()} : std::nullopt;
    }

 private:
    Event event_;
    std::optional<T> value_;
    std::exception_ptr error_;
};

}  // namespace green
