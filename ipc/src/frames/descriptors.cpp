#include "frames/descriptors.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <green/errors.hpp>
#include <green/greenlet.hpp>
#include <green/ipc/frame_stream.hpp>

namespace green::ipc {
namespace {

// What the kernel passes at once, which is more than we send: a peer may be no friend.
constexpr std::size_t most_at_once = 253;
static_assert(FrameStream::most_descriptors + 1 <= most_at_once);

union ControlBuffer {
    cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * most_at_once)];
};

void take(const msghdr& message, std::deque<Fd>& into) {
    // Owned before anything can fail. The buffer is rounded up: it may hold one more.
    std::array<Fd, sizeof(ControlBuffer) / sizeof(int)> all;
    std::size_t owned = 0;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(const_cast<msghdr*>(&message), header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            all[owned++] = Fd{fd};
        }
    }
    for (std::size_t i = 0; i < owned; ++i) into.push_back(std::move(all[i]));
    if ((message.msg_flags & MSG_CTRUNC) != 0) {
        throw ProtocolError(
            "descriptors of a frame were lost on the way: too many, or none left in this process");
    }
}

/// Of those pieces that are not empty.
template <class Byte>
msghdr message_of(const std::array<std::span<Byte>, 2>& bytes, iovec (&parts)[2]) noexcept {
    msghdr message{};
    message.msg_iov = parts;
    for (const auto piece : bytes) {
        if (piece.empty()) continue;
        parts[message.msg_iovlen++] = {const_cast<std::byte*>(piece.data()), piece.size()};
    }
    return message;
}

}  // namespace

sys::Outcome send_with(int socket, const std::array<std::span<const std::byte>, 2>& bytes,
                       std::span<const int> descriptors) noexcept {
    iovec parts[2];
    msghdr message = message_of(bytes, parts);
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

sys::Outcome receive_with(int socket, const std::array<std::span<std::byte>, 2>& bytes,
                          std::deque<Fd>& descriptors) {
    iovec parts[2];
    ControlBuffer control;
    msghdr message = message_of(bytes, parts);
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const sys::Outcome got = sys::recvmsg(socket, message);
    if (got.ok() && (message.msg_controllen > 0 || (message.msg_flags & MSG_CTRUNC) != 0))
        take(message, descriptors);
    return got;
}

bool wait_for_fewer(Deadline deadline, Event* closed) {
    if (deadline.has_passed()) return false;
    const Deadline soon = std::min(deadline, Deadline{std::chrono::milliseconds{1}});
    if (closed != nullptr) {
        (void)closed->wait(soon);
    } else {
        sleep_until(soon.when());
    }
    return true;
}

// The peer's next call fails. One that waits for room would not be told of it, so it is given room.
void refuse_more(int socket) noexcept {
    if (!sys::shutdown(socket, SHUT_RD).ok()) return;
    char dropped[4096];  // descriptors too: the kernel closes what nobody asks for
    for (sys::Outcome got;
         (got = sys::recv(socket, dropped, sizeof dropped)).ok() && got.value > 0;) {
    }
}

}  // namespace green::ipc
