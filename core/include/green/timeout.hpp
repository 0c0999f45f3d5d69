#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/timer.hpp>
#include <green/errors.hpp>

namespace green {

namespace detail {
class Interrupts;
struct Task;
}  // namespace detail

/// A time limit on everything the current greenlet does while the scope is open. When it passes,
/// Timeout appears at the greenlet's suspension point; owns() tells whether a caught one is this
/// scope's. Thrown once for each start. An event that woke the greenlet before the limit passed
/// wins over it. Of several that pass together the outermost is thrown. Scopes close in the reverse
/// order of their opening, in the greenlet that opened them.
class TimeoutScope {
 public:
    /// With Deadline::never() it costs no timer.
    explicit TimeoutScope(Deadline deadline, TimerOptions options = {});
    /// Throws this instead of a Timeout.
    TimeoutScope(Deadline deadline, std::exception_ptr instead, TimerOptions options = {});
    TimeoutScope(const TimeoutScope&) = delete;
    TimeoutScope& operator=(const TimeoutScope&) = delete;
    ~TimeoutScope();

    [[nodiscard]] bool owns(const Timeout& timeout) const noexcept {
        return timeout.identity() == identity_;
    }
    /// The limit has passed, whether or not its Timeout was thrown yet.
    [[nodiscard]] bool expired() const noexcept { return expired_; }
    /// The limit is set and has not passed.
    [[nodiscard]] bool pending() const noexcept { return timer_.pending(); }

    /// Sets the limit again, whether or not it has passed or was cancelled.
    void restart(Deadline deadline);
    /// No limit any more; one that has passed is not thrown either, and the wait that it was about
    /// to end goes on, from the end of its line. Silent when there is none.
    void cancel() noexcept;

 private:
    friend class detail::Interrupts;

    void start(Deadline deadline);
    static void fire(detail::Timer& timer) noexcept;

    struct ScopeTimer : detail::Timer {
        TimeoutScope* scope = nullptr;
    };

    std::uint64_t identity_;
    detail::Task* task_;
    TimeoutScope* outer_;
    ScopeTimer timer_;
    std::exception_ptr instead_;
    bool expired_ = false;
    bool delivered_ = false;
};

/// Runs the function under a limit. Gives its value, or nothing when the limit passed first;
/// foreign timeouts and kills fly through. A function without a value gives true or false. Switches
/// if the function does.
template <class Function>
auto with_timeout(Deadline deadline, Function&& function) {
    using T = std::invoke_result_t<Function>;
    TimeoutScope scope{deadline};
    try {
        if constexpr (std::is_void_v<T>) {
            std::invoke(std::forward<Function>(function));
            return true;
        } else {
            return std::optional<T>{std::invoke(std::forward<Function>(function))};
        }
    } catch (const Timeout& timeout) {
        if (!scope.owns(timeout)) throw;
        if constexpr (std::is_void_v<T>) {
            return false;
        } else {
            return std::optional<T>{};
        }
    }
}

}  // namespace green
