#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <green/context.hpp>
#include <green/greenlet.hpp>
#include <green/socket.hpp>
#include <green/sys.hpp>

#include "frames/descriptors.hpp"
#include "frames/frame_header.hpp"
#include "frames/transport.hpp"
#include "frames/turn.hpp"

namespace green::ipc {
namespace {

using detail::Direction;
using detail::FdOperation;

constexpr std::size_t read_size = 16UL * 1024;

/// A frame on its way out: a header, and a payload that is filled in before the header is.
class Outgoing {
 public:
    Outgoing() noexcept = default;
    /// Room for so much payload. What was there is gone.
    std::byte* make_room(std::size_t bytes) {
        const std::size_t needed = FrameHeader::size + bytes;
        if (needed > capacity_) {
            memory_.reset(new std::byte[needed]);
            capacity_ = needed;
        }
        return memory_.get() + FrameHeader::size;
    }
    void begin(std::size_t payload, std::span<const int> fds) {
        const FrameHeader header{static_cast<std::uint32_t>(payload),
                                 static_cast<std::uint16_t>(fds.size())};
        header.write(std::span<std::byte, FrameHeader::size>{memory_.get(), FrameHeader::size});
        size_ = FrameHeader::size + payload;
        sent_ = 0;
        descriptors_.clear();
        // Copies: the frame may be finished after the caller has closed his.
        for (const int fd : fds)
            descriptors_.emplace_back(static_cast<int>(sys::must(sys::dup(fd), "dup")));
    }
    [[nodiscard]] bool begun() const noexcept { return sent_ > 0; }
    [[nodiscard]] bool done() const noexcept { return sent_ == size_; }
    void has_sent(std::size_t bytes) noexcept {
        sent_ += bytes;
        descriptors_.clear();  // they went with the first byte
    }
    [[nodiscard]] std::span<const std::byte> rest() const noexcept {
        return {memory_.get() + sent_, size_ - sent_};
    }
    [[nodiscard]] std::span<const Fd> descriptors() const noexcept { return descriptors_; }

 private:
    std::unique_ptr<std::byte[]> memory_;
    std::size_t capacity_ = 0;
    std::size_t size_ = 0;
    std::size_t sent_ = 0;
    std::vector<Fd> descriptors_;
};

sys::Outcome send_once(int socket, const Outgoing& frame) noexcept {
    int numbers[FrameStream::most_descriptors];
    std::size_t count = 0;
    for (const Fd& fd : frame.descriptors()) numbers[count++] = fd.number();
    return send_with(socket, frame.rest(), {numbers, count});
}

class StreamTransport final : public FrameTransport {
 public:
    StreamTransport(Fd socket, std::size_t limit) noexcept
        : FrameTransport{limit}, fd_{std::move(socket)} {}

    void close() noexcept override { fd_.close(); }
    [[nodiscard]] bool is_open() const noexcept override { return fd_.is_open(); }

 private:
    std::byte* make_room(std::size_t bytes, Deadline deadline) override;
    bool send(std::size_t bytes, std::span<const int> descriptors, Deadline deadline) override;
    std::optional<Frame> receive(Deadline deadline) override;

    /// Sends until the frame is gone. Returns false when the deadline came first.
    bool push(Deadline deadline);
    /// For a putter that goes before its frame is gone. Returns whether the frame had begun: then
    /// it is finished behind his back, or given up with the connection.
    bool leave();
    void finish_unfinished();

    /// A complete frame from what was read, or how many bytes would make one.
    std::optional<Frame> take_frame(std::size_t& wanted);
    /// Reads once. Returns false when the deadline came first; throws at an end inside a frame.
    bool fill(std::size_t wanted, Deadline deadline);

    Fd fd_;
    Outgoing outgoing_;
    bool unfinished_ = false;  // begun by a put() that has left
    std::vector<std::byte> inbox_;
    std::size_t filled_ = 0;
    std::deque<Fd> arrived_;
};

bool StreamTransport::push(Deadline deadline) {
    while (!outgoing_.done()) {
        check_open();
        bool moved = false;
        for (FdOperation operation{fd_, Direction::write, deadline}; operation.go();) {
            const sys::Outcome result = send_once(operation.number(), outgoing_);
            if (result.would_block()) {
                operation.blocked();
                continue;
            }
            outgoing_.has_sent(static_cast<std::size_t>(sys::must(result, "sending a frame")));
            moved = true;
            break;
        }
        if (!moved) return false;
    }
    return true;
}

bool StreamTransport::leave() {
    if (!outgoing_.begun()) return false;
    if (!fd_.is_open()) return true;
    unfinished_ = true;
    // The frame is the stream's now: no deadline of the one who left may cut it.
    const Context::Scope nobodys{Context{}};
    retain();
    spawn([self = detail::CountedPtr<StreamTransport>{this}] {
        self->writing().acquire();
        const Turn turn{self->writing()};
        self->finish_unfinished();
    });
    return true;
}

void StreamTransport::finish_unfinished() {
    if (!unfinished_) return;
    try {
        push(Deadline::never());
    } catch (const std::exception&) {
        // The connection is broken, or closed: whoever uses it next is told by his own call.
    }
    unfinished_ = false;
}

std::byte* StreamTransport::make_room(std::size_t bytes, Deadline deadline) {
    if (unfinished_) {
        if (!push(deadline)) return nullptr;
        unfinished_ = false;
    }
    return outgoing_.make_room(bytes);
}

bool StreamTransport::send(std::size_t bytes, std::span<const int> descriptors, Deadline deadline) {
    outgoing_.begin(bytes, descriptors);
    try {
        if (push(deadline)) return true;
    } catch (...) {  // an interrupt, a failed call, a kill with a reason of its own
        leave();
        throw;
    }
    return leave();
}

std::optional<Frame> StreamTransport::take_frame(std::size_t& wanted) {
    wanted = FrameHeader::size;
    if (filled_ < wanted) return std::nullopt;
    const FrameHeader header =
        FrameHeader::read(std::span{inbox_}.first<FrameHeader::size>(), limit());
    wanted += header.bytes;
    if (filled_ < wanted) return std::nullopt;
    if (arrived_.size() < header.descriptors)
        throw ProtocolError("a frame without the descriptors that it announced");
    Frame frame;
    frame.size = header.bytes;
    frame.payload =
        kj::heapArray<capnp::word>((header.bytes + sizeof(capnp::word) - 1) / sizeof(capnp::word));
    if (header.bytes > 0) {
        std::memset(&frame.payload.back(), 0, sizeof(capnp::word));  // of which not all is sent
        std::memcpy(frame.payload.begin(), inbox_.data() + FrameHeader::size, header.bytes);
    }
    for (std::size_t i = 0; i < header.descriptors; ++i) {
        frame.descriptors.push_back(std::move(arrived_.front()));
        arrived_.pop_front();
    }
    std::copy(inbox_.begin() + static_cast<std::ptrdiff_t>(wanted),
              inbox_.begin() + static_cast<std::ptrdiff_t>(filled_), inbox_.begin());
    filled_ -= wanted;
    return frame;
}

bool StreamTransport::fill(std::size_t wanted, Deadline deadline) {
    if (inbox_.size() < std::max(wanted, filled_ + read_size))
        inbox_.resize(std::max(wanted, filled_ + read_size));
    for (FdOperation operation{fd_, Direction::read, deadline}; operation.go();) {
        const sys::Outcome got =
            receive_with(operation.number(), std::span{inbox_}.subspan(filled_), arrived_);
        if (got.would_block()) {
            operation.blocked();
            continue;
        }
        // A peer that died with unread input of ours shows as a reset: an end like any other.
        const std::size_t size = got.error == ECONNRESET
                                     ? 0
                                     : static_cast<std::size_t>(sys::must(got, "reading a frame"));
        filled_ += size;
        if (size > 0) return true;
        if (filled_ > 0) {
            throw ProtocolError("the peer left in the middle of a frame, after " +
                                std::to_string(filled_) + " of " + std::to_string(wanted) +
                                " bytes");
        }
        came_to_end();
        return true;
    }
    return false;
}

std::optional<Frame> StreamTransport::receive(Deadline deadline) {
    for (;;) {
        std::size_t wanted = 0;
        if (std::optional<Frame> frame = take_frame(wanted)) return frame;
        if (at_end()) return std::nullopt;
        check_open();
        if (!fill(wanted, deadline)) return std::nullopt;
    }
}

}  // namespace

FrameStream::FrameStream(Fd socket, std::size_t limit)
    : transport_{new StreamTransport{std::move(socket), limit}} {}

std::pair<FrameStream, FrameStream> frame_pair(std::size_t limit) {
    auto [a, b] = Stream::pair();
    return {FrameStream{std::move(a.fd()), limit}, FrameStream{std::move(b.fd()), limit}};
}

}  // namespace green::ipc
