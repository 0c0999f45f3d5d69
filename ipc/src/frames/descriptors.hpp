#pragma once
// Descriptors that travel over a Unix socket, beside bytes.

#include <cstddef>
#include <deque>
#include <span>

#include <green/fd.hpp>
#include <green/sys.hpp>

namespace green::ipc {

/// One sendmsg(2). The descriptors, at most FrameStream::most_descriptors and one, go with its
/// first byte: with all of them or with none. Borrows them.
[[nodiscard]] sys::Outcome send_with(int socket, std::span<const std::byte> bytes,
                                     std::span<const int> descriptors) noexcept;
/// One recvmsg(2). What came beside the bytes is owned before anything can fail, and stands behind
/// what is in `descriptors`. Throws ProtocolError when some of it was lost on the way.
[[nodiscard]] sys::Outcome receive_with(int socket, std::span<std::byte> bytes,
                                        std::deque<Fd>& descriptors);

}  // namespace green::ipc
