#pragma once
// What has come and was not asked for yet: frames, and the begin of one.

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <green/fd.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/sys.hpp>

#include "frames/frame_header.hpp"
#include "frames/link.hpp"

namespace green::ipc {

class Inbox {
 public:
    struct Arrived {
        FrameKind kind = FrameKind::message;
        Frame frame;
    };

    /// `apart`: over a link with pipes.
    Inbox(std::size_t limit, bool apart) noexcept : limit_{limit}, apart_{apart} {}

    /// The first frame, if all of it is here. Throws ProtocolError for what is none, or too large.
    [[nodiscard]] std::optional<Arrived> take(Link& link);
    /// The same for one that is small, and nothing but a payload: that is the short way.
    [[nodiscard]] bool take_plain(Frame& into);
    /// The descriptor over which the next of it comes.
    [[nodiscard]] Fd& next_over(Link& link) const noexcept {
        return apart_ && !partial_ ? link.in : link.socket;
    }
    /// Reads once from that. Returns what the system said. Throws ProtocolError.
    [[nodiscard]] sys::Outcome read_some(Link& link);
    /// How many bytes of a frame are here, and how many it has as far as is known; 0 between two
    /// frames.
    struct Begun {
        std::size_t bytes;
        std::size_t of;
    };
    [[nodiscard]] Begun begun() const;

    /// For an end that travels: the bytes that are here, the first ones of a frame that has begun,
    /// and the descriptors.
    struct Bytes {
        std::vector<std::byte> all;
        std::size_t begun;
    };
    [[nodiscard]] Bytes bytes() const;
    [[nodiscard]] std::deque<Fd>& descriptors() noexcept { return arrived_; }
    /// For one that has travelled. Throws ProtocolError for what bytes() does not give.
    void put_back(std::span<const std::byte> begun, std::span<const std::byte> behind);

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
    [[nodiscard]] FrameHeader header() const;
    void fetch_descriptors(int socket, std::size_t count);
    [[nodiscard]] Arrived finish(const FrameHeader& header, kj::Array<capnp::word> payload);

    std::size_t limit_;
    bool apart_;
    std::unique_ptr<std::byte[]> buffer_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::optional<Partial> partial_;
    std::deque<Fd> arrived_;
};

}  // namespace green::ipc
