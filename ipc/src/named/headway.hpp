#pragma once

#include <algorithm>

#include "ring/eagerness.hpp"

namespace green::ipc {

/// Lets the producers get ahead of a consumer that is as fast as they are. It would take each
/// message out of their hands, and both would wait for the lines between them more than they work.
///
/// Only where it has come to the end of what there is several times and still found something at
/// each look: one that finds nothing goes to sleep, and does not wait for anything here. And for a
/// part of what it has worked since, so that whoever waits for it waits little longer; but now and
/// then for as long as it takes to learn whether that is worth it.
class Headway {
 public:
    static constexpr unsigned pauses_each = 4;  // for each message since the last time
    static constexpr unsigned most = 512;       // pauses: some 10 microseconds
    static constexpr unsigned telling = 64;     // fewer are short for one that runs, too
    static constexpr unsigned most_ends_without = 1023;
    static constexpr unsigned ends_before = 2;

    /// Before a look for a message. Pauses by `pause()`, and asks `put()` how many there have been
    /// to learn whether that is worth it.
    template <class Put, class Pause>
    void keep(Put&& put, Pause&& pause) {
        if (!is_at_end_) [[likely]]
            return;
        is_at_end_ = false;
        unsigned pauses = std::min(pauses_each * since_end_, most);
        since_end_ = 0;
        if (!is_kept()) {
            ++ends_;
            return;
        }
        if (!eagerness_.tries()) return;
        // To ask pulls a line over, so it is not done each time; but then for as long as it tells.
        unjudged_ += pauses;
        const bool asks = unjudged_ >= telling;
        if (asks) pauses = std::max(pauses, telling);
        const auto before = asks ? put() : 0;
        for (unsigned i = 0; i < pauses; ++i) pause();
        if (!asks) return;
        unjudged_ = 0;
        put() != before ? eagerness_.was_worth_it() : eagerness_.was_in_vain(most_ends_without);
    }
    /// What the look has found. `is_last`: nothing stands behind it.
    void found(bool is_last) noexcept {
        since_end_ = std::min(since_end_ + 1, most);
        is_at_end_ = is_last;
    }
    void found_nothing() noexcept {
        is_at_end_ = false;
        since_end_ = ends_ = 0;
    }
    /// It comes to the end of what there is again and again.
    [[nodiscard]] bool is_kept() const noexcept { return ends_ == ends_before; }

 private:
    Eagerness eagerness_;
    bool is_at_end_ = false;
    unsigned since_end_ = 0;  // messages
    unsigned ends_ = 0;       // without a look that found nothing
    unsigned unjudged_ = 0;   // pauses
};

}  // namespace green::ipc
