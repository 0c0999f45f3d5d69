#pragma once
// Whole messages over a stream socket, with descriptors beside them.
//
//  F1  A frame is a 16-byte header and a payload: docs/reference/frame.md.
//  F2  Frames are all or nothing. What a killed or timed-out put() had begun to send is finished
//  behind its back;
//      what it had not begun is never sent. Either way the next frame starts where a frame starts.
//  F3  A next() that is interrupted keeps what it has read for the next one.
//  F4  A length is checked against the limit before anything is allocated for it.
//  F5  The end between two frames is an end; the end inside one is ProtocolError.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <capnp/common.h>
#include <kj/array.h>

#include <green/deadline.hpp>
#include <green/fd.hpp>

namespace green::ipc {

/// What one frame carried. Owns its descriptors.
struct Frame {
    kj::Array<capnp::word> payload;  // aligned for reading in place
    std::size_t size = 0;            // bytes
    std::vector<Fd> descriptors;

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return std::as_bytes(words()).first(size);
    }
    [[nodiscard]] std::span<const capnp::word> words() const noexcept {
        return {payload.begin(), payload.size()};
    }
};

class FrameStream {
 public:
    static constexpr std::size_t default_limit = 64 << 20;  // bytes of one payload
    static constexpr std::size_t most_descriptors = 200;    // of one frame; the kernel allows 253

    /// Takes a connected, non-blocking stream socket. Descriptors can be passed over Unix sockets
    /// only.
    explicit FrameStream(Fd socket, std::size_t limit = default_limit);
    FrameStream(FrameStream&&) noexcept;
    FrameStream& operator=(FrameStream&&) noexcept;
    /// Closes it; frames that were not fully sent are lost.
    ~FrameStream();

    /// Sends one frame; returns when the system has all of it. Switches where the peer is slow.
    /// Several putters are served in turn; frames never mix. `descriptors` are borrowed.
    /// Returns false once `deadline` has passed before its first byte had gone: then nothing of it
    /// will be sent. Throws std::system_error (EPIPE: the peer is gone), UsageError for too large a
    /// frame, Closed after close().
    bool put(std::span<const std::byte> payload, std::span<const int> descriptors = {},
             Deadline deadline = Deadline::never());

    /// The next frame; nothing once `deadline` has passed, or at the end of the stream: at_end()
    /// tells which. Several are served in turn. Switches, unless one is there. Throws
    /// ProtocolError, std::system_error, Closed after close().
    std::optional<Frame> next(Deadline deadline = Deadline::never());
    /// As next(), for where the end is an error: throws Closed there, and a Timeout of its own once
    /// `deadline` has passed.
    Frame get(Deadline deadline = Deadline::never());
    /// The next frame if it comes before `limit` has passed. Throws as next(), and Closed at the
    /// end.
    std::optional<Frame> get_for(Deadline limit);
    /// The stream has come to its end: nothing more will be read.
    [[nodiscard]] bool at_end() const noexcept;

    /// Wakes all who wait, with Closed. Silent when closed.
    void close() noexcept;
    [[nodiscard]] bool is_open() const noexcept;

 private:
    struct State;
    std::shared_ptr<State> state_;  // shared with the greenlet that finishes what was begun
};

/// Two ends that are connected to each other.
[[nodiscard]] std::pair<FrameStream, FrameStream> frame_pair(
    std::size_t limit = FrameStream::default_limit);

}  // namespace green::ipc
