#pragma once

#include <concepts>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>
#include <green/errors.hpp>

namespace green {

/// A flag that greenlets of one hub wait for.
class Event {
 public:
    class Ready;

    [[nodiscard]] bool is_set() const noexcept { return set_; }

    /// Sets the flag and wakes all who wait. Never switches; safe in hub callbacks.
    void set() noexcept;
    /// Only later waits see it: those that set() woke return true all the same.
    void clear() noexcept { set_ = false; }

    /// Waits until the flag is set. Switches, unless it is. FIFO among waiters.
    /// Returns false once `deadline` has passed.
    bool wait(Deadline deadline = Deadline::never());
    [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
    bool set_ = false;
    detail::WaitList<Ready> waiters_;
};

/// Waits until the flag is set.
class Event::Ready : public detail::WaitNode {
 public:
    explicit Ready(Event& event) noexcept : Ready{event, "an event"} {}
    bool arm() override {
        if (event_->set_) return true;
        event_->waiters_.push_back(*this);
        return false;
    }
    void describe(std::string& into) const override { into += what_; }

 protected:
    /// For what is made of an event; `what` stays the caller's.
    Ready(Event& event, const char* what) noexcept
        : WaitNode{detail::Reach::inside}, event_{&event}, what_{what} {}

 private:
    Event* event_;
    const char* what_;
};

inline void Event::set() noexcept {
    set_ = true;
    waiters_.fire_all();
}

inline bool Event::wait(Deadline deadline) {
    if (set_) return true;
    Ready node{*this};
    return detail::park(node, deadline) || node.missed();
}

/// A value, or an error, that comes once. The first to set it wins. It must live until those that
/// it woke have run: the value stays here. An AsyncResult<void> has only the fact that it came.
template <class T>
class AsyncResult {
    using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

 public:
    using Reference =
        std::conditional_t<std::is_void_v<T>, void, std::add_lvalue_reference_t<const T>>;

    /// Waits until it is there.
    struct Ready : Event::Ready {
        explicit Ready(AsyncResult& result) noexcept : Event::Ready{result.event_, "a result"} {}
    };

    /// Returns false when it was set before. Never switches.
    bool set(Value value) requires(!std::is_void_v<T>) { return emplace(std::move(value)); }
    bool set() requires std::is_void_v<T> { return emplace({}); }
    bool set_exception(std::exception_ptr error) noexcept {
        if (ready()) return false;
        error_ = std::move(error);
        event_.set();
        return true;
    }
    [[nodiscard]] bool ready() const noexcept { return event_.is_set(); }

    /// Waits for it without raising its error. Switches, unless it is there.
    /// Returns false once `deadline` has passed.
    bool wait(Deadline deadline = Deadline::never()) {
        if (ready()) return true;
        Ready node{*this};
        return detail::park(node, deadline) || node.missed();
    }

    /// Waits for the value, or rethrows the error, the same object each time. Switches, unless it
    /// is there.
    Reference get() {
        wait();
        if (error_) std::rethrow_exception(error_);
        if constexpr (!std::is_void_v<T>) return *value_;
    }
    /// As get(); throws a Timeout of its own once `deadline` has passed.
    Reference get(Deadline deadline) {
        if (!wait(deadline)) throw Timeout{0};
        return get();
    }
    /// The value if it comes before `limit` has passed. Switches, unless it is there.
    std::optional<T> get_for(Deadline limit) requires std::copy_constructible<T> {
        if (!wait(limit)) return std::nullopt;
        return get();
    }
    /// The value if it is there. Never switches.
    std::optional<T> try_get() requires std::copy_constructible<T> {
        return ready() ? std::optional<T>{get()} : std::nullopt;
    }

 private:
    bool emplace(Value value) {
        if (ready()) return false;
        value_.emplace(std::move(value));
        event_.set();
        return true;
    }

    Event event_;
    std::optional<Value> value_;
    std::exception_ptr error_;
};

}  // namespace green
