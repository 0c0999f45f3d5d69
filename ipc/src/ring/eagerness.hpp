#pragma once

#include <algorithm>

namespace green::ipc {

/// Whether it is worth to wait a little for the peer, before a sleep or a look. What was in vain is
/// not done again soon.
class Eagerness {
 public:
    [[nodiscard]] bool tries() noexcept {
        if (skip_ == 0) return true;
        --skip_;
        return false;
    }
    void was_worth_it() noexcept { pause_ = 0; }
    /// It may have been luck: it is left out half as often as before.
    void was_fair() noexcept { skip_ = pause_ /= 2; }
    /// It is left out twice as often as before, at most so often.
    void was_in_vain(unsigned most) noexcept { skip_ = pause_ = std::min(2 * pause_ + 1, most); }

 private:
    unsigned pause_ = 0;
    unsigned skip_ = 0;  // until the next try
};

}  // namespace green::ipc
