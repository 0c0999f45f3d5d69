#pragma once
// A message that has died in one queue and is kept in another: what is known of its death.
//
// In the slot stands `letter`: reason (8) | length of the source's name (16) | deliveries (8), the
// reason in the lowest bits, and the pids that died with it. Behind the message, at the next
// multiple of 8, stand the time of its put (8 bytes), its sequence number (8), and the name.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "slot.hpp"

namespace green::ipc::shm {

inline constexpr std::size_t longest_source = 255;

/// Views are lent by the segment that holds the message.
struct Letter {
    std::span<const std::byte> message;
    Reason reason = Reason::rejected;
    std::uint32_t deliveries = 0;
    std::array<std::uint64_t, 4> killers{};
    std::int64_t put_time = 0;
    std::uint64_t sequence = 0;  // in the queue where it died
    std::string_view source;     // that queue's name

    [[nodiscard]] std::uint64_t pack() const noexcept {
        return static_cast<std::uint64_t>(reason) |
               (static_cast<std::uint64_t>(source.size()) << 8) |
               (static_cast<std::uint64_t>(deliveries & 0xff) << 24);
    }
    [[nodiscard]] static std::size_t trailer_at(std::size_t message_size) noexcept {
        return (message_size + 7) / 8 * 8;
    }
    /// How many bytes a message becomes with its trailer.
    [[nodiscard]] static std::size_t size_with(std::size_t message_size,
                                               std::size_t name_size) noexcept {
        return trailer_at(message_size) + 16 + name_size;
    }
};

/// What became of a letter at the place where it was to be kept. `no_room`: not now. `goes_on`:
/// room is being made for it; try again soon.
enum class Kept : std::uint8_t { kept, no_room, too_large, goes_on };

/// The same with what it cost: how many messages were dropped for it, about.
struct Keeping {
    // NOLINTNEXTLINE(google-explicit-constructor): most cost nothing worth telling
    Keeping(Kept what, std::size_t drops = 0) noexcept : kept{what}, cost{drops} {}
    // NOLINTNEXTLINE(google-explicit-constructor)
    operator Kept() const noexcept { return kept; }
    Kept kept;
    std::size_t cost;
};

}  // namespace green::ipc::shm
