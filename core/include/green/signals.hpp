#pragma once
// Signals as values that a greenlet waits for. Several deliveries of one signal may come as one.
// A signal is watched by at most one hub of the process.

#include <bitset>
#include <functional>
#include <initializer_list>
#include <optional>
#include <vector>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>
#include <green/detail/signal_subscriber.hpp>
#include <green/world_watchers.hpp>

namespace green {

/// Collects signals from its construction on. Waiting for them does not keep the hub alive: a
/// process in which nothing but a signal could happen is deadlocked, unless keep_alive() was
/// called.
class SignalSet final : private detail::SignalSubscriber {
 public:
    /// Throws std::system_error for a number that cannot be caught (EINVAL), and for a signal that
    /// another hub watches (EBUSY).
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

/// Runs a function in a new greenlet for each delivery of a signal, until it is destroyed. By
/// itself it does not keep the hub alive.
class SignalHandler {
 public:
    /// Throws like SignalSet, and UsageError for an empty function.
    SignalHandler(int signal, std::function<void()> function);

    /// From now on, that the signal may come is enough to live for.
    void keep_alive() noexcept { watcher_.set_ref(true); }

 private:
    SignalWatcher watcher_;
};

}  // namespace green
