#pragma once
// By what the players of a random schedule choose.

#include <chrono>
#include <cstdint>
#include <random>

#include <green/deadline.hpp>
#include <green/green.hpp>

namespace tests {

class Dice {
 protected:
    explicit Dice(std::uint64_t seed) : random_{seed} {}
    ~Dice() = default;

    int below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }
    bool maybe() { return below(2) == 0; }
    std::chrono::milliseconds some_time() { return std::chrono::milliseconds(below(5)); }
    green::Deadline limit() {
        return maybe() ? green::Deadline::never()
                       : green::Deadline{std::chrono::milliseconds(below(6))};
    }
    void pass_time() {
        if (maybe()) {
            green::yield();
        } else {
            green::sleep(some_time());
        }
    }
    /// Once; or twice, as far as the time for it goes.
    template <class Act>
    void once_or_twice(Act act) {
        if (below(3) == 0) {
            (void)green::with_timeout(some_time(), [&act] {
                act();
                act();
            });
        } else {
            act();
        }
    }

 private:
    std::mt19937_64 random_;
};

}  // namespace tests
