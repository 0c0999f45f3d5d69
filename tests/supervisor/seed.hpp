// Randomness that can be repeated: GREENSUP_SEED, or a fresh seed that a failing test prints.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>

namespace greensup::test {

class Random {
 public:
    Random() : Random(chosen_seed()) {}
    explicit Random(std::uint64_t seed) : seed_(seed), engine_(seed) {}

    [[nodiscard]] std::uint64_t seed() const { return seed_; }
    std::uint64_t bits() { return engine_(); }
    std::uint64_t below(std::uint64_t limit) { return engine_() % limit; }
    /// In [0,1).
    double chance() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }

 private:
    static std::uint64_t chosen_seed() {
        if (const char* text = std::getenv("GREENSUP_SEED")) return std::strtoull(text, nullptr, 0);
        return std::random_device{}();
    }

    std::uint64_t seed_;
    std::mt19937_64 engine_;
};

}  // namespace greensup::test
