#pragma once
// Typed pipes between processes, or between greenlets: messages of a schema, whole or not at all.

#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <utility>

#include <green/detail/gets.hpp>
#include <green/ipc/message.hpp>

namespace green::ipc {

/// The end that sends Out and receives In. Move-only: the one who has it is the one who uses it.
/// All of FrameStream's promises hold, message by message.
template <class In, class Out>
class PipeEnd {
 public:
    explicit PipeEnd(FrameStream stream) noexcept : stream_{std::move(stream)} {}

    /// Sends a message that `build(Out::Builder)` fills. Switches where the peer is slow.
    /// Returns false once `deadline` has passed before its first byte had gone.
    template <class Build>
    requires std::invocable<Build, typename Out::Builder>
    bool put(Build&& build, Deadline deadline = Deadline::never()) {
        return ipc::put<Out>(stream_, std::forward<Build>(build), {}, deadline);
    }
    /// The next message; nothing once `deadline` has passed, or at the end: at_end() tells which.
    /// Switches, unless one is there.
    std::optional<Message<In>> next(Deadline deadline = Deadline::never()) {
        return ipc::next<In>(stream_, deadline);
    }
    /// As next(), for where the end is an error: throws Closed there, and a Timeout of its own once
    /// `deadline` has passed.
    Message<In> get(Deadline deadline = Deadline::never()) {
        return ipc::get<In>(stream_, deadline);
    }
    /// The next message if it comes before `limit` has passed. Throws Closed at the end.
    std::optional<Message<In>> get_for(Deadline limit) {
        std::optional<Frame> frame = stream_.get_for(limit);
        if (!frame) return std::nullopt;
        return Message<In>{std::move(*frame)};
    }
    /// `for (auto message : end)`: until the end.
    [[nodiscard]] auto begin() { return green::detail::ItemIterator<PipeEnd, Message<In>>{*this}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
    /// Nothing more will be read.
    [[nodiscard]] bool at_end() const noexcept { return stream_.at_end(); }

    /// Wakes who waits, with Closed; the other end reads the end. Silent when closed.
    void close() noexcept { stream_.close(); }
    [[nodiscard]] bool is_open() const noexcept { return stream_.is_open(); }
    [[nodiscard]] FrameStream& stream() noexcept { return stream_; }

 private:
    FrameStream stream_;
};

/// The end that only receives, or only sends.
template <class T>
class Reader : private PipeEnd<T, T> {
 public:
    using PipeEnd<T, T>::PipeEnd;
    using PipeEnd<T, T>::next, PipeEnd<T, T>::get, PipeEnd<T, T>::get_for, PipeEnd<T, T>::begin,
        PipeEnd<T, T>::end, PipeEnd<T, T>::at_end, PipeEnd<T, T>::close, PipeEnd<T, T>::is_open,
        PipeEnd<T, T>::stream;
};
template <class T>
class Writer : private PipeEnd<T, T> {
 public:
    using PipeEnd<T, T>::PipeEnd;
    using PipeEnd<T, T>::put, PipeEnd<T, T>::close, PipeEnd<T, T>::is_open, PipeEnd<T, T>::stream;
};

/// A pipe for one direction: auto [reader, writer] = pipe<Job>(). Throws std::system_error.
template <class T>
[[nodiscard]] std::pair<Reader<T>, Writer<T>> pipe() {
    auto [a, b] = frame_pair();
    return {Reader<T>{std::move(a)}, Writer<T>{std::move(b)}};
}

/// A pipe for both directions: the first end sends There and receives Back. Throws
/// std::system_error.
template <class There, class Back>
[[nodiscard]] std::pair<PipeEnd<Back, There>, PipeEnd<There, Back>> duplex_pipe() {
    auto [a, b] = frame_pair();
    return {PipeEnd<Back, There>{std::move(a)}, PipeEnd<There, Back>{std::move(b)}};
}

}  // namespace green::ipc
