#pragma once
// Payloads of frames, as text.

#include <cstddef>
#include <span>
#include <string>

#include <green/ipc/frame_stream.hpp>

namespace tests {

inline std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span{text});
}
inline std::string text_of(const green::ipc::Frame& frame) {
    return {reinterpret_cast<const char*>(frame.bytes().data()), frame.size};
}
// Differs from frame to frame, and within it, so that a lost step shows.
inline std::string pattern(std::size_t size, unsigned seed) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + seed) % 26);
    return text;
}

}  // namespace tests
