#pragma once
// Who in this hub wants which signal.

#include <green/detail/signal_subscriber.hpp>

#include "loop/reactor.hpp"

namespace green::detail {

/// Throws std::system_error for a number that is no signal, or one that cannot be caught.
void check_catchable(int signal);

class SignalBoard {
 public:
    explicit SignalBoard(Reactor& reactor) noexcept : reactor_{&reactor} {}

    /// Throws std::system_error, and then nothing has changed.
    void add(SignalSubscriber& subscriber);
    void remove(SignalSubscriber& subscriber) noexcept;
    void deliver(int signal) noexcept;

 private:
    [[nodiscard]] bool wanted(int signal) noexcept;

    Reactor* reactor_;
    IntrusiveList<SignalSubscriber> subscribers_;
};

}  // namespace green::detail
