#pragma once
// What the thread that works and those who wait for it have in common; gone with the last of them.

#include <atomic>
#include <concepts>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <variant>

#include <green/deadline.hpp>
#include <green/detail/thread_gate.hpp>

namespace green::detail {

template <class Function>
concept Stoppable = std::invocable<std::decay_t<Function>, std::stop_token>;
/// What a ThreadPool runs: a function without arguments, or one that takes a std::stop_token.
template <class Function>
concept ThreadFunction = Stoppable<Function> || std::invocable<std::decay_t<Function>>;

template <ThreadFunction Function>
decltype(auto) call_in_thread(Function&& function, const std::stop_token& stop) {
    if constexpr (Stoppable<Function>) {
        return std::invoke(std::forward<Function>(function), stop);
    } else {
        return std::invoke(std::forward<Function>(function));
    }
}
template <class Function>
using ThreadValue = std::decay_t<decltype(call_in_thread(std::declval<std::decay_t<Function>>(),
                                                         std::declval<std::stop_token>()))>;

class ThreadJob {
 public:
    ThreadJob(const ThreadJob&) = delete;
    ThreadJob& operator=(const ThreadJob&) = delete;
    virtual ~ThreadJob() = default;

    /// In the thread: calls the function, destroys it, and keeps what comes of it for those who may
    /// want it.
    virtual void run() noexcept = 0;
    /// Instead of run(), when that will never be.
    virtual void refuse(std::exception_ptr why) noexcept = 0;
    /// After either: tells all who wait.
    void finish() noexcept;

    /// Switches, or blocks a thread that has no hub, unless it is finished.
    bool wait(Deadline deadline);
    [[nodiscard]] bool done() const noexcept;
    /// For nodes that wait for it.
    [[nodiscard]] ThreadGate& end() noexcept { return end_; }

    /// Without a state when the function takes no token.
    [[nodiscard]] std::stop_source& stop() noexcept { return stop_; }
    [[nodiscard]] std::stop_token stop_token() const noexcept { return stop_.get_token(); }

 protected:
    explicit ThreadJob(std::stop_source stop) noexcept : stop_{std::move(stop)} {}

 private:
    std::stop_source stop_;
    mutable std::mutex mutex_;
    ThreadGate end_{mutex_, 0, "a call in a thread"};
};

template <class T>
class ThreadResult : public ThreadJob {
 public:
    void refuse(std::exception_ptr why) noexcept override { error = std::move(why); }

    /// Once by the thread, when it has the value, and once by the last one who may ask for it. The
    /// second of them destroys it: nothing of the users' is left for whoever holds the job longest.
    void let_go() noexcept {
        if (!let_go_.exchange(true, std::memory_order_acq_rel)) return;
        value.reset();
        error = nullptr;
    }

    // The thread's until it has finished.
    std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>> value;
    std::exception_ptr error;

 protected:
    using ThreadJob::ThreadJob;

 private:
    std::atomic<bool> let_go_{false};
};

template <class T, class Function>
class ThreadCall final : public ThreadResult<T> {
 public:
    template <class F>
    explicit ThreadCall(F&& function)
        : ThreadResult<T>{Stoppable<Function> ? std::stop_source{}
                                              : std::stop_source{std::nostopstate}},
          function_{std::in_place, std::forward<F>(function)} {}

    void run() noexcept override {
        try {
            const std::stop_token stop = this->stop_token();
            if constexpr (std::is_void_v<T>) {
                call_in_thread(std::move(*function_), stop);
            } else {
                this->value.emplace(call_in_thread(std::move(*function_), stop));
            }
        } catch (...) {
            this->error = std::current_exception();
        }
        function_.reset();
        this->let_go();
    }
    void refuse(std::exception_ptr why) noexcept override {
        ThreadResult<T>::refuse(std::move(why));
        function_.reset();
    }

 private:
    std::optional<Function> function_;
};

}  // namespace green::detail
