#pragma once

namespace green::sim {

/// What a socket, or an end of a connection, says of those who would have the same address.
struct Sharing {
    bool address = false;  // SO_REUSEADDR
    bool port = false;     // SO_REUSEPORT

    friend bool operator==(const Sharing&, const Sharing&) = default;
};

/// Both must say so. With SO_REUSEADDR alone nobody comes beside one who listens.
[[nodiscard]] constexpr bool may_share(Sharing one, Sharing other, bool other_listens) noexcept {
    return (one.port && other.port) || (one.address && other.address && !other_listens);
}

}  // namespace green::sim
