#pragma once

#include <cstdint>

#include <green/deadline.hpp>

namespace green::sim {

/// The one source of chance of a simulated world: the same numbers for the same seed on every
/// machine and with every library (which the distributions of the standard do not promise).
class Random {
 public:
    explicit Random(std::uint64_t seed) noexcept : state_{seed} {}

    /// splitmix64: a counter, scrambled.
    std::uint64_t next() noexcept {
        state_ += 0x9e37'79b9'7f4a'7c15;
        return scrambled(state_);
    }
    /// From 0 up to, but without, `bound`, which is not 0.
    std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }
    std::uint64_t between(std::uint64_t least, std::uint64_t most) noexcept {
        return least >= most ? least : least + below(most - least + 1);
    }
    Duration between(Duration least, Duration most) noexcept {
        return Duration{static_cast<Duration::rep>(between(
            static_cast<std::uint64_t>(least.count()), static_cast<std::uint64_t>(most.count())))};
    }
    /// True in so many of a hundred cases. Draws nothing when it is none.
    bool chance(unsigned percent) noexcept { return percent != 0 && below(100) < percent; }

    [[nodiscard]] static constexpr std::uint64_t scrambled(std::uint64_t bits) noexcept {
        bits = (bits ^ bits >> 30) * 0xbf58'476d'1ce4'e5b9;
        bits = (bits ^ bits >> 27) * 0x94d0'49bb'1331'11eb;
        return bits ^ bits >> 31;
    }

 private:
    std::uint64_t state_;
};

}  // namespace green::sim
