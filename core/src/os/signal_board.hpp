#pragma once
// Who in this hub wants which signal.

#include <green/signals.hpp>

#include "loop/reactor.hpp"

namespace green::detail {

class SignalBoard {
 public:
    explicit SignalBoard(Reactor& reactor) noexcept : reactor_{&reactor} {}

    /// Throws std::system_error.
    void add(SignalSubscriber& subscriber);
    void remove(SignalSubscriber& subscriber) noexcept;
    void deliver(int signal) noexcept;

 private:
    [[nodiscard]] bool wanted(int signal) noexcept;

    Reactor* reactor_;
    IntrusiveList<SignalSubscriber> subscribers_;
};

}  // namespace green::detail
