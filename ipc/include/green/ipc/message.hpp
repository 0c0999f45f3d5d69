#pragma once
// Cap'n Proto messages over frames.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <capnp/message.h>

#include <green/errors.hpp>
#include <green/ipc/detail/spare_block.hpp>
#include <green/ipc/frame_builder.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/ipc/words_reader.hpp>

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

/// A message that was received: owns its bytes and its descriptors.
template <class T>
class Message {
 public:
    /// Throws ProtocolError when it is no such message.
    explicit Message(Frame frame) : Message{[&] { return std::move(frame); }} {}
    /// The same for the frame that a call returns. Throws what it throws, too.
    template <std::invocable Receive>
    requires std::same_as<std::invoke_result_t<Receive>, Frame>
    explicit Message(Receive&& receive) {
        bool received = false;
        try {
            body_.reset(new Body{[&] {
                Frame frame = std::forward<Receive>(receive)();
                received = true;
                return frame;
            }});
        } catch (const kj::Exception& error) {
            if (!received) throw;
            refuse(error);
        }
    }
    const typename T::Reader& operator*() const noexcept { return body_->root; }
    const typename T::Reader* operator->() const noexcept { return &body_->root; }

    [[nodiscard]] std::vector<Fd>& descriptors() noexcept { return body_->frame.descriptors; }
    /// The one that the sender attached under this number, which a field of the message holds. It
    /// is the caller's then, and the message cannot be passed to another process any more. Throws
    /// ProtocolError when there is none, UsageError when it was taken already.
    [[nodiscard]] Fd take_descriptor(std::uint32_t number) {
        std::vector<Fd>& all = descriptors();
        if (number >= all.size()) {
            throw ProtocolError("a message names its descriptor " + std::to_string(number) +
                                ", but came with " + std::to_string(all.size()));
        }
        if (!all[number].is_open()) {
            throw UsageError("descriptor " + std::to_string(number) +
                             " of a message was taken already");
        }
        return std::move(all[number]);
    }

 private:
    struct Body {
        template <class Receive>
        explicit Body(Receive&& receive)
            : frame(std::forward<Receive>(receive)()),
              reader{frame.words()},
              root{reader.template getRoot<T>()} {}
        static void* operator new(std::size_t) { return SpareBlock<Body>::take(); }
        static void operator delete(void* memory) noexcept { SpareBlock<Body>::give(memory); }

        Frame frame;
        WordsReader reader;
        typename T::Reader root;
    };
    [[noreturn]] static void refuse(const kj::Exception& error) {
        throw ProtocolError(std::string("a broken message: ") + error.getDescription().cStr());
    }

    std::unique_ptr<Body> body_;  // the root points into it
};

/// Sends a message that `build(T::Builder)` or `build(T::Builder, Attachments&)` fills, in the
/// place that it is sent from; `bytes` is about how many there are in texts, data and lists. Others
/// who put on the stream wait meanwhile. As FrameStream::put().
template <class T, class Build>
bool put(FrameStream& stream, Build&& build, std::span<const int> descriptors = {},
         Deadline deadline = Deadline::never(), std::size_t bytes = usual_bytes) {
    constexpr bool attaches = std::is_invocable_v<Build, typename T::Builder, Attachments&>;
    const bool splits = attaches && FrameBuilder::may_split(bytes);
    std::optional<FrameDraft> draft = FrameBuilder::prepare(stream, bytes, splits, deadline);
    if (!draft) return false;
    FrameBuilder message{*draft, splits};
    if constexpr (attaches) {
        Attachments attachments{message};
        std::forward<Build>(build)(message.initRoot<T>(), attachments);
        return message.put(attachments.numbers(), deadline);
    } else {
        std::forward<Build>(build)(message.initRoot<T>());
        return message.put(descriptors, deadline);
    }
}

/// The next message. As FrameStream::next(); throws ProtocolError when it is no such message.
template <class T>
std::optional<Message<T>> next(FrameStream& stream, Deadline deadline = Deadline::never()) {
    std::optional<Frame> frame = stream.next(deadline);
    if (!frame) return std::nullopt;
    return Message<T>{[&] { return std::move(*frame); }};
}
/// As FrameStream::get(), and so on.
template <class T>
Message<T> get(FrameStream& stream, Deadline deadline = Deadline::never()) {
    return Message<T>{[&] { return stream.get(deadline); }};
}

}  // namespace green::ipc
