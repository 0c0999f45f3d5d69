#pragma once
// Native threads for calls that block: files, databases, foreign libraries.

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/thread_job.hpp>
#include <green/errors.hpp>

namespace green {

/// What a function in a thread gives. Handles are copyable and belong to the thread, and the hub,
/// in which spawn() was called; dropping the last one drops the result, the function runs on.
template <class T>
class ThreadTask {
 public:
    using Reference = std::conditional_t<std::is_void_v<T>, void, std::add_lvalue_reference_t<T>>;

    explicit ThreadTask(std::shared_ptr<detail::ThreadResult<T>> result)
        : ticket_{std::make_shared<Ticket>(std::move(result))} {}

    /// Waits until it has ended. Switches, unless it has. Returns false once `deadline` has passed.
    bool join(Deadline deadline = Deadline::never()) const {
        const auto held = ticket_;  // this handle may go while we wait
        return held->result->wait(deadline);
    }
    /// Waits for its value. Switches, unless it has ended. Rethrows what the function threw.
    Reference get() const {
        const auto held = ticket_;
        held->result->wait(Deadline::never());
        if (held->result->error) std::rethrow_exception(held->result->error);
        if constexpr (!std::is_void_v<T>) return *held->result->value;
    }
    /// As get(); throws a Timeout of its own once `deadline` has passed.
    Reference get(Deadline deadline) const {
        if (!join(deadline)) throw Timeout{0};
        return get();
    }
    /// As get(), but moves the value out. Call it once.
    T take() {
        if constexpr (std::is_void_v<T>) {
            get();
        } else {
            return std::move(get());
        }
    }
    /// It has ended, and this hub has heard of it. Never switches.
    [[nodiscard]] bool ready() const noexcept { return ticket_->result->done(); }

 private:
    struct Ticket {
        explicit Ticket(std::shared_ptr<detail::ThreadResult<T>> r) noexcept
            : result{std::move(r)} {}
        Ticket(const Ticket&) = delete;
        Ticket& operator=(const Ticket&) = delete;
        ~Ticket() { result->leave(); }
        std::shared_ptr<detail::ThreadResult<T>> result;
    };

    std::shared_ptr<Ticket> ticket_;
};

/// Runs functions in native threads, in the order in which they came. Threads start when they are
/// needed, have all signals blocked, and retire after some idle seconds. May be used from several
/// threads; each waiter is woken in its own hub.
///
/// A function that runs there must not touch greenlets, or anything else of a hub: pass it values,
/// and take a value back. What it captures by reference has to outlive it, and a waiter that is
/// killed does not wait for its end: hold a Shield, or capture by value.
class ThreadPool {
 public:
    /// `name` is what `top -H` shows, 15 characters at the most.
    explicit ThreadPool(std::size_t max_threads = 10, const std::string& name = "pool");
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;
    /// Drops what has not begun (its waiters get Closed) and blocks the thread until what runs has
    /// ended.
    ~ThreadPool();

    /// Runs the function in a thread. Never switches. The function is moved there, and destroyed
    /// there when it has run. Throws std::system_error when not even one thread can be had.
    template <class Function>
    requires std::invocable<std::decay_t<Function>>
    auto spawn(Function&& function) {
        using T = std::decay_t<std::invoke_result_t<std::decay_t<Function>>>;
        auto call = std::make_shared<detail::ThreadCall<T, std::decay_t<Function>>>(
            std::forward<Function>(function));
        submit(call);
        return ThreadTask<T>{std::move(call)};
    }
    /// Runs the function in a thread and waits for its value, or rethrows. Switches.
    template <class Function>
    requires std::invocable<std::decay_t<Function>>
    auto apply(Function&& function) { return spawn(std::forward<Function>(function)).take(); }

    [[nodiscard]] std::size_t max_threads() const noexcept;
    /// Threads that live now.
    [[nodiscard]] std::size_t size() const;
    /// Functions that have not begun.
    [[nodiscard]] std::size_t queued() const;

 private:
    struct Crew;
    void submit(std::shared_ptr<detail::ThreadJob> job);

    std::unique_ptr<Crew> crew_;
};

/// The pool of this process, for all that has no pool of its own. What runs at exit is waited for.
ThreadPool& threads();

}  // namespace green
