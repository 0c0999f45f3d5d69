#pragma once
// Two ends of frames that are joined in one of the ways there are.

#include <chrono>
#include <string>
#include <utility>

#include <green/ipc/frame_stream.hpp>
#include <green/socket.hpp>

#include "frame_texts.hpp"

namespace tests {

using Pair = std::pair<green::ipc::FrameStream, green::ipc::FrameStream>;
using MakePair = Pair (*)();

inline Pair over_pipes() { return green::ipc::frame_pair(); }
inline Pair over_socket(const green::ipc::StreamOptions& options) {
    auto [a, b] = green::Stream::pair();
    return {green::ipc::FrameStream{std::move(a.fd()), options},
            green::ipc::FrameStream{std::move(b.fd()), options}};
}
inline Pair over_a_socket() { return over_socket({}); }

/// Nothing waits for the end of a turn.
inline Pair uncoalesced() { return green::ipc::frame_pair({.coalesce = false}); }
inline Pair over_an_uncoalesced_socket() { return over_socket({.coalesce = false}); }
inline Pair in_memory() { return green::ipc::ring_pair(); }
inline Pair in_little_memory() { return green::ipc::ring_pair({.capacity = 4096}); }

/// Puts until nothing goes any more; returns how many.
inline int fill(green::ipc::FrameStream& end, const std::string& text) {
    int count = 0;
    while (end.put(bytes_of(text), {}, std::chrono::milliseconds(0))) ++count;
    return count;
}

}  // namespace tests
