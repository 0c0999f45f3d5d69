#pragma once
// Frames on their way out: whole ones, in one piece of memory, and the rest of one that has begun.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include <green/fd.hpp>
#include <green/sys.hpp>

#include "frames/frame_header.hpp"
#include "frames/link.hpp"

namespace green::ipc {

class Outbox {
 public:
    /// `apart`: over a link with pipes.
    explicit Outbox(bool apart) noexcept : apart_{apart} {}
    Outbox(Outbox&&) noexcept = default;
    Outbox& operator=(Outbox&&) = delete;

    /// Room for one more frame with so much payload, behind those that wait. It stays where it is
    /// until the next call of this, or of add().
    [[nodiscard]] std::byte* make_room(std::size_t payload);
    /// What was written there becomes a frame. The descriptors are copied: it may go after the
    /// caller has closed his. Throws std::system_error; nothing was added then.
    void add(const FrameHeader& header, std::span<const int> descriptors);
    /// The same for a header whose payload the caller will send.
    void add_header(const FrameHeader& header, std::span<const int> descriptors);
    /// The rest of a frame of which the first bytes have gone, in two pieces.
    void add_rest(std::span<const std::byte> first, std::span<const std::byte> second);
    /// Takes the last frame back. Returns false when it has begun to go.
    [[nodiscard]] bool take_back_last() noexcept;

    [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
    [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
    /// The descriptor over which the next of it goes.
    [[nodiscard]] Fd& next_over(Link& link) const noexcept;
    /// Once, over that. What could be sent is gone from here.
    [[nodiscard]] sys::Outcome send_some(Link& link) noexcept;
    void drop() noexcept;
    /// What waits, in memory of its own: somebody may still write to the room that was made here.
    [[nodiscard]] Outbox take_all();

 private:
    /// Where it is not bytes alone that go on. Positions are as count_ will be.
    struct Mark {
        std::uint64_t at;             // the first byte of a frame
        std::vector<Fd> descriptors;  // go with that byte, and nothing before it; or ahead of it
        std::uint64_t apart_from;     // what goes over the socket of a link with pipes
        std::uint64_t apart_to;
    };
    struct Step {
        bool over_socket;
        bool passes_descriptors;
        std::size_t bytes;
    };

    [[nodiscard]] Step next() const noexcept;
    void add(const FrameHeader& header) noexcept;
    void add_mark(std::span<const int> descriptors, std::size_t apart);
    void went(std::size_t bytes) noexcept;
    [[nodiscard]] sys::Outcome pass_descriptors(int socket, std::size_t bytes) noexcept;
    [[nodiscard]] std::uint64_t end_count() const noexcept { return count_ + size(); }
    void need(std::size_t bytes);

    std::unique_ptr<std::byte[]> memory_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t last_ = 0;                        // where the last frame begins
    std::uint64_t count_ = 0;                     // of bytes that have gone
    std::uint64_t ahead_of_ = ~std::uint64_t{0};  // the frame whose descriptors went last
    std::deque<Mark> marks_;
    bool apart_;
};

}  // namespace green::ipc
