#pragma once

#include <atomic>
#include <concepts>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/thread_job.hpp>
#include <green/errors.hpp>

namespace green {

/// What a function in a thread gives. Handles are copyable and may be used in any thread: a
/// greenlet waits in its hub, a thread without a hub blocks. When the last one goes, nobody can
/// want the value any more: a function that takes a std::stop_token is asked to stop, any other
/// runs on, and what comes of it is destroyed in its thread, before it counts as ended.
template <class T>
class ThreadTask {
 public:
    using Reference =
        std::conditional_t<std::is_void_v<T>, void, std::add_lvalue_reference_t<const T>>;

    /// Waits until it has ended. Switches, unless it has. Returns false once `deadline` has passed.
    bool join(Deadline deadline = Deadline::never()) const {
        const auto held = ticket_;  // this handle may go while we wait
        return held->result->wait(deadline);
    }
    /// Waits for its value, or rethrows what the function threw, the same object each time.
    /// Switches, unless it has ended. Throws Closed when its pool was closed before it began.
    Reference get() const {
        const auto held = ticket_;
        wait_for_value(*held->result, Deadline::never());
        if constexpr (!std::is_void_v<T>) return *held->result->value;
    }
    /// As get(); throws a Timeout of its own once `deadline` has passed.
    Reference get(Deadline deadline) const {
        const auto held = ticket_;
        if (!wait_for_value(*held->result, deadline)) throw Timeout{0};
        if constexpr (!std::is_void_v<T>) return *held->result->value;
    }
    /// As get(), but moves the value out. Call it once.
    T take() {
        const auto held = ticket_;
        wait_for_value(*held->result, Deadline::never());
        if constexpr (!std::is_void_v<T>) return std::move(*held->result->value);
    }
    /// The value if it comes before `limit` has passed, else nothing. Switches.
    std::optional<T> get_for(Deadline limit) const requires std::copy_constructible<T> {
        const auto held = ticket_;
        if (!wait_for_value(*held->result, limit)) return std::nullopt;
        return *held->result->value;
    }
    /// The value if it is there. Never switches.
    std::optional<T> try_get() const requires std::copy_constructible<T> {
        return ready() ? std::optional<T>{get()} : std::nullopt;
    }
    /// It has ended.
    [[nodiscard]] bool ready() const noexcept { return ticket_->result->done(); }

    /// Asks a function that takes a std::stop_token to stop, also one that has not begun: it begins
    /// all the same. Runs the token's callbacks, here. Returns false when nobody listens, or it was
    /// asked before.
    bool request_stop() const noexcept { return ticket_->result->stop().request_stop(); }
    /// Lets it run to its end though all handles go.
    void detach() noexcept { ticket_->detached = true; }

    /// One wait for its end, together with others.
    class Ready;

 private:
    friend class ThreadPool;

    struct Ticket {
        explicit Ticket(std::shared_ptr<detail::ThreadResult<T>> its_result) noexcept
            : result{std::move(its_result)} {}
        Ticket(const Ticket&) = delete;
        Ticket& operator=(const Ticket&) = delete;
        ~Ticket() {
            if (!detached) result->stop().request_stop();
            result->let_go();
        }
        const std::shared_ptr<detail::ThreadResult<T>> result;
        std::atomic<bool> detached{false};
    };

    explicit ThreadTask(std::shared_ptr<detail::ThreadResult<T>> result)
        : ticket_{std::make_shared<Ticket>(std::move(result))} {}

    static bool wait_for_value(detail::ThreadResult<T>& result, Deadline deadline) {
        if (!result.wait(deadline)) return false;
        if (result.error) std::rethrow_exception(result.error);
        return true;
    }

    std::shared_ptr<Ticket> ticket_;
};

template <class T>
class ThreadTask<T>::Ready final : public detail::ThreadGate::Node {
 public:
    explicit Ready(const ThreadTask& task) noexcept
        : Node{task.ticket_->result->end()}, ticket_{task.ticket_} {}

 private:
    std::shared_ptr<Ticket> ticket_;
};

}  // namespace green
