#pragma once
// Stream sockets, TCP and Unix. One greenlet may read while another writes; a second one that would
// have to wait in the same direction gets ConcurrentUse until the call of the first has ended, and
// the first is undisturbed.

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include <green/deadline.hpp>
#include <green/endpoint.hpp>
#include <green/fd.hpp>

namespace green {

/// A write that ended before its end, because the connection failed or (ETIMEDOUT) because its
/// limit passed. The peer can be in the middle of a message: the connection is of no more use,
/// except to know how far it came.
class WriteError final : public std::system_error {
 public:
    WriteError(int error, std::size_t written, const char* what)
        : std::system_error{error, std::system_category(), what}, written_{written} {}
    /// Bytes that the system took before it ended.
    [[nodiscard]] std::size_t written() const noexcept { return written_; }

 private:
    std::size_t written_;
};

/// A connected stream socket. TCP sends small writes at once (TCP_NODELAY).
/// Waiting calls throw std::system_error: EBADF when it is closed by another greenlet, ETIMEDOUT
/// once `deadline` has passed, else what the system says. With Deadline::passed() they do what can
/// be done at once and never switch: hub callbacks may do that. A kill or a timeout of the caller
/// leaves it usable, but a write that it interrupts has moved an unknown part.
class Stream {
 public:
    /// Takes a connected, non-blocking stream socket over.
    explicit Stream(Fd fd) noexcept : fd_{std::move(fd)} {}

    /// Connects. Switches.
    [[nodiscard]] static Stream connect(const Endpoint& to, Deadline deadline = Deadline::never());
    /// Two Unix sockets, connected to each other.
    [[nodiscard]] static std::pair<Stream, Stream> pair();

    /// Reads what is there, waiting until there is something. Switches, unless there is.
    /// Returns how many bytes; 0 is the end: the peer sends no more.
    [[nodiscard]] std::size_t read_some(std::span<std::byte> into,
                                        Deadline deadline = Deadline::never());
    [[nodiscard]] std::size_t read_some(std::span<char> into,
                                        Deadline deadline = Deadline::never()) {
        return read_some(std::as_writable_bytes(into), deadline);
    }

    /// Writes everything. Switches where the peer is slow. Throws WriteError.
    void write_all(std::span<const std::byte> bytes, Deadline deadline = Deadline::never());
    void write_all(std::string_view text, Deadline deadline = Deadline::never()) {
        write_all(std::as_bytes(std::span{text}), deadline);
    }
    /// The same for several pieces one after the other, with as few system calls as possible.
    void write_parts(std::span<const std::string_view> parts,
                     Deadline deadline = Deadline::never());
    void write_parts(std::initializer_list<std::string_view> parts,
                     Deadline deadline = Deadline::never()) {
        write_parts(std::span{parts.begin(), parts.size()}, deadline);
    }

    /// The peer reads the end after what was written; reading goes on.
    void shutdown_write();
    /// Wakes who waits, with EBADF. Silent when it is closed.
    void close() noexcept { fd_.close(); }

    [[nodiscard]] bool is_open() const noexcept { return fd_.is_open(); }
    [[nodiscard]] Endpoint peer() const;
    [[nodiscard]] Endpoint local() const;
    [[nodiscard]] Fd& fd() noexcept { return fd_; }

 private:
    friend class Listener;
    /// TCP's short reads prove that nothing is left, urgent data aside. Of a descriptor that was
    /// handed in it is asked when needed.
    enum class Kind : unsigned char { unknown, tcp, other };
    Stream(Fd fd, Kind kind) noexcept : fd_{std::move(fd)}, kind_{kind} {}
    [[nodiscard]] static Kind kind_of(const Endpoint& endpoint) noexcept;
    [[nodiscard]] bool is_tcp() noexcept;

    Fd fd_;
    Kind kind_ = Kind::unknown;
};

using TcpStream = Stream;
using UnixStream = Stream;

/// A listening stream socket, possibly shared with other processes: that one takes the connection
/// another one was woken for is normal.
class Listener {
 public:
    /// Binds and listens. The file of a Unix socket that nobody listens on any more is replaced; it
    /// stays when this is closed. Of several that bind a file at the same time, also in different
    /// processes, one succeeds and the others get EADDRINUSE at once: for that a file beside it,
    /// its name with ".greensup-binding", is there and locked (flock) meanwhile. Where that file
    /// cannot be made or locked, as when another user has left it, nothing is replaced. Throws
    /// std::system_error.
    [[nodiscard]] static Listener bind(const Endpoint& at, int backlog = 4096);
    /// Takes an inherited socket over and leaves its options as they are. Throws UsageError when it
    /// does not listen.
    [[nodiscard]] static Listener adopt(Fd fd);

    /// Waits for a connection. Switches, unless there is one.
    /// Throws std::system_error; EMFILE and the like pass by themselves: try again a little later.
    [[nodiscard]] Stream accept();
    /// The same, nothing once `deadline` has passed.
    [[nodiscard]] std::optional<Stream> accept_for(Deadline deadline);
    /// A connection if there is one. Never switches: hub callbacks may do that.
    [[nodiscard]] std::optional<Stream> try_accept() { return accept_for(Deadline::passed()); }

    void close() noexcept { fd_.close(); }
    [[nodiscard]] bool is_open() const noexcept { return fd_.is_open(); }
    /// Where it listens: with the port that the system chose.
    [[nodiscard]] Endpoint local() const;
    [[nodiscard]] Fd& fd() noexcept { return fd_; }

 private:
    Listener(Fd fd, Stream::Kind kind, bool sets_nodelay) noexcept
        : fd_{std::move(fd)}, kind_{kind}, sets_nodelay_{sets_nodelay} {}

    Fd fd_;
    Stream::Kind kind_;
    bool sets_nodelay_;  // connections do not inherit it from the listener
};

}  // namespace green
