#pragma once
// What a pipe of T carries, and how a T becomes a frame.

#include <concepts>
#include <cstddef>
#include <cstring>
#include <functional>
#include <ranges>
#include <span>
#include <utility>

#include <capnp/schema.h>

#include <green/ipc/message.hpp>

namespace green::ipc {

/// Bytes as they are: pipe<Bytes>().
struct Bytes {};

/// For types that are not Cap'n Proto's. A specialisation gives three static functions:
///
///     template <>
///     struct green::ipc::Codec<Reading> {
///         static green::ipc::Schema schema();                      // an id that both sides know
///         static std::string encode(const Reading& reading);       // or anything else of bytes
///         static Reading decode(std::span<const std::byte> bytes);
///     };
///
/// What encode() throws leaves the pipe as it was; what decode() throws comes out of get(), and the
/// frame is gone.
template <class T>
struct Codec;

template <class T>
concept CapnpStruct = requires {
    typename T::Builder;
    typename T::Reader;
};
template <class T>
concept HasCodec = requires(const T& value, std::span<const std::byte> bytes) {
    { Codec<T>::schema() } -> std::convertible_to<Schema>;
    requires std::ranges::contiguous_range<decltype(Codec<T>::encode(value))>;
    { Codec<T>::decode(bytes) } -> std::convertible_to<T>;
};

namespace detail {

/// put(stream, ..., deadline) of what a T is put as; Received read(call) of the frame that the call
/// returns, where it is returned to; schema().
template <class T>
struct Carrier;

template <CapnpStruct T>
struct Carrier<T> {
    using Received = Message<T>;
    static Schema schema() {
        const auto type = capnp::Schema::from<T>().getProto();
        return {type.getId(), type.getDisplayName().cStr()};
    }
    template <class Build>
    requires std::invocable<Build, typename T::Builder> ||
        std::invocable<Build, typename T::Builder, Attachments&>
    static bool put(FrameStream& stream, Build&& build, std::size_t bytes, Deadline deadline) {
        return ipc::put<T>(stream, std::forward<Build>(build), {}, deadline, bytes);
    }
    template <std::invocable Receive>
    static Received read(Receive&& receive) {
        return Message<T>{std::forward<Receive>(receive)};
    }
};

template <>
struct Carrier<Bytes> {
    using Received = Frame;
    static Schema schema() { return {}; }
    static bool put(FrameStream& stream, std::span<const std::byte> bytes, std::size_t,
                    Deadline deadline) {
        return stream.put(bytes, {}, deadline);
    }
    template <std::invocable Receive>
    static Received read(Receive&& receive) {
        return std::forward<Receive>(receive)();
    }
};

template <HasCodec T>
struct Carrier<T> {
    using Received = T;
    static Schema schema() { return Codec<T>::schema(); }
    static bool put(FrameStream& stream, const T& value, std::size_t, Deadline deadline) {
        const auto encoded = Codec<T>::encode(value);
        return stream.put(std::as_bytes(std::span{encoded}), {}, deadline);
    }
    template <std::invocable Receive>
    static Received read(Receive&& receive) {
        const Frame frame = std::forward<Receive>(receive)();
        return Codec<T>::decode(frame.bytes());
    }
};

}  // namespace detail

/// What a pipe can carry.
template <class T>
concept Carried = requires(Frame (*receive)()) {
    { detail::Carrier<T>::schema() } -> std::convertible_to<Schema>;
    detail::Carrier<T>::read(receive);
};

}  // namespace green::ipc
