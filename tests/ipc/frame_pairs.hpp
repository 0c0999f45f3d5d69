#pragma once
// Two ends of frames that are joined in one of the ways there are.

#include <utility>

#include <green/ipc/frame_stream.hpp>
#include <green/socket.hpp>

namespace tests {

using Pair = std::pair<green::ipc::FrameStream, green::ipc::FrameStream>;
using MakePair = Pair (*)();

inline Pair over_pipes() { return green::ipc::frame_pair(); }
inline Pair over_a_socket() {
    auto [a, b] = green::Stream::pair();
    return {green::ipc::FrameStream{std::move(a.fd())}, green::ipc::FrameStream{std::move(b.fd())}};
}

}  // namespace tests
