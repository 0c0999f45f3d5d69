#pragma once

#include <atomic>
#include <cstdint>

namespace green::detail {

/// A number that nothing else in this process has, never 0. Safe where an address is not: what
/// lives at an address now need not be what lived there when it was noted. A thread takes them in
/// blocks, so that they cost no locked instruction each.
[[nodiscard]] inline std::uint64_t next_identity() noexcept {
    constexpr std::uint64_t block = 1 << 20;
    static constinit std::atomic<std::uint64_t> blocks{0};
    static constinit thread_local std::uint64_t next = 0;
    if (next % block == 0) next = (blocks.fetch_add(1, std::memory_order_relaxed)) * block + 1;
    return next++;
}

}  // namespace green::detail
