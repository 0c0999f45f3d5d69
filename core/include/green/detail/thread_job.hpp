#pragma once
// What the thread that works and the hub that waits have in common; gone with the later of them.

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>
#include <green/hub.hpp>

namespace green::detail {

class ThreadJob {
 public:
    ThreadJob() : hub_{std::in_place} {}
    ThreadJob(const ThreadJob&) = delete;
    ThreadJob& operator=(const ThreadJob&) = delete;
    virtual ~ThreadJob() = default;

    /// In the thread: calls the function, keeps what comes of it, destroys the function.
    virtual void run() noexcept = 0;
    /// Instead of run(), when that will never be.
    virtual void refuse(std::exception_ptr why) noexcept = 0;
    /// After either: tells the hub, if anybody is left there. From any thread.
    static void finish(const std::shared_ptr<ThreadJob>& job) noexcept;

    /// In the hub: waits until it is finished. Switches, unless it is.
    bool wait(Deadline deadline);
    [[nodiscard]] bool done() const noexcept { return done_; }
    /// In the hub: nobody is left there. From now on the hub may go.
    void leave() noexcept;

 private:
    class Node final : public WaitNode {
     public:
        explicit Node(ThreadJob& job) noexcept : WaitNode{Reach::outside}, job_{&job} {}
        bool arm() override {
            if (job_->done_) return true;
            job_->waiters_.push_back(*this);
            return false;
        }
        void describe(std::string& into) const override { into += "a call in a thread"; }

     private:
        ThreadJob* job_;
    };

    std::mutex mutex_;           // for hub_: a thread that found it there may still be telling it
    std::optional<HubRef> hub_;  // where the waiters are
    bool done_ = false;          // the hub's, as are the waiters
    WaitList<Node> waiters_;
};

template <class T>
class ThreadResult : public ThreadJob {
 public:
    void refuse(std::exception_ptr why) noexcept override { error = std::move(why); }

    std::optional<std::conditional_t<std::is_void_v<T>, std::monostate, T>> value;
    std::exception_ptr error;
};

template <class T, class Function>
class ThreadCall final : public ThreadResult<T> {
 public:
    explicit ThreadCall(Function function) : function_{std::move(function)} {}

    void run() noexcept override {
        try {
            if constexpr (std::is_void_v<T>) {
                std::invoke(std::move(*function_));
            } else {
                this->value.emplace(std::invoke(std::move(*function_)));
            }
        } catch (...) {
            this->error = std::current_exception();
        }
        function_.reset();
    }
    void refuse(std::exception_ptr why) noexcept override {
        ThreadResult<T>::refuse(std::move(why));
        function_.reset();
    }

 private:
    std::optional<Function> function_;
};

}  // namespace green::detail
