#pragma once
// How values go to another process: as bytes, and descriptors beside them. The two processes run on
// one machine, so a number goes as it lies in memory.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <green/fd.hpp>
#include <green/ipc/codec.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/ipc/message.hpp>

namespace green::ipc {

/// Puts values into a parcel, one behind the other.
class Packer {
 public:
    void bytes(std::span<const std::byte> data);
    void text(std::string_view data) { bytes(std::as_bytes(std::span{data})); }
    template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
    void number(T value) { raw(std::as_bytes(std::span{&value, 1})); }
    void descriptor(Fd fd);
    void parcel(Parcel parcel);

    [[nodiscard]] Parcel take() && noexcept { return std::move(parcel_); }

 private:
    void raw(std::span<const std::byte> data);
    Parcel parcel_;
};

/// Takes them out again, in the same order. Everything throws ProtocolError when it is not there.
class Unpacker {
 public:
    explicit Unpacker(Parcel parcel) noexcept : parcel_{std::move(parcel)} {}

    /// Borrowed from the parcel.
    [[nodiscard]] std::span<const std::byte> bytes();
    [[nodiscard]] std::string text();
    template <class T>
    [[nodiscard]] T number() {
        T value;
        raw(std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }
    [[nodiscard]] Fd descriptor();
    [[nodiscard]] Parcel parcel();
    /// That nothing is left.
    void check_end() const;

 private:
    [[nodiscard]] std::span<const std::byte> next(std::size_t size);
    void raw(std::span<std::byte> into);
    Parcel parcel_;
    std::size_t at_ = 0;
    std::size_t next_descriptor_ = 0;
};

/// How a type is passed: specialise it for types of your own. `holds_descriptors` where there may
/// be some in it.
template <class T>
struct Passing;

template <class T>
concept Passable = requires(Packer& packer, Unpacker& unpacker, T value) {
    Passing<T>::pack(packer, std::move(value));
    { Passing<T>::unpack(unpacker) } -> std::same_as<T>;
};

template <class T>
requires std::is_arithmetic_v<T> || std::is_enum_v<T>
struct Passing<T> {
    static constexpr bool holds_descriptors = false;
    static void pack(Packer& packer, T value) { packer.number(value); }
    static T unpack(Unpacker& unpacker) { return unpacker.number<T>(); }
};

template <>
struct Passing<std::string> {
    static constexpr bool holds_descriptors = false;
    static void pack(Packer& packer, std::string_view value) { packer.text(value); }
    static std::string unpack(Unpacker& unpacker) { return unpacker.text(); }
};

template <>
struct Passing<Fd> {
    static constexpr bool holds_descriptors = true;
    static void pack(Packer& packer, Fd value) { packer.descriptor(std::move(value)); }
    static Fd unpack(Unpacker& unpacker) { return unpacker.descriptor(); }
};

template <Passable T>
struct Passing<std::vector<T>> {
    static constexpr bool holds_descriptors = Passing<T>::holds_descriptors;
    static void pack(Packer& packer, std::vector<T> values) {
        packer.number(values.size());
        for (T& value : values) Passing<T>::pack(packer, std::move(value));
    }
    static std::vector<T> unpack(Unpacker& unpacker) {
        std::vector<T> values;
        for (auto left = unpacker.number<std::size_t>(); left > 0; --left)
            values.push_back(Passing<T>::unpack(unpacker));
        return values;
    }
};

template <>
struct Passing<std::vector<std::byte>> {
    static constexpr bool holds_descriptors = false;
    static void pack(Packer& packer, std::span<const std::byte> value) { packer.bytes(value); }
    static std::vector<std::byte> unpack(Unpacker& unpacker) {
        const auto data = unpacker.bytes();
        return {data.begin(), data.end()};
    }
};

/// The ends of pipes. Throws as their pack() does.
template <class E>
concept End = requires(E end) {
    { std::move(end).pack() } -> std::same_as<Parcel>;
};
template <End E>
struct Passing<E> {
    static constexpr bool holds_descriptors = true;
    static void pack(Packer& packer, E&& end) { packer.parcel(std::move(end).pack()); }
    static E unpack(Unpacker& unpacker) { return E{FrameStream::unpack(unpacker.parcel())}; }
};

template <HasCodec T>
struct Passing<T> {
    static constexpr bool holds_descriptors = false;
    static void pack(Packer& packer, const T& value) {
        const auto encoded = Codec<T>::encode(value);
        packer.bytes(std::as_bytes(std::span{encoded}));
    }
    static T unpack(Unpacker& unpacker) { return Codec<T>::decode(unpacker.bytes()); }
};

namespace passing {
[[nodiscard]] Frame frame_of(Unpacker& unpacker);
/// Throws UsageError when one was taken out.
void check_whole(std::span<const Fd> descriptors);
}  // namespace passing

/// A message that was received, or the reader or builder of one: what arrives is a Message. One
/// whose descriptors were taken, in part or all, is refused by UsageError: its fields would name
/// what does not come. Its reader can be passed; it has none.
template <class T>
struct Passing<Message<T>> {
    static constexpr bool holds_descriptors = true;
    static void pack(Packer& packer, typename T::Reader value) {
        capnp::MallocMessageBuilder copy;
        copy.setRoot(value);
        const auto words = capnp::messageToFlatArray(copy);
        packer.bytes(std::as_bytes(std::span{words.begin(), words.size()}));
        packer.number(std::size_t{0});
    }
    static void pack(Packer& packer, Message<T> value) {
        passing::check_whole(value.descriptors());
        capnp::MallocMessageBuilder copy;
        copy.setRoot(*value);
        const auto words = capnp::messageToFlatArray(copy);
        packer.bytes(std::as_bytes(std::span{words.begin(), words.size()}));
        packer.number(value.descriptors().size());
        for (Fd& fd : value.descriptors()) packer.descriptor(std::move(fd));
    }
    static Message<T> unpack(Unpacker& unpacker) {
        return Message<T>{[&] { return passing::frame_of(unpacker); }};
    }
};

namespace passing {

template <class A>
struct As {
    using Type = A;
};
template <class A>
requires std::convertible_to<const A&, std::string_view>
struct As<A> {
    using Type = std::string;
};
template <class A>
requires requires { typename A::Reads; }
struct As<A> {
    using Type = Message<typename A::Reads>;
};
template <class A>
requires requires { typename A::Builds; }
struct As<A> {
    using Type = Message<typename A::Builds>;
};

}  // namespace passing

/// As what an argument of the type arrives: literals and views as std::string, readers and builders
/// of a schema T as Message<T>, all others as they are.
template <class A>
using PassedAs = typename passing::As<std::decay_t<A>>::Type;

}  // namespace green::ipc
