#pragma once

#include <atomic>
#include <cstdint>

#include <green/detail/home.hpp>

namespace green::detail {

/// How many threads and signal handlers are in the middle of a call. A forked child does not count
/// those that were so in its parent: they are not there, and would never leave.
class Callers {
 public:
    void enter() noexcept { change(1); }
    void leave() noexcept { change(-1); }
    [[nodiscard]] bool none() const noexcept {
        const Count all = all_;
        return all.number == 0 || !all.home.is_here();
    }

 private:
    struct Count {
        Home home;
        std::int32_t number = 0;
    };

    void change(std::int32_t by) noexcept {
        Count seen = all_;
        Count next;
        do {
            next = seen.home.is_here() ? seen : Count{};
            next.number += by;
        } while (!all_.compare_exchange_weak(seen, next));
    }

    static_assert(std::atomic<Count>::is_always_lock_free);
    std::atomic<Count> all_{Count{}};
};

}  // namespace green::detail
