#pragma once
// What the frames of a stream go over.

#include <optional>
#include <utility>

#include <green/fd.hpp>

namespace green::ipc {

/// A socket; or, between two ends of ours, a pipe for each direction, which costs half of it for
/// small frames. The socket carries then what a pipe cannot, or slower: descriptors, ahead of their
/// frame, and large payloads, behind their header.
struct Link {
    Fd socket;
    Fd in;  // these two only with pipes, and only until that direction is closed
    Fd out;
    bool has_pipes = false;

    void close() noexcept {
        socket.close();
        in.close();
        out.close();
    }
    /// All that is needed to send, for somebody else. Who waits here gets EBADF.
    [[nodiscard]] Link take_to_send() noexcept {
        in.close();
        return {Fd{socket.release()}, Fd{}, Fd{out.release()}, has_pipes};
    }
    /// Tells the peer that nothing follows: also where others have copies of this end.
    void end_output() noexcept;
    /// Tells the peer that nothing more is read.
    void refuse_input() noexcept;
};

/// Two that are connected to each other. Without pipes where the system has none for us, or has no
/// way to write to one that lost its reader and not to be sent a signal. Throws std::system_error.
[[nodiscard]] std::pair<Link, Link> make_links();

}  // namespace green::ipc
