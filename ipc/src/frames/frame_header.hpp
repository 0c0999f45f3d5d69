#pragma once
// Bytes of a frame's header. Pure; docs/reference/frame.md is the same in prose.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include <green/errors.hpp>
#include <green/ipc/frame_stream.hpp>

namespace green::ipc {

struct FrameHeader {
    static constexpr std::size_t size = 16;
    /// Bytes of a payload that is sent from where it is; between pipes it goes over the socket.
    static constexpr std::size_t large = 32UL * 1024;
    static constexpr std::uint32_t magic = 0x31465347;  // "GSF1" in memory

    /// Of a schema's name, as a hello says it behind the schema's id. Whatever the limit, that
    /// fits.
    static constexpr std::size_t longest_name = 200;
    static constexpr std::size_t longest_hello = sizeof(std::uint64_t) + longest_name;

    std::uint32_t bytes = 0;  // of the payload
    std::uint16_t descriptors = 0;
    FrameKind kind = FrameKind::message;

    void write(std::span<std::byte, size> into) const noexcept {
        const std::uint32_t third = descriptors | static_cast<std::uint32_t>(kind) << 16;
        const std::uint32_t words[4] = {magic, bytes, third, ~(bytes ^ third)};
        std::memcpy(into.data(), words, size);
    }
    /// The size of a frame that is a payload and nothing else; nothing for any other, and for what
    /// is none.
    static std::optional<std::size_t> plain(std::span<const std::byte, size> from) noexcept {
        std::uint32_t words[4];
        std::memcpy(words, from.data(), size);
        if (words[0] != magic || words[2] != 0 || words[3] != ~words[1]) return std::nullopt;
        return words[1];
    }
    /// Throws ProtocolError for what no peer of ours sends, or for a payload over the limit.
    static FrameHeader read(std::span<const std::byte, size> from, std::size_t limit) {
        std::uint32_t words[4];
        std::memcpy(words, from.data(), size);
        if (words[0] != magic)
            throw ProtocolError("not a frame: the peer speaks something else, or lost step");
        if (words[3] != ~(words[1] ^ words[2]) ||
            words[2] >> 16 > static_cast<std::uint32_t>(FrameKind::end))
            throw ProtocolError("a damaged frame header");
        const auto kind = static_cast<FrameKind>(words[2] >> 16);
        const std::size_t most = kind == FrameKind::hello ? longest_hello : limit;
        if (words[1] > most) {
            throw ProtocolError("a frame of " + std::to_string(words[1]) + " bytes; the limit is " +
                                std::to_string(most));
        }
        if ((words[2] & 0xffff) > FrameStream::most_descriptors) {
            throw ProtocolError("a frame with " + std::to_string(words[2] & 0xffff) +
                                " descriptors; it takes " +
                                std::to_string(FrameStream::most_descriptors));
        }
        return {words[1], static_cast<std::uint16_t>(words[2]), kind};
    }
};

}  // namespace green::ipc
