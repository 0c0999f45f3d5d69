#pragma once

#include <algorithm>

#include "ring/eagerness.hpp"

namespace green::ipc::ring {

/// How long a reader that is faster than its writer pauses before a look, so that the writer gets
/// ahead. One that shares the reader's thread or processor cannot, and is not waited for.
class Distance {
 public:
    static constexpr unsigned most = 128;  // pauses: some microseconds

    /// Before the next look. `found_little`: at the last one.
    [[nodiscard]] unsigned pauses(bool found_little) noexcept {
        // Which processor the writer is on it says only when it falls asleep: what happened tells.
        if (!eagerness_.tries()) return 0;
        if (found_little) {
            pauses_ = pauses_ == 0 ? 4 : std::min(2 * pauses_, most);
        } else {
            pauses_ /= 2;
        }
        return pauses_;
    }
    /// After most of them, as fewer are short for a writer that runs, too: whether it has moved
    /// meanwhile.
    void paused(bool writer_moved) noexcept {
        writer_moved ? eagerness_.was_worth_it() : eagerness_.was_in_vain(1023);
    }

 private:
    Eagerness eagerness_;
    unsigned pauses_ = 0;
};

}  // namespace green::ipc::ring
