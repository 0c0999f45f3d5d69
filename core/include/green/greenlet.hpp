#pragma once
// Greenlets: functions that run beside each other on one thread and switch only where they wait.
// Longer than most headers: two handles and the calls that make them; most of it is what they
// promise.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/call_task.hpp>
#include <green/detail/park.hpp>
#include <green/detail/task.hpp>
#include <green/errors.hpp>
#include <green/link.hpp>

namespace green {

/// A greenlet whose result type does not matter. Handles are copyable and belong to one thread;
/// dropping the last one detaches the greenlet, it runs on. All end with their hub, started or not.
class AnyGreenlet {
 public:
    explicit AnyGreenlet(detail::TaskPtr<detail::Task> task) noexcept : task_{std::move(task)} {}

    /// Makes it ready to run, at the end of the ready ring. Silent when it was started before.
    void start() noexcept { detail::start(*task_); }
    /// Starts it after a time. A kill before that ends it without running; starting it once more
    /// changes nothing. Throws std::bad_alloc.
    void start_later(Duration delay) { detail::start_later(*task_, Deadline{delay}.when()); }

    /// Waits until it has ended. Switches, unless it has.
    /// Returns false once `deadline` has passed. What the greenlet threw stays in it.
    bool join(Deadline deadline = Deadline::never()) const;

    /// Interrupts it at its suspension point, then waits until it has ended. Switches, unless it
    /// has ended or never ran: one that was never switched to ends without running an instruction.
    /// Returns false once `deadline` has passed: it caught the interrupt and lives on.
    /// Killing the current greenlet throws here, or, under a Shield and while it unwinds, at the
    /// first suspension point after that. `reason` becomes its outcome; GreenletExit is a success,
    /// and what a null one means.
    bool kill(Deadline deadline = Deadline::never()) const;
    bool kill(std::exception_ptr reason, Deadline deadline = Deadline::never()) const;
    /// The same without waiting. What one that never ran has captured is destroyed in this call; in
    /// a hub callback, where nobody may wait, its destructors must not.
    void kill_soon() const;
    void kill_soon(std::exception_ptr reason) const;

    /// Runs the function in a greenlet of its own once this one has ended, whichever way; soon, if
    /// it has ended already. Functions run in the order in which they were linked, each under the
    /// context in which it was. Never switches.
    [[nodiscard]] Link link(std::function<void(const AnyGreenlet&)> function) const;
    /// The same for a function that must not wait: a waiting call in it throws BlockingInHub.
    [[nodiscard]] Link rawlink(std::function<void(const AnyGreenlet&)> function) const;
    /// Only if it ends successfully (GreenletExit is a success), only if it fails.
    [[nodiscard]] Link link_value(std::function<void(const AnyGreenlet&)> function) const;
    [[nodiscard]] Link link_exception(std::function<void(const AnyGreenlet&)> function) const;

    [[nodiscard]] bool started() const noexcept {
        return task_->state != detail::TaskState::fresh && !ready();
    }
    [[nodiscard]] bool ready() const noexcept { return task_->ended(); }
    [[nodiscard]] Outcome outcome() const noexcept {
        const Outcome known = task_->outcome;
        return known == Outcome::pending && ready() ? Outcome::exited : known;
    }
    /// Ended with a value or by GreenletExit.
    [[nodiscard]] bool successful() const noexcept {
        return outcome() == Outcome::returned || outcome() == Outcome::exited;
    }
    /// What it threw, if it ended that way.
    [[nodiscard]] std::exception_ptr exception() const noexcept;

    /// Of its hub, never given twice.
    [[nodiscard]] std::uint64_t id() const noexcept { return task_->id; }
    /// The id of the greenlet that made it; 0 is the main greenlet.
    [[nodiscard]] std::uint64_t spawner() const noexcept { return task_->spawner; }
    /// The smallest number that no other living greenlet of the hub has; given out again when this
    /// one has ended, or is dropped without having been started. One that has ended already is
    /// given a number that stays free. For short names. Throws std::bad_alloc.
    [[nodiscard]] std::size_t minimal_ident() const;
    /// As given, else the type of its callable with its id.
    [[nodiscard]] std::string name() const { return task_->name(); }
    void set_name(std::string name) {
        task_->given_name = std::make_unique<std::string>(std::move(name));
    }

    /// Waits for its end.
    class Ready final : public detail::WaitNode {
     public:
        explicit Ready(const AnyGreenlet& greenlet) noexcept
            : WaitNode{detail::Reach::inside}, task_{&greenlet.task()} {}
        bool arm() override;
        void describe(std::string& into) const override;

     private:
        detail::Task* task_;
    };

    [[nodiscard]] detail::Task& task() const noexcept { return *task_; }
    friend bool operator==(const AnyGreenlet& a, const AnyGreenlet& b) noexcept {
        return a.task_.get() == b.task_.get();
    }

 protected:
    void rethrow_failure() const;

    detail::TaskPtr<detail::Task> task_;

 private:
    [[nodiscard]] Link make_link(std::function<void(const AnyGreenlet&)> function,
                                 bool may_wait) const;
};

/// A greenlet that gives a T.
template <class T>
class Greenlet : public AnyGreenlet {
 public:
    using AnyGreenlet::AnyGreenlet;
    using Reference =
        std::conditional_t<std::is_void_v<T>, void, std::add_lvalue_reference_t<const T>>;

    /// Waits for its value. Switches, unless it has ended.
    /// Rethrows what the greenlet threw, the same object each time; a killed one gives
    /// GreenletExit.
    Reference get() const {
        join();
        rethrow_failure();
        if constexpr (!std::is_void_v<T>) return *values().value;
    }
    /// As get(); throws a Timeout of its own once `deadline` has passed.
    Reference get(Deadline deadline) const {
        if (!join(deadline)) throw Timeout{0};
        return get();
    }
    /// As get(), but moves the value out. Call it once.
    T take() requires(!std::is_void_v<T>) {
        get();
        return std::move(*values().value);
    }
    /// The value if it comes before `limit` has passed, else nothing. Switches.
    std::optional<T> get_for(Deadline limit) const requires std::copy_constructible<T> {
        if (!join(limit)) return std::nullopt;
        return get();
    }
    /// The value if it is there. Never switches.
    std::optional<T> try_get() const requires std::copy_constructible<T> {
        return ready() ? std::optional<T>{get()} : std::nullopt;
    }

    using AnyGreenlet::link;
    /// Sends its end there, as a raw link: to an AsyncResult its value, its error or its
    /// GreenletExit; to a queue of handles its own handle. The target must outlive the link, and a
    /// queue must have room.
    template <class Target>
    requires requires(Target& target) { target.set_exception(std::exception_ptr{}); }
    [[nodiscard]] Link link(Target& target) const {
        return rawlink([&target](const AnyGreenlet& ended) {
            try {
                const auto& self = static_cast<const Greenlet&>(ended);
                if constexpr (std::is_void_v<T>) {
                    self.get();
                    target.set();
                } else {
                    target.set(self.get());
                }
            } catch (...) {
                target.set_exception(std::current_exception());
            }
        });
    }
    template <class Target>
    requires requires(Target& target, Greenlet handle) { target.try_put(std::move(handle)); }
    [[nodiscard]] Link link(Target& target) const {
        return rawlink([&target](const AnyGreenlet& ended) {
            if (!target.try_put(Greenlet{static_cast<const Greenlet&>(ended)}))
                throw std::length_error("a linked queue is full");
        });
    }

 private:
    [[nodiscard]] detail::ValueTask<T>& values() const noexcept {
        return static_cast<detail::ValueTask<T>&>(*task_);
    }
};

/// Makes a greenlet that has not been started. Arguments are moved or copied into it, as by
/// std::thread; std::ref where a reference is meant.
template <class Function, class... Arguments>
requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
[[gnu::always_inline]] inline auto deferred(Function&& function, Arguments&&... arguments) {
    using T = detail::CallResult<Function, Arguments...>;
    using Call = detail::CallTask<T, std::decay_t<Function>, std::decay_t<Arguments>...>;
    return Greenlet<T>{detail::make_task<Call>(detail::here(), std::forward<Function>(function),
                                               std::forward<Arguments>(arguments)...)};
}

/// Runs the function in a greenlet of its own. Never switches: it starts when the caller next
/// waits, after those that were made ready before it.
template <class Function, class... Arguments>
requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
[[gnu::always_inline]] inline auto spawn(Function&& function, Arguments&&... arguments) {
    auto greenlet =
        deferred(std::forward<Function>(function), std::forward<Arguments>(arguments)...);
    greenlet.start();
    return greenlet;
}

/// spawn() after a time, which passes whether or not the caller lives on.
template <class Function, class... Arguments>
requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
[[gnu::always_inline]] inline auto spawn_later(Duration delay, Function&& function,
                                               Arguments&&... arguments) {
    auto greenlet =
        deferred(std::forward<Function>(function), std::forward<Arguments>(arguments)...);
    greenlet.start_later(delay);
    return greenlet;
}

/// spawn() for what nobody waits for.
template <class Function, class... Arguments>
requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
[[gnu::always_inline]] inline void spawn_raw(Function&& function, Arguments&&... arguments) {
    deferred(std::forward<Function>(function), std::forward<Arguments>(arguments)...).start();
}

/// Goes to the end of the ready ring. Switches.
void yield();
/// Sleeps for a time, measured from now; zero or less is yield(). Switches.
void sleep(Duration duration, TimerOptions options = {});
/// Sleeps until a moment of green::now()'s clock; yield() when it has passed. Switches.
void sleep_until(TimePoint when, TimerOptions options = {});
/// Sleeps until nothing else is ready to run. Switches.
void idle();

/// The greenlet that runs now. A handle of main may outlive its hub, and says then that main has
/// ended.
[[nodiscard]] AnyGreenlet current();

}  // namespace green
