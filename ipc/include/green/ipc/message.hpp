#pragma once
// Cap'n Proto messages over frames.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <green/ipc/frame_stream.hpp>

namespace green::ipc {

/// Text and bytes of the standard library as Cap'n Proto takes them. Borrow what they are given;
/// text is copied where it is not known to end with a zero.
[[nodiscard]] inline capnp::Data::Reader bytes(std::span<const std::byte> data) noexcept {
    return {reinterpret_cast<const kj::byte*>(data.data()), data.size()};
}
[[nodiscard]] inline capnp::Data::Reader bytes(std::string_view data) noexcept {
    return {reinterpret_cast<const kj::byte*>(data.data()), data.size()};
}
[[nodiscard]] inline kj::String text(std::string_view data) {
    return kj::heapString(data.data(), data.size());
}
[[nodiscard]] inline std::string_view view(capnp::Text::Reader text) noexcept {
    return {text.begin(), text.size()};
}
[[nodiscard]] inline std::string_view view(capnp::Data::Reader data) noexcept {
    return {reinterpret_cast<const char*>(data.begin()), data.size()};
}

/// How far a reader may follow pointers: enough for any honest message, too little to make us burn
/// time.
[[nodiscard]] inline capnp::ReaderOptions reader_limits(std::size_t message_words) noexcept {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = std::max<std::uint64_t>(1024, 4 * message_words);
    options.nestingLimit = 32;
    return options;
}

/// A message that was received: owns its bytes and its descriptors.
template <class T>
class Message {
 public:
    /// Throws ProtocolError when it is no such message.
    explicit Message(Frame frame) : frame_{std::make_unique<Frame>(std::move(frame))} {
        try {
            const auto words = frame_->words();
            reader_ = std::make_unique<capnp::FlatArrayMessageReader>(
                kj::arrayPtr(words.data(), words.size()), reader_limits(words.size()));
            root_ = reader_->getRoot<T>();
        } catch (const kj::Exception& error) {
            throw ProtocolError(std::string("a broken message: ") + error.getDescription().cStr());
        }
    }
    const typename T::Reader& operator*() const noexcept { return root_; }
    const typename T::Reader* operator->() const noexcept { return &root_; }
    [[nodiscard]] std::vector<Fd>& descriptors() noexcept { return frame_->descriptors; }

 private:
    std::unique_ptr<Frame> frame_;
    std::unique_ptr<capnp::FlatArrayMessageReader> reader_;
    typename T::Reader root_;
};

/// Sends a message that `build(T::Builder)` fills. As FrameStream::put().
template <class T, class Build>
bool put(FrameStream& stream, Build&& build, std::span<const int> descriptors = {},
         Deadline deadline = Deadline::never()) {
    capnp::MallocMessageBuilder message;
    std::forward<Build>(build)(message.initRoot<T>());
    const kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
    return stream.put(std::as_bytes(std::span{words.begin(), words.size()}), descriptors, deadline);
}

/// The next message. As FrameStream::next(); throws ProtocolError when it is no such message.
template <class T>
std::optional<Message<T>> next(FrameStream& stream, Deadline deadline = Deadline::never()) {
    std::optional<Frame> frame = stream.next(deadline);
    if (!frame) return std::nullopt;
    return Message<T>{std::move(*frame)};
}
/// As FrameStream::get(), and so on.
template <class T>
Message<T> get(FrameStream& stream, Deadline deadline = Deadline::never()) {
    return Message<T>{stream.get(deadline)};
}

}  // namespace green::ipc
