#pragma once

#include <algorithm>
#include <chrono>

#include <green/deadline.hpp>

#include "ring/eagerness.hpp"

namespace green::ipc {

/// Whether one waits a little for the peer, awake, before one falls asleep: spins, or lets it have
/// the processor that both share.
class Patience {
 public:
    [[nodiscard]] bool tries() noexcept { return eagerness_.tries(); }
    /// `found`: there is something now, which is worth so long a wait.
    ///
    /// Who gives the processor away gets it back when nobody else wants it any more. That is soon
    /// where the peer answers and waits in its turn, and worth it where the peer fills the
    /// ring meanwhile; but with a third one there, who computes, it would be had sooner after a
    /// sleep.
    void ended(bool found, Duration worth, Duration took) noexcept {
        if (found && took <= soon) return eagerness_.was_worth_it();
        if (found && took <= soon + worth) return eagerness_.was_fair();
        // What is tried in vain costs each wait a microsecond in the long run, at most.
        const auto most = std::clamp<long>(static_cast<long>(took / per_wait), 63, 4095);
        eagerness_.was_in_vain(static_cast<unsigned>(most));
    }

 private:
    static constexpr std::chrono::microseconds soon{30};
    static constexpr std::chrono::nanoseconds per_wait{800};

    Eagerness eagerness_;
};

}  // namespace green::ipc
