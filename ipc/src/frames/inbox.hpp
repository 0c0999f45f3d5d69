#pragma once
// What has come over a socket and was not asked for yet: frames, and the begin of one.

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <span>

#include <green/fd.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/sys.hpp>

#include "frames/frame_header.hpp"

namespace green::ipc {

class Inbox {
 public:
    struct Arrived {
        FrameKind kind = FrameKind::message;
        Frame frame;
    };

    explicit Inbox(std::size_t limit) noexcept : limit_{limit} {}

    /// The first frame, if all of it is here. Throws ProtocolError for what is none, or too large.
    [[nodiscard]] std::optional<Arrived> take();
    /// Reads once. Returns what recvmsg(2) did. Throws ProtocolError.
    [[nodiscard]] sys::Outcome read_some(int socket);
    /// How many bytes of a frame are here, and how many it has as far as is known; 0 between two
    /// frames.
    struct Begun {
        std::size_t bytes;
        std::size_t of;
    };
    [[nodiscard]] Begun begun() const noexcept;

    /// For an end that travels: the bytes of the frame that has begun, and the descriptors.
    [[nodiscard]] std::vector<std::byte> bytes() const;
    [[nodiscard]] std::deque<Fd>& descriptors() noexcept { return arrived_; }
    /// For one that has travelled.
    void put_back(std::span<const std::byte> bytes);

 private:
    static constexpr std::size_t buffer_size = 64UL * 1024;

    /// A frame of which not all is here. What comes of it goes straight where it will be read.
    struct Partial {
        FrameHeader header;
        kj::Array<capnp::word> payload;
        std::size_t filled;
        [[nodiscard]] std::span<std::byte> rest() noexcept {
            return std::as_writable_bytes(std::span{payload.begin(), payload.size()})
                .subspan(filled, header.bytes - filled);
        }
    };

    [[nodiscard]] std::size_t buffered() const noexcept { return end_ - begin_; }
    [[nodiscard]] Arrived finish(const FrameHeader& header, kj::Array<capnp::word> payload);

    std::size_t limit_;
    std::unique_ptr<std::byte[]> buffer_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::optional<Partial> partial_;
    std::deque<Fd> arrived_;
};

}  // namespace green::ipc
