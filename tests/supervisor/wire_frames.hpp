// Frames as they stand in a pipe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "frames/frame_header.hpp"

namespace greensup::test {

inline std::string frame(const std::string& payload, std::uint16_t descriptors = 0,
                         green::ipc::FrameKind kind = green::ipc::FrameKind::message) {
    std::array<std::byte, green::ipc::FrameHeader::size> header{};
    green::ipc::FrameHeader{static_cast<std::uint32_t>(payload.size()), descriptors, kind}.write(
        header);
    return std::string(reinterpret_cast<const char*>(header.data()), header.size()) + payload;
}

}  // namespace greensup::test
