#pragma once
// What a member of a queue holds: plain values, meaning something to the engine alone.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace green::ipc {

/// What a producer knows a message by: a second put of the same id is accepted and dropped.
struct MessageId {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    /// One made of a text. Different texts have different ids, but for a chance of 1 in 2^64 among
    /// four thousand million of them; not against those who look for it.
    [[nodiscard]] static MessageId of(std::string_view text) noexcept;
    friend bool operator==(const MessageId&, const MessageId&) = default;
};

namespace shm {

/// A slot of ours and memory to build a message in.
struct Reservation {
    std::uint32_t slot = 0;
    std::uint64_t word = 0;       // the state word as we wrote it; 0: no reservation
    std::span<std::byte> memory;  // zeroed, 64-byte aligned; empty after release_extent()
    [[nodiscard]] explicit operator bool() const noexcept { return word != 0; }
};

/// A message in our hands.
struct Lease {
    std::uint32_t slot = 0;
    std::uint32_t pin = 0;
    std::uint64_t word = 0;  // the fence token: the LEASED state word; 0: no lease
    std::span<const std::byte> message;
    std::uint64_t sequence = 0;
    std::int64_t put_time = 0;
    [[nodiscard]] explicit operator bool() const noexcept { return word != 0; }
    [[nodiscard]] std::uint32_t deliveries() const noexcept;
};

}  // namespace shm

}  // namespace green::ipc
