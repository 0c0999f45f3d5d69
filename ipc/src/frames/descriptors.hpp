#pragma once
// Descriptors that travel over a Unix socket, beside bytes.

#include <array>
#include <cstddef>
#include <deque>
#include <span>

#include <green/deadline.hpp>
#include <green/event.hpp>
#include <green/fd.hpp>
#include <green/sys.hpp>

namespace green::ipc {

/// One sendmsg(2), of two pieces or of one. The descriptors, at most FrameStream::most_descriptors
/// and one, go with its first byte: with all of them or with none. Borrows them.
[[nodiscard]] sys::Outcome send_with(int socket,
                                     const std::array<std::span<const std::byte>, 2>& bytes,
                                     std::span<const int> descriptors) noexcept;
[[nodiscard]] inline sys::Outcome send_with(int socket, std::span<const std::byte> bytes,
                                            std::span<const int> descriptors) noexcept {
    return send_with(socket, std::array{bytes, std::span<const std::byte>{}}, descriptors);
}
/// One recvmsg(2), into the first piece and then the second. What came beside the bytes is owned
/// before anything can fail, and stands behind what is in `descriptors`. Throws ProtocolError when
/// some of it was lost on the way.
[[nodiscard]] sys::Outcome receive_with(int socket,
                                        const std::array<std::span<std::byte>, 2>& bytes,
                                        std::deque<Fd>& descriptors);
[[nodiscard]] inline sys::Outcome receive_with(int socket, std::span<std::byte> bytes,
                                               std::deque<Fd>& descriptors) {
    return receive_with(socket, std::array{bytes, std::span<std::byte>{}}, descriptors);
}

/// For who is told (ETOOMANYREFS) that too many descriptors of this user are on their way: nothing
/// tells when there are fewer. Waits a little, or until `closed` is set. Returns false once the
/// deadline has passed.
bool wait_for_fewer(Deadline deadline, Event* closed);
/// Ends the receiving of a socket, but not its sending. A peer that waits for room is told.
void refuse_more(int socket) noexcept;

}  // namespace green::ipc
