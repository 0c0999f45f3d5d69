#pragma once
// Pipes between processes, or between greenlets: messages of a schema, values with a codec, or
// bytes, whole or not at all.

#include <iterator>
#include <optional>
#include <utility>

#include <green/detail/gets.hpp>
#include <green/ipc/codec.hpp>

namespace green::ipc {

/// The end that sends Out and receives In: Cap'n Proto types, Bytes, or types with a Codec.
/// Move-only: the one who has it is the one who uses it. All of FrameStream's promises hold,
/// message by message.
template <Carried In, Carried Out>
class PipeEnd {
    using Takes = detail::Carrier<In>;
    using Gives = detail::Carrier<Out>;

 public:
    using Received = typename Takes::Received;

    /// Throws ProtocolError for the end of a pipe that carries something else.
    explicit PipeEnd(FrameStream stream) : stream_{std::move(stream)} {
        stream_.expect(Gives::schema(), Takes::schema());
    }

    /// Sends one: for a Cap'n Proto type a function that fills it, `build(Out::Builder)` or, with
    /// descriptors, `build(Out::Builder, Attachments&)`; for Bytes a span of them; else a value.
    /// Switches where the peer is slow, and while others put.
    /// Returns false once `deadline` has passed before its first byte had gone. Throws as
    /// FrameStream::put(), and what `build` or the codec throws: nothing was sent then.
    template <class Message>
    requires requires(FrameStream& stream, Message&& message, Deadline deadline) {
        Gives::put(stream, std::forward<Message>(message), 0, deadline);
    }
    bool put(Message&& message, Deadline deadline = Deadline::never()) {
        return Gives::put(stream_, std::forward<Message>(message), usual_bytes, deadline);
    }
    /// The same for a message with about so many bytes of texts, data and lists: one that is known
    /// to be large is built in the place that it is sent from.
    template <class Message>
    requires requires(FrameStream& stream, Message&& message, Deadline deadline) {
        Gives::put(stream, std::forward<Message>(message), 0, deadline);
    }
    bool put(Message&& message, std::size_t bytes, Deadline deadline = Deadline::never()) {
        return Gives::put(stream_, std::forward<Message>(message), bytes, deadline);
    }
    /// As FrameStream::flush().
    bool flush(Deadline deadline = Deadline::never()) { return stream_.flush(deadline); }

    /// The next message; nothing once `deadline` has passed, or at the end: at_end() tells which.
    /// Switches, unless one is there. Throws as FrameStream::next(), ProtocolError when it is no
    /// such message, and what the codec throws.
    std::optional<Received> next(Deadline deadline = Deadline::never()) {
        return read(stream_.next(deadline));
    }
    /// As next(), for where the end is an error: throws Closed there, and a Timeout of its own once
    /// `deadline` has passed.
    Received get(Deadline deadline = Deadline::never()) {
        return Takes::read([&] { return stream_.get(deadline); });
    }
    /// The next message if it comes before `limit` has passed. Throws Closed at the end.
    std::optional<Received> get_for(Deadline limit) { return read(stream_.get_for(limit)); }
    /// `for (auto message : end)`: until the end.
    [[nodiscard]] auto begin() { return green::detail::ItemIterator<PipeEnd, Received>{*this}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
    /// Nothing more will be read.
    [[nodiscard]] bool at_end() const noexcept { return stream_.at_end(); }

    /// As those of FrameStream.
    void close() { stream_.close(); }
    void close_write() { stream_.close_write(); }
    void shutdown() noexcept { stream_.shutdown(); }
    [[nodiscard]] bool is_open() const noexcept { return stream_.is_open(); }
    [[nodiscard]] Parcel pack() && { return std::move(stream_).pack(); }
    [[nodiscard]] FrameStream& stream() noexcept { return stream_; }

 private:
    static std::optional<Received> read(std::optional<Frame> frame) {
        if (!frame) return std::nullopt;
        return Takes::read([&] { return std::move(*frame); });
    }

    FrameStream stream_;
};

/// The end that only receives, or only sends.
template <Carried T>
class Reader : private PipeEnd<T, T> {
    using End = PipeEnd<T, T>;

 public:
    using End::close, End::shutdown, End::is_open, End::stream;
    using End::End, typename End::Received;
    using End::next, End::get, End::get_for, End::begin, End::end, End::at_end;
    [[nodiscard]] Parcel pack() && { return std::move(static_cast<End&>(*this)).pack(); }
};
template <Carried T>
class Writer : private PipeEnd<T, T> {
    using End = PipeEnd<T, T>;

 public:
    using End::close, End::shutdown, End::is_open, End::stream;
    using End::End;
    using End::put, End::flush;
    [[nodiscard]] Parcel pack() && { return std::move(static_cast<End&>(*this)).pack(); }
};

/// A pipe for one direction, in memory that both ends share: auto [reader, writer] = pipe<Job>().
/// Throws std::system_error, UsageError for a capacity that is no power of two.
template <Carried T>
[[nodiscard]] std::pair<Reader<T>, Writer<T>> pipe(const RingOptions& options = {}) {
    auto [a, b] = ring_pipe(options);
    return {Reader<T>{std::move(a)}, Writer<T>{std::move(b)}};
}

/// A pipe for both directions: the first end sends There and receives Back. Throws as pipe().
template <Carried There, Carried Back>
[[nodiscard]] std::pair<PipeEnd<Back, There>, PipeEnd<There, Back>> duplex_pipe(
    const RingOptions& options = {}) {
    auto [a, b] = ring_pair(options);
    return {PipeEnd<Back, There>{std::move(a)}, PipeEnd<There, Back>{std::move(b)}};
}

}  // namespace green::ipc
