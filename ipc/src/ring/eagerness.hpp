#pragma once

#include <algorithm>

namespace green::ipc {

/// Whether it is worth to wait a little for the peer, before a sleep or a look. What was in vain is
/// not done again soon.
class Eagerness {
 public:
    /// Left out so often at most.
    explicit Eagerness(unsigned most = 63) noexcept : most_{most} {}
    [[nodiscard]] bool spins(bool peer_is_here) noexcept {
        if (skip_ > 0) {
            --skip_;
            return false;
        }
        // While we spin on its processor it cannot do what we wait for; and to let it have that and
        // stay awake makes two switches of processes for a few messages, where a sleep makes two
        // for half a ring.
        return !peer_is_here;
    }
    void ended(bool rewarded) noexcept {
        pause_ = rewarded ? 0 : std::min(2 * pause_ + 1, most_);
        skip_ = pause_;
    }

 private:
    unsigned most_;
    unsigned pause_ = 0;
    unsigned skip_ = 0;  // until the next try
};

}  // namespace green::ipc
