#include <algorithm>
#include <cerrno>
#include <deque>
#include <string>
#include <utility>

#include <green/context.hpp>
#include <green/greenlet.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/lock.hpp>
#include <green/socket.hpp>
#include <green/sys.hpp>

#include "frame.hpp"

namespace green::ipc {
namespace {

using detail::Direction;
using detail::FdOperation;

constexpr std::size_t read_size = 16UL * 1024;

union ControlBuffer {
    cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * FrameStream::most_descriptors)];
};

/// A frame on its way out.
struct Outgoing {
    Outgoing(std::span<const std::byte> payload, std::span<const int> fds)
        : bytes(FrameHeader::size + payload.size()) {
        const FrameHeader header{static_cast<std::uint32_t>(payload.size()),
                                 static_cast<std::uint16_t>(fds.size())};
        header.write(std::span{bytes}.first<FrameHeader::size>());
        std::copy(payload.begin(), payload.end(), bytes.begin() + FrameHeader::size);
        // Copies: the frame may be finished after the caller has closed his.
        for (const int fd : fds)
            descriptors.emplace_back(static_cast<int>(sys::must(sys::dup(fd), "dup")));
    }
    [[nodiscard]] bool begun() const noexcept { return sent > 0; }
    [[nodiscard]] bool done() const noexcept { return sent == bytes.size(); }

    std::vector<std::byte> bytes;
    std::vector<Fd> descriptors;
    std::size_t sent = 0;
};

sys::Outcome send_once(int fd, const Outgoing& frame) noexcept {
    iovec part{const_cast<std::byte*>(frame.bytes.data()) + frame.sent,
               frame.bytes.size() - frame.sent};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    ControlBuffer control{};
    if (!frame.begun() && !frame.descriptors.empty()) {  // they travel with the first byte
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * frame.descriptors.size());
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * frame.descriptors.size());
        for (std::size_t i = 0; i < frame.descriptors.size(); ++i) {
            const int number = frame.descriptors[i].number();
            std::memcpy(CMSG_DATA(header) + i * sizeof(int), &number, sizeof(int));
        }
    }
    return sys::sendmsg(fd, message);
}

/// What arrived beside the bytes. All of it is owned before anything can fail.
void take_descriptors(const msghdr& message, std::deque<Fd>& into) {
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(const_cast<msghdr*>(&message), header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            into.emplace_back(fd);
        }
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0) {
        throw ProtocolError(
            "descriptors of a frame were lost on the way: too many, or none left in this process");
    }
}

/// Gives a permit back, however the scope is left.
struct Turn {
    explicit Turn(Semaphore& semaphore) noexcept : permits{&semaphore} {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { permits->release(); }
    Semaphore* permits;
};

}  // namespace

struct FrameStream::State : std::enable_shared_from_this<State> {
    State(Fd socket, std::size_t most) noexcept : fd{std::move(socket)}, limit{most} {}

    void check_open() const {
        if (!fd.is_open()) throw Closed("the frame stream is closed");
    }
    /// Sends until the frame is gone. Returns false when the deadline came first.
    bool send(Outgoing& frame, Deadline deadline);
    /// For a putter that goes before its frame is gone. Returns whether the frame had begun: then
    /// it is finished behind his back, or given up with the connection.
    bool leave(Outgoing frame);
    void finish();

    /// A complete frame from what was read, or how many bytes would make one.
    std::optional<Frame> take_frame(std::size_t& wanted);
    /// Reads once. Returns false when the deadline came first; throws at an end inside a frame.
    bool fill(std::size_t wanted, Deadline deadline);

    Fd fd;
    std::size_t limit;
    Semaphore writing{1};
    std::optional<Outgoing> unfinished;  // begun by a put() that has left
    Semaphore reading{1};
    std::vector<std::byte> inbox;
    std::size_t filled = 0;
    std::deque<Fd> arrived;
    bool end = false;
};

bool FrameStream::State::send(Outgoing& frame, Deadline deadline) {
    while (!frame.done()) {
        check_open();
        bool moved = false;
        for (FdOperation operation{fd, Direction::write, deadline}; operation.go();) {
            const sys::Outcome result = send_once(operation.number(), frame);
            if (result.would_block()) {
                operation.blocked();
                continue;
            }
            frame.sent += static_cast<std::size_t>(sys::must(result, "sending a frame"));
            moved = true;
            break;
        }
        if (!moved) return false;
    }
    return true;
}

bool FrameStream::State::leave(Outgoing frame) {
    if (!frame.begun()) return false;
    if (!fd.is_open()) return true;
    unfinished.emplace(std::move(frame));
    // The frame is the stream's now: no deadline of the one who left may cut it.
    const Context::Scope nobodys{Context{}};
    spawn([self = shared_from_this()] {
        self->writing.acquire();
        const Turn turn{self->writing};
        self->finish();
    });
    return true;
}

void FrameStream::State::finish() {
    if (!unfinished) return;
    try {
        send(*unfinished, Deadline::never());
    } catch (const std::exception&) {
        // The connection is broken, or closed: whoever uses it next is told by his own call.
    }
    unfinished.reset();
}

std::optional<Frame> FrameStream::State::take_frame(std::size_t& wanted) {
    wanted = FrameHeader::size;
    if (filled < wanted) return std::nullopt;
    const FrameHeader header =
        FrameHeader::read(std::span{inbox}.first<FrameHeader::size>(), limit);
    wanted += header.bytes;
    if (filled < wanted) return std::nullopt;
    if (arrived.size() < header.descriptors)
        throw ProtocolError("a frame without the descriptors that it announced");
    Frame frame;
    frame.size = header.bytes;
    frame.payload =
        kj::heapArray<capnp::word>((header.bytes + sizeof(capnp::word) - 1) / sizeof(capnp::word));
    if (header.bytes > 0) {
        std::memset(&frame.payload.back(), 0, sizeof(capnp::word));  // of which not all is sent
        std::memcpy(frame.payload.begin(), inbox.data() + FrameHeader::size, header.bytes);
    }
    for (std::size_t i = 0; i < header.descriptors; ++i) {
        frame.descriptors.push_back(std::move(arrived.front()));
        arrived.pop_front();
    }
    std::copy(inbox.begin() + static_cast<std::ptrdiff_t>(wanted),
              inbox.begin() + static_cast<std::ptrdiff_t>(filled), inbox.begin());
    filled -= wanted;
    return frame;
}

bool FrameStream::State::fill(std::size_t wanted, Deadline deadline) {
    if (inbox.size() < std::max(wanted, filled + read_size))
        inbox.resize(std::max(wanted, filled + read_size));
    for (FdOperation operation{fd, Direction::read, deadline}; operation.go();) {
        iovec part{inbox.data() + filled, inbox.size() - filled};
        ControlBuffer control;
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        const sys::Outcome got = sys::recvmsg(operation.number(), message);
        if (got.would_block()) {
            operation.blocked();
            continue;
        }
        // A peer that died with unread input of ours shows as a reset: an end like any other.
        const std::size_t size = got.error == ECONNRESET
                                     ? 0
                                     : static_cast<std::size_t>(sys::must(got, "reading a frame"));
        take_descriptors(message, arrived);
        filled += size;
        if (size > 0) return true;
        if (filled > 0) {
            throw ProtocolError("the peer left in the middle of a frame, after " +
                                std::to_string(filled) + " of " + std::to_string(wanted) +
                                " bytes");
        }
        end = true;
        return true;
    }
    return false;
}

FrameStream::FrameStream(Fd socket, std::size_t limit)
    : state_{std::make_shared<State>(std::move(socket), limit)} {}
FrameStream::FrameStream(FrameStream&&) noexcept = default;
FrameStream& FrameStream::operator=(FrameStream&& other) noexcept {
    close();
    state_ = std::move(other.state_);
    return *this;
}
FrameStream::~FrameStream() { close(); }

void FrameStream::close() noexcept {
    if (state_) state_->fd.close();
}
bool FrameStream::is_open() const noexcept { return state_ && state_->fd.is_open(); }
bool FrameStream::at_end() const noexcept { return state_->end; }

bool FrameStream::put(std::span<const std::byte> payload, std::span<const int> descriptors,
                      Deadline deadline) {
    const std::shared_ptr<State> state = state_;
    state->check_open();
    if (payload.size() > state->limit) {
        throw UsageError("a frame of " + std::to_string(payload.size()) + " bytes; the limit is " +
                         std::to_string(state->limit));
    }
    if (descriptors.size() > most_descriptors)
        throw UsageError("too many descriptors for one frame");
    Outgoing frame{payload, descriptors};
    if (!state->writing.acquire(deadline)) return false;
    const Turn turn{state->writing};
    if (state->unfinished) {
        if (!state->send(*state->unfinished, deadline)) return false;
        state->unfinished.reset();
    }
    try {
        if (state->send(frame, deadline)) return true;
    } catch (const Interrupt&) {
        state->leave(std::move(frame));
        throw;
    } catch (...) {  // a failed call, or a kill with a reason of its own: which one cannot be told
        state->leave(std::move(frame));
        state->check_open();  // closed under us: say that
        throw;
    }
    return state->leave(std::move(frame));
}

std::optional<Frame> FrameStream::next(Deadline deadline) {
    const std::shared_ptr<State> state = state_;
    if (!state->reading.acquire(deadline)) return std::nullopt;
    const Turn turn{state->reading};
    for (;;) {
        std::size_t wanted = 0;
        if (std::optional<Frame> frame = state->take_frame(wanted)) return frame;
        if (state->end) return std::nullopt;
        state->check_open();
        try {
            if (!state->fill(wanted, deadline)) return std::nullopt;
        } catch (const std::system_error&) {
            state->check_open();
            throw;
        }
    }
}

Frame FrameStream::get(Deadline deadline) {
    std::optional<Frame> frame = get_for(deadline);
    if (!frame) throw Timeout{0};
    return std::move(*frame);
}

std::optional<Frame> FrameStream::get_for(Deadline limit) {
    const std::shared_ptr<State> state = state_;
    std::optional<Frame> frame = next(limit);
    if (!frame && state->end) throw Closed("the other end of the stream was closed");
    return frame;
}

std::pair<FrameStream, FrameStream> frame_pair(std::size_t limit) {
    auto [a, b] = Stream::pair();
    return {FrameStream{std::move(a.fd()), limit}, FrameStream{std::move(b.fd()), limit}};
}

}  // namespace green::ipc
