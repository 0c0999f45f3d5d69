#include "frames/descriptors.hpp"

#include <cstring>

#include <green/errors.hpp>
#include <green/ipc/frame_stream.hpp>

namespace green::ipc {
namespace {

// One more than a frame has: a large payload goes beside them.
constexpr std::size_t most_at_once = FrameStream::most_descriptors + 1;

union ControlBuffer {
    cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * most_at_once)];
};

void take(const msghdr& message, std::deque<Fd>& into) {
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

}  // namespace

sys::Outcome send_with(int socket, std::span<const std::byte> bytes,
                       std::span<const int> descriptors) noexcept {
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    ControlBuffer control{};
    if (!descriptors.empty()) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
    }
    return sys::sendmsg(socket, message);
}

sys::Outcome receive_with(int socket, std::span<std::byte> bytes, std::deque<Fd>& descriptors) {
    iovec part{bytes.data(), bytes.size()};
    ControlBuffer control;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const sys::Outcome got = sys::recvmsg(socket, message);
    if (got.ok()) take(message, descriptors);
    return got;
}

}  // namespace green::ipc
