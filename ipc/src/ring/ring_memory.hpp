#pragma once
// The memory of a ring: made, taken over, checked and mapped.

#include <cstddef>

#include <green/fd.hpp>

#include "ring/ring_layout.hpp"

namespace green::ipc::ring {

/// The number of the one that this thread runs on now.
[[nodiscard]] std::uint64_t present_processor() noexcept;

/// A mapped ring, and the descriptor by which another process gets it.
class RingMemory {
 public:
    /// All of its memory is there when this returns, so that none is missing later, where it would
    /// be a SIGBUS. `capacity` is a power of two between smallest and largest. Throws
    /// std::system_error, UsageError for another capacity.
    [[nodiscard]] static RingMemory create(std::size_t capacity);
    /// Takes over what another process made. Throws std::system_error, and ProtocolError when it is
    /// no ring, or one that its maker could still cut off under our feet.
    [[nodiscard]] static RingMemory adopt(Fd fd);

    RingMemory(RingMemory&& other) noexcept;
    RingMemory& operator=(RingMemory&&) = delete;
    ~RingMemory();

    [[nodiscard]] Header& header() const noexcept { return *reinterpret_cast<Header*>(base_); }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    /// The place of an index; capacity() bytes from there on are in one piece.
    [[nodiscard]] std::byte* at(std::uint64_t index) const noexcept {
        return base_ + header_bytes + (index & (capacity_ - 1));
    }
    /// Where in the ring a payload stands that at() has given.
    [[nodiscard]] std::uint64_t offset_of(const std::byte* place) const noexcept {
        return static_cast<std::uint64_t>(place - base_ - header_bytes) & (capacity_ - 1);
    }
    [[nodiscard]] Fd& fd() noexcept { return fd_; }

 private:
    RingMemory(Fd fd, std::byte* base, std::size_t capacity) noexcept
        : fd_{std::move(fd)}, base_{base}, capacity_{capacity} {}

    Fd fd_;
    std::byte* base_;
    std::size_t capacity_;
};

}  // namespace green::ipc::ring
