// Whatever a peer sends to a frame stream, in whatever pieces, with whatever descriptors: its
// reader gets frames within the limit, then the end or a ProtocolError, which stays.

#include <array>
#include <optional>
#include <sys/socket.h>
#include <unistd.h>

#include <green/errors.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/socket.hpp>

#include "frame_play.hpp"

using namespace green;
using ipc::Frame;
using ipc::FrameStream;

namespace {

constexpr std::size_t most_descriptors = 3;  // beside one piece
constexpr std::size_t limit = std::size_t{16} << 10;

class Stream {
 public:
    Stream() {
        auto [mine, theirs] = green::Stream::pair();
        peer_ = std::move(mine.fd());
        reader_.emplace(FrameStream{std::move(theirs.fd()), {limit}});
    }

    /// As the peer. What the socket has no room for is lost.
    void send(std::span<const std::byte> bytes, std::size_t descriptors) {
        if (bytes.empty()) return;
        iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        alignas(cmsghdr) char control[CMSG_SPACE(most_descriptors * sizeof(int))] = {};
        if (descriptors > 0) {
            message.msg_control = control;
            message.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
            cmsghdr* const head = CMSG_FIRSTHDR(&message);
            head->cmsg_level = SOL_SOCKET;
            head->cmsg_type = SCM_RIGHTS;
            head->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
            for (std::size_t i = 0; i < descriptors; ++i)
                std::memcpy(CMSG_DATA(head) + i * sizeof(int), &peer_own_, sizeof(int));
        }
        (void)::sendmsg(peer_.number(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    /// All frames that are there.
    void read() {
        while (!is_broken_) {
            try {
                const std::optional<Frame> frame = reader_->next(Deadline::passed());
                if (!frame) return;
                look_at(*frame);
            } catch (const ProtocolError&) {
                is_broken_ = true;
            }
        }
    }
    /// Until the end, which has to come.
    void read_to_the_end() {
        peer_.close();
        read();
        if (!is_broken_) return fuzz::expect(reader_->at_end(), "no end, and no error");
        try {
            (void)reader_->next(Deadline::passed());
            fuzz::expect(false, "a stream that has lost step went on");
        } catch (const ProtocolError&) {
        }
    }

 private:
    static void look_at(const Frame& frame) {
        fuzz::expect(frame.size <= limit, "a frame beyond the limit");
        fuzz::expect(frame.size <= frame.payload.size() * sizeof(capnp::word), "a cut payload");
        fuzz::read_all(std::as_bytes(frame.words()));
        for (const Fd& fd : frame.descriptors) fuzz::expect(fd.is_open(), "no descriptor");
    }

    Fd peer_;
    int peer_own_ = STDERR_FILENO;
    std::optional<FrameStream> reader_;
    bool is_broken_ = false;
};

void play(fuzz::Input input) {
    Stream stream;
    while (!input.empty()) {
        const std::uint32_t how = input.number<std::uint8_t>();
        const std::size_t descriptors = how % (most_descriptors + 1);
        if ((how & 4) != 0) {
            // As docs/reference/frame.md has it; what an honest peer sends is among them.
            const std::uint32_t size = input.number<std::uint16_t>();
            const std::uint32_t beside = input.number<std::uint8_t>() | (how >> 4 << 16);
            const std::array<std::uint32_t, 4> header{0x31465347, size, beside, ~(size ^ beside)};
            stream.send(std::as_bytes(std::span{header}), descriptors);
        } else {
            stream.send(input.bytes(input.below(256)), descriptors);
        }
        if ((how & 8) != 0) stream.read();
    }
    stream.read_to_the_end();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::play_frames(limit, play, data, size);
    return 0;
}
