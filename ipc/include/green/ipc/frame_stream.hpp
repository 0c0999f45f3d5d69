#pragma once
// Whole messages from one end to the other, with descriptors beside them: over a stream socket, or
// over memory that both ends share.
//
//  F1  On a socket or a pipe a frame is a 16-byte header and a payload: docs/reference/frame.md. In
//      shared memory it is a record: docs/reference/ring.md.
//  F2  Frames are all or nothing. What a put() had begun to send that was killed, timed out or shut
//      down is finished behind its back; what it had not begun is never sent. Either way the next
//      frame starts where a frame starts. What a hub's end leaves of it goes with the next use.
//  F3  A next() that is interrupted keeps what it has read for the next one.
//  F4  A length is checked against the limit before anything is allocated for it.
//  F5  The end between two frames is an end; the end inside one is ProtocolError.
//  F6  Where a schema is expected, the first word of each side is the name of what it sends, and
//  another one is refused.
//  F7  An end belongs to one process. It goes to another one as a Parcel.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <capnp/common.h>
#include <kj/array.h>

#include <green/deadline.hpp>
#include <green/detail/counted.hpp>
#include <green/fd.hpp>

namespace green::ipc {

/// What one frame carried. Owns its descriptors. One that came through shared memory lies there
/// until it goes, which must be in the thread of its stream; and as room comes free in the order of
/// the frames, one that is kept stops its pipe sooner or later: keep() it.
struct Frame {
    kj::Array<capnp::word> payload;  // aligned for reading in place
    std::size_t size = 0;            // bytes; what is behind them means nothing
    std::vector<Fd> descriptors;

    /// Moves it to memory of its own. What was read in place before is gone. Throws std::bad_alloc.
    void keep() {
        auto copy = kj::heapArray<capnp::word>(payload.size());
        // Words cannot be assigned, as clang's library has it.
        if (copy.size() > 0)
            std::memcpy(copy.begin(), payload.begin(), copy.size() * sizeof(capnp::word));
        payload = std::move(copy);
    }

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return std::as_bytes(words()).first(size);
    }
    [[nodiscard]] std::span<const capnp::word> words() const noexcept {
        return {payload.begin(), payload.size()};
    }
};

/// What frames hold: the id of a Cap'n Proto type, or any other number that two programs agree on,
/// and its name, for error messages. The id 0 fits anything.
struct Schema {
    std::uint64_t id = 0;
    std::string name;
};

enum class FrameKind : std::uint8_t {
    message,
    hello,  // the schema of what follows
    end,    // nothing follows
};

/// An end while it travels to another process: all that it is made of. Dropping it closes the end.
struct Parcel {
    std::vector<std::byte> bytes;
    std::vector<Fd> descriptors;
};

class FrameTransport;

/// A frame that is built where it will be sent from. Dropping it without put() leaves no trace.
/// While it is there, others who put on its stream wait: its own greenlet would wait for itself.
class FrameDraft {
 public:
    FrameDraft(FrameDraft&& other) noexcept
        : transport_{std::exchange(other.transport_, nullptr)},
          memory_{other.memory_},
          is_zeroed_{other.is_zeroed_} {}
    FrameDraft& operator=(FrameDraft&&) = delete;
    ~FrameDraft() {
        if (transport_ != nullptr) give_up();
    }

    /// At least as many bytes as were asked for, aligned for Cap'n Proto. What is in them is left
    /// over from others, unless is_zeroed().
    [[nodiscard]] std::span<std::byte> memory() const noexcept { return memory_; }
    /// It was made with zeros in it, for a FrameBuilder, which leaves zeros behind what it puts.
    [[nodiscard]] bool is_zeroed() const noexcept { return is_zeroed_; }
    /// The peer has this memory too, in which what others have left is nothing new to it.
    [[nodiscard]] bool is_shared() const noexcept;
    /// Sends the first `size` bytes of it. As FrameStream::put(); call it once.
    bool put(std::size_t size, std::span<const int> descriptors = {},
             Deadline deadline = Deadline::never());

    /// Gives its memory back and sends this instead, after a wait for room of its own. As put().
    bool put_instead(std::span<const std::byte> payload, std::span<const int> descriptors = {},
                     Deadline deadline = Deadline::never());

 private:
    friend class FrameTransport;
    /// Takes over a reference and the turn to write.
    FrameDraft(FrameTransport& transport, std::span<std::byte> memory, bool is_zeroed) noexcept
        : transport_{&transport}, memory_{memory}, is_zeroed_{is_zeroed} {}
    void give_up() noexcept;

    FrameTransport* transport_;  // nullptr once it was put
    std::span<std::byte> memory_;
    bool is_zeroed_;
};

/// How two ends share memory.
struct RingOptions {
    /// Bytes for each direction; a power of two. Between two processors a ring is fast if it is
    /// larger than a processor's own cache: docs/explanation/pipes.md.
    std::size_t capacity = std::size_t{2} << 20;
    std::size_t limit = std::size_t{64} << 20;  // bytes of one payload
};

/// How frames go through the kernel.
struct StreamOptions {
    std::size_t limit = std::size_t{64} << 20;  // bytes of one payload
    /// What is put in one turn of the hub goes together, at its end: put() returns before. The
    /// first frame of a turn goes at once all the same. Without it put() returns when the system
    /// has all of its frame.
    bool coalesce = true;
    /// close() and shutdown() tell the peer the end at once, whoever else has a copy of this end:
    /// as close_write() does.
    bool tells_close = false;
};

class FrameStream {
 public:
    static constexpr std::size_t default_limit = 64 << 20;  // bytes of one payload
    static constexpr std::size_t most_descriptors = 200;    // of one frame; the kernel allows 253

    /// Takes a connected, non-blocking stream socket. Descriptors can be passed over Unix sockets
    /// only.
    explicit FrameStream(Fd socket, const StreamOptions& options = {});
    /// For the library's own ways of travelling.
    explicit FrameStream(green::detail::CountedPtr<FrameTransport> transport) noexcept;
    FrameStream(FrameStream&&) noexcept;
    FrameStream& operator=(FrameStream&&) noexcept;
    /// As shutdown().
    ~FrameStream();

    /// Sends one frame; returns when the system has all of it, or, where frames are coalesced, when
    /// they will go without the caller: those of one that has died in the meantime are lost, and
    /// what goes wrong with them is thrown by the next call. Switches where the peer is slow.
    /// Several putters are served in turn; frames never mix. `descriptors` are borrowed.
    /// Returns false once `deadline` has passed before its first byte had gone: then nothing of it
    /// will be sent. Throws std::system_error (EPIPE: the peer is gone), UsageError for too large a
    /// frame or an end that only receives, Closed after close(), WrongProcess.
    bool put(std::span<const std::byte> payload, std::span<const int> descriptors = {},
             Deadline deadline = Deadline::never());

    /// Until the system has all that was put. Switches where the peer is slow. Returns false once
    /// `deadline` has passed. Throws as put().
    bool flush(Deadline deadline = Deadline::never());

    /// Room for a frame of up to so many bytes. Switches where there is none, and while others put.
    /// Returns nothing once `deadline` has passed. Throws as put().
    std::optional<FrameDraft> prepare(std::size_t bytes, Deadline deadline = Deadline::never());

    /// The next frame; nothing once `deadline` has passed, or at the end of the stream: at_end()
    /// tells which. Several are served in turn. Switches, unless one is there. Throws
    /// ProtocolError, std::system_error, UsageError for an end that only sends, Closed after
    /// close(), WrongProcess.
    std::optional<Frame> next(Deadline deadline = Deadline::never());
    /// As next(), for where the end is an error: throws Closed there, and a Timeout of its own once
    /// `deadline` has passed.
    Frame get(Deadline deadline = Deadline::never());
    /// The next frame if it comes before `limit` has passed. Throws as next(), and Closed at the
    /// end.
    std::optional<Frame> get_for(Deadline limit);
    /// The stream has come to its end: nothing more will be read.
    [[nodiscard]] bool at_end() const noexcept;

    /// From now on the first word of each side is its schema. For who has not said or heard it yet,
    /// before the first put() and next(), which throw ProtocolError when the peer sends something
    /// else than `receives`, or has not said. For an end that has
    /// travelled, what was said before holds: throws ProtocolError when that was something else.
    void expect(const Schema& sends, const Schema& receives);

    /// Closes it. Throws Closed when it is closed already, WrongProcess in another process than its
    /// own; and ConcurrentUse while a greenlet is in put() or next(), or holds a FrameDraft: then
    /// nothing of that direction is closed, but the other one is, save with tells_close: then
    /// nothing is. What waits to be sent is sent afterwards, as long as the hub lives.
    void close();
    /// Nothing more will be sent; the peer reads the end, and next() goes on. Holds for each copy
    /// of this end, in other processes too. Throws as close().
    void close_write();
    /// Closes it whoever uses it: wakes all who wait, with Closed. Silent when closed. See F2.
    void shutdown() noexcept;
    [[nodiscard]] bool is_open() const noexcept;
    /// Bytes of one payload.
    [[nodiscard]] std::size_t limit() const;

    /// Makes a parcel of it, for another process; this object is closed then, silently. In a forked
    /// child it may be called for what the parent had when it forked: each process then has an end,
    /// and only one of them should use it. Throws ConcurrentUse as close(), UsageError while a
    /// frame that was received still lies in the memory that the ends share, or while not all that
    /// was put is sent (flush() it), Closed.
    [[nodiscard]] Parcel pack() &&;
    /// The end that a parcel was made of. Throws ProtocolError when it is damaged,
    /// std::system_error.
    [[nodiscard]] static FrameStream unpack(Parcel parcel);

 private:
    friend class FrameBuilder;
    /// As prepare(), but zeroed, which costs less here than there. Its taker leaves zeros behind
    /// the bytes that he puts.
    std::optional<FrameDraft> prepare_zeroed(std::size_t bytes, Deadline deadline);

    // Shared with frames that lie in it, and with the greenlet that finishes what was begun.
    green::detail::CountedPtr<FrameTransport> transport_;
};

/// Two ends that are connected to each other by a socket, and where the system allows it by a pipe
/// for each direction, for small frames. Throws std::system_error.
[[nodiscard]] std::pair<FrameStream, FrameStream> frame_pair(const StreamOptions& options = {});
/// Two ends that share memory: a ring for each direction, and a socket for descriptors, for frames
/// that are larger than half a ring, and for the end. For ends that trust
/// each other: one that writes nonsense into the memory on purpose can stop or crash the other. Who
/// does not trust his peer takes a socket. Throws std::system_error, UsageError for a capacity that
/// is no power of two.
[[nodiscard]] std::pair<FrameStream, FrameStream> ring_pair(const RingOptions& options = {});
/// The same for one direction: the first end receives, the second one sends, and using one for the
/// other throws UsageError.
[[nodiscard]] std::pair<FrameStream, FrameStream> ring_pipe(const RingOptions& options = {});

}  // namespace green::ipc
