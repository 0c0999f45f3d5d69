#pragma once
// Signals as values that a greenlet waits for. Several deliveries of one signal may come as one.
// A signal is watched by at most one hub of the process.

#include <bitset>
#include <functional>
#include <initializer_list>
#include <optional>
#include <vector>

#include <green/deadline.hpp>
#include <green/detail/intrusive.hpp>
#include <green/detail/park.hpp>

namespace green {

namespace detail {

class SignalSubscriber : public ListHook {
 public:
    [[nodiscard]] virtual bool wants(int signal) const noexcept = 0;
    virtual void on_signal(int signal) noexcept = 0;

 protected:
    ~SignalSubscriber() = default;
};

}  // namespace detail

/// Collects signals from its construction on. Waiting for them does not keep the hub alive: a
/// process in which nothing but a signal could happen is deadlocked, unless keep_alive() was
/// called.
class SignalSet final : private detail::SignalSubscriber {
 public:
    /// Throws std::system_error for a number that cannot be caught.
    explicit SignalSet(std::initializer_list<int> signals);
    SignalSet(const SignalSet&) = delete;
    SignalSet& operator=(const SignalSet&) = delete;
    ~SignalSet();

    /// From now on, waiting for these signals is enough to live for.
    void keep_alive() noexcept { keeps_alive_ = true; }

    /// Takes the oldest signal that has come, waiting for one. Switches, unless one is there.
    /// Returns nothing once `deadline` has passed.
    std::optional<int> next(Deadline deadline = Deadline::never());

 private:
    [[nodiscard]] bool wants(int signal) const noexcept override;
    void on_signal(int signal) noexcept override;

    class Node;
    std::bitset<65> wanted_;
    std::vector<int> pending_;
    Node* waiter_ = nullptr;
    bool keeps_alive_ = false;
};

/// Runs a function in a new greenlet for each delivery of a signal, until it is destroyed.
class SignalHandler final : private detail::SignalSubscriber {
 public:
    SignalHandler(int signal, std::function<void()> function);
    SignalHandler(const SignalHandler&) = delete;
    SignalHandler& operator=(const SignalHandler&) = delete;
    ~SignalHandler();

 private:
    [[nodiscard]] bool wants(int signal) const noexcept override { return signal == signal_; }
    void on_signal(int signal) noexcept override;

    int signal_;
    std::function<void()> function_;
};

}  // namespace green
