#pragma once
// Frames on their way out over a socket: whole ones, in one piece of memory, and the rest of one
// that has begun.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include <green/fd.hpp>
#include <green/sys.hpp>

#include "frames/frame_header.hpp"

namespace green::ipc {

class Outbox {
 public:
    Outbox() noexcept = default;
    Outbox(Outbox&&) noexcept = default;
    Outbox& operator=(Outbox&&) = delete;

    /// Room for one more frame with so much payload, behind those that wait. It stays where it is
    /// until the next call of this, or of add().
    [[nodiscard]] std::byte* make_room(std::size_t payload);
    /// What was written there becomes a frame. The descriptors are copied: it may go after the
    /// caller has closed his. Throws std::system_error; nothing was added then.
    void add(const FrameHeader& header, std::span<const int> descriptors);
    /// The rest of a frame of which the first bytes have gone, in two pieces.
    void add_rest(std::span<const std::byte> first, std::span<const std::byte> second);
    /// Takes the last frame back. Returns false when it has begun to go.
    [[nodiscard]] bool take_back_last() noexcept;

    [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
    [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
    /// Once. What could be sent is gone from here. There must be something.
    [[nodiscard]] sys::Outcome send_some(int socket) noexcept;
    void drop() noexcept;
    /// What waits, in memory of its own: somebody may still write to the room that was made here.
    [[nodiscard]] Outbox take_all();

 private:
    /// They go with the first byte of their frame, and nothing before it.
    struct Attached {
        std::uint64_t at;  // as count_ will be
        std::vector<Fd> descriptors;
    };

    void need(std::size_t bytes);

    std::unique_ptr<std::byte[]> memory_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t last_ = 0;     // where the last frame begins
    std::uint64_t count_ = 0;  // of bytes that have gone
    std::deque<Attached> attached_;
};

}  // namespace green::ipc
