#pragma once

#include <algorithm>
#include <cstdint>

#include "ring/eagerness.hpp"

namespace green::ipc::ring {

/// How long a reader that is faster than its writer pauses before a look, so that the writer gets
/// ahead. One that shares the reader's thread or processor cannot, and is not waited for.
class Distance {
 public:
    static constexpr unsigned most = 128;  // pauses: some microseconds

    /// Before a look. `found_little`: at the last one. Pauses by `pause()`, and asks `tail()` where
    /// the writer stands to learn whether that is worth it.
    template <class Tail, class Pause>
    void keep(bool found_little, Tail&& tail, Pause&& pause) {
        const unsigned pauses = next(found_little);
        // Fewer are short for a writer that runs, too.
        const bool asks = pauses == most;
        // What was put before the pauses says nothing about them.
        const std::uint64_t before = asks ? tail() : 0;
        for (unsigned i = 0; i < pauses; ++i) pause();
        if (!asks) return;
        tail() != before ? eagerness_.was_worth_it() : eagerness_.was_in_vain(1023);
    }

 private:
    [[nodiscard]] unsigned next(bool found_little) noexcept {
        // Which processor the writer is on it says only when it falls asleep: what happened tells.
        if (!eagerness_.tries()) return 0;
        if (found_little) {
            pauses_ = pauses_ == 0 ? 4 : std::min(2 * pauses_, most);
        } else {
            pauses_ /= 2;
        }
        return pauses_;
    }

    Eagerness eagerness_;
    unsigned pauses_ = 0;
};

}  // namespace green::ipc::ring
