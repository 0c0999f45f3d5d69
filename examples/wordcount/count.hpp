#pragma once

#include <cstdint>
#include <string_view>

struct Count {
    std::uint64_t lines = 0;
    std::uint64_t words = 0;
    std::uint64_t bytes = 0;
};

/// Counts as `LC_ALL=C wc` of GNU coreutils: lines are newlines; a word is what lies between white
/// space and holds at least one printable character.
[[nodiscard]] Count count(std::string_view text) noexcept;
