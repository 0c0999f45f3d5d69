#pragma once
// Events and results from thread to thread. They cost a lock each time, and a wake-up of the other
// hub where somebody waits; within one hub, Event and AsyncResult cost next to nothing.

#include <concepts>
#include <exception>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include <green/deadline.hpp>
#include <green/detail/thread_gate.hpp>
#include <green/errors.hpp>

namespace green {

/// A flag that any thread sets and any thread waits for: a greenlet in its hub, a thread without a
/// hub by blocking. Whose wait has returned may destroy it, also while set() is still returning.
/// Greenlets that wait in it when it is destroyed get Closed, unless it was set before; a thread
/// without a hub must not wait in it then.
class ThreadEvent {
 public:
    [[nodiscard]] bool is_set() const noexcept {
        const std::lock_guard lock{mutex_};
        return gate_.is_open();
    }
    /// Sets the flag and wakes all who wait. Never switches.
    void set() noexcept {
        const std::lock_guard lock{mutex_};
        gate_.open();
    }
    /// Only later waits see it: those that set() woke return true all the same.
    void clear() noexcept {
        const std::lock_guard lock{mutex_};
        gate_.shut();
    }
    /// Waits until the flag is set. Switches, unless it is.
    /// Returns false once `deadline` has passed.
    bool wait(Deadline deadline = Deadline::never()) {
        std::unique_lock lock{mutex_};
        return gate_.wait(lock, deadline);
    }

    /// One wait of a greenlet, together with others.
    class Ready final : public detail::ThreadGate::Node {
     public:
        explicit Ready(ThreadEvent& event) noexcept : Node{event.gate_} {}
    };

 private:
    mutable std::mutex mutex_;
    detail::ThreadGate gate_{mutex_, 0, "an event of several threads"};
};

/// A value, or an error, that comes once, from any thread to any thread. The first to set it wins.
/// Whose wait has returned may destroy it, and who waits in it when it is destroyed gets Closed, as
/// with ThreadEvent.
/// A ThreadAsyncResult<void> has only the fact that it came.
template <class T>
class ThreadAsyncResult {
    using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

 public:
    using Reference =
        std::conditional_t<std::is_void_v<T>, void, std::add_lvalue_reference_t<const T>>;

    /// Returns false when it was set before. Never switches.
    bool set(Value value) requires(!std::is_void_v<T>) { return emplace(std::move(value)); }
    bool set() requires std::is_void_v<T> { return emplace({}); }
    bool set_exception(std::exception_ptr error) noexcept {
        const std::lock_guard lock{mutex_};
        if (gate_.is_open()) return false;
        error_ = std::move(error);
        gate_.open();
        return true;
    }
    [[nodiscard]] bool ready() const noexcept {
        const std::lock_guard lock{mutex_};
        return gate_.is_open();
    }

    /// Waits for it without raising its error. Switches, unless it is there.
    /// Returns false once `deadline` has passed.
    bool wait(Deadline deadline = Deadline::never()) {
        std::unique_lock lock{mutex_};
        return gate_.wait(lock, deadline);
    }
    /// Waits for the value, or rethrows the error, the same object each time. Switches, unless it
    /// is there.
    Reference get() {
        (void)pass(Deadline::never());
        return there();
    }
    /// As get(); throws a Timeout of its own once `deadline` has passed.
    Reference get(Deadline deadline) {
        if (!pass(deadline)) throw Timeout{0};
        return there();
    }
    /// The value if it comes before `limit` has passed.
    std::optional<T> get_for(Deadline limit) requires std::copy_constructible<T> {
        if (!pass(limit)) return std::nullopt;
        return there();
    }
    /// The value if it is there. Never switches.
    std::optional<T> try_get() requires std::copy_constructible<T> {
        return ready() ? std::optional<T>{there()} : std::nullopt;
    }

    /// One wait of a greenlet, together with others.
    class Ready final : public detail::ThreadGate::Node {
     public:
        explicit Ready(ThreadAsyncResult& result) noexcept : Node{result.gate_} {}
    };

 private:
    bool emplace(Value value) {
        const std::lock_guard lock{mutex_};
        if (gate_.is_open()) return false;
        value_.emplace(std::move(value));
        gate_.open();
        return true;
    }
    /// As wait(), for who looks at what came.
    bool pass(Deadline deadline) {
        std::unique_lock lock{mutex_};
        return gate_.pass(lock, deadline);
    }
    Reference there() {
        if (error_) std::rethrow_exception(error_);
        if constexpr (!std::is_void_v<T>) return *value_;
    }

    mutable std::mutex mutex_;
    std::optional<Value> value_;  // these two never change once the gate is open
    std::exception_ptr error_;
    detail::ThreadGate gate_{mutex_, 0, "a result of another thread"};
};

}  // namespace green
