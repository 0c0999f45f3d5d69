#pragma once
// Signals as values that a greenlet waits for. Several deliveries of one signal may come as one.
// A signal is watched by at most one hub of the process.

#include <bitset>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <green/deadline.hpp>
#include <green/detail/gets.hpp>
#include <green/detail/park.hpp>
#include <green/detail/signal_subscriber.hpp>
#include <green/world_watchers.hpp>

namespace green {

/// Collects signals from its construction on. Waiting for them does not keep the hub alive: a
/// process in which nothing but a signal could happen is deadlocked, unless it has ref(). When
/// nobody in the hub watches a signal any more, the process treats it as before; and so does a
/// forked child from its beginning.
class SignalSet final : private detail::SignalSubscriber {
 public:
    class Ready;

    /// Throws std::system_error for a number that cannot be caught (EINVAL), and for a signal that
    /// another hub watches (EBUSY).
    explicit SignalSet(std::initializer_list<int> signals);
    SignalSet(const SignalSet&) = delete;
    SignalSet& operator=(const SignalSet&) = delete;
    ~SignalSet();

    /// Whether waiting for these signals is enough to live for: not by itself.
    [[nodiscard]] bool ref() const noexcept { return ref_; }
    /// For waits that begin from now on.
    void set_ref(bool ref) noexcept { ref_ = ref; }

    /// Takes the oldest signal that has come, waiting for one. Switches, unless one is there.
    /// Returns nothing once `deadline` has passed. Throws ConcurrentUse when another greenlet does.
    std::optional<int> next(Deadline deadline = Deadline::never());

    /// `for (const int signal : signals)`: without an end.
    [[nodiscard]] auto begin() { return detail::ItemIterator<SignalSet, int>{*this}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
    [[nodiscard]] bool wants(int signal) const noexcept override;
    void on_signal(int signal) noexcept override;

    class Taker;
    std::bitset<65> wanted_;
    std::vector<int> pending_;
    Taker* taker_ = nullptr;
    detail::WaitList<Ready> waiters_;
    bool ref_ = false;
};

/// Waits until a signal has come, and takes nothing.
class SignalSet::Ready : public detail::WaitNode {
 public:
    explicit Ready(SignalSet& set) noexcept
        : WaitNode{set.ref_ ? detail::Reach::outside : detail::Reach::background}, set_{&set} {}
    bool arm() override {
        if (!set_->pending_.empty()) return true;
        set_->waiters_.push_back(*this);
        return false;
    }
    void describe(std::string& into) const override { into += "a signal"; }

 protected:
    SignalSet* set_;
};

/// Runs a function in a new greenlet for each delivery of a signal, until it is destroyed. By
/// itself it does not keep the hub alive.
class SignalHandler {
 public:
    /// Throws like SignalSet, and UsageError for an empty function.
    SignalHandler(int signal, std::function<void()> function);

    /// Whether it is enough to live for that the signal may come: not by itself.
    [[nodiscard]] bool ref() const noexcept { return watcher_.ref(); }
    void set_ref(bool ref) noexcept { watcher_.set_ref(ref); }

 private:
    SignalWatcher watcher_;
};

}  // namespace green
