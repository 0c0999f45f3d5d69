#pragma once
// Cap'n Proto messages over frames.

#include <algorithm>
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
#include <capnp/serialize.h>

#include <green/errors.hpp>
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

/// Descriptors that go with a message, whose fields hold their numbers in it.
class Attachments {
 public:
    /// Borrows it until the message was put. Returns its number, for a field of the message. Throws
    /// UsageError for a closed one, which would end the stream.
    std::uint32_t attach(const Fd& fd) {
        if (!fd.is_open()) {
            throw UsageError("descriptor " + std::to_string(numbers_.size()) +
                             " of a message is closed, or was taken already");
        }
        numbers_.push_back(fd.number());
        return static_cast<std::uint32_t>(numbers_.size() - 1);
    }
    [[nodiscard]] std::span<const int> numbers() const noexcept { return numbers_; }

 private:
    std::vector<int> numbers_;
};

/// A message that was received: owns its bytes and its descriptors.
template <class T>
class Message {
 public:
    /// Throws ProtocolError when it is no such message.
    explicit Message(Frame frame) {
        try {
            body_ = std::make_unique<Body>(std::move(frame));
        } catch (const kj::Exception& error) {
            throw ProtocolError(std::string("a broken message: ") + error.getDescription().cStr());
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
        explicit Body(Frame received)
            : frame{std::move(received)},
              reader{kj::arrayPtr(frame.words().data(), frame.words().size()),
                     reader_limits(frame.words().size())},
              root{reader.template getRoot<T>()} {}
        Frame frame;
        capnp::FlatArrayMessageReader reader;
        typename T::Reader root;
    };
    std::unique_ptr<Body> body_;  // the root points into it
};

/// Builds a message in a frame that is being prepared. What outgrows it goes to private memory.
class FrameBuilder final : public capnp::MessageBuilder {
 public:
    explicit FrameBuilder(FrameDraft draft) noexcept : draft_{std::move(draft)} {}
    ~FrameBuilder() noexcept(false) override;
    kj::ArrayPtr<capnp::word> allocateSegment(capnp::uint minimum_words) override;

    /// Sends it. A message that has outgrown its frame is brought into one piece first, and waits
    /// for room once more. As FrameStream::put().
    bool put(FrameStream& stream, std::span<const int> descriptors, Deadline deadline);

 private:
    std::optional<FrameDraft> draft_;
    std::vector<kj::Array<capnp::word>> overflow_;
    bool first_ = true;
};

/// What a message with so many bytes of texts, data and lists is given room for.
[[nodiscard]] constexpr std::size_t room_for_message(std::size_t bytes) noexcept {
    return bytes + bytes / 8 + 512;
}

/// Sends a message that `build(T::Builder)` or `build(T::Builder, Attachments&)` fills, in the
/// place that it is sent from; `bytes` is about how many there are in texts, data and lists. Others
/// who put on the stream wait meanwhile. As FrameStream::put().
template <class T, class Build>
bool put(FrameStream& stream, Build&& build, std::span<const int> descriptors = {},
         Deadline deadline = Deadline::never(), std::size_t bytes = 0) {
    const std::size_t room = std::min(room_for_message(bytes), stream.limit());
    std::optional<FrameDraft> draft = stream.prepare(room, deadline);
    if (!draft) return false;
    FrameBuilder message{std::move(*draft)};
    if constexpr (std::is_invocable_v<Build, typename T::Builder, Attachments&>) {
        Attachments attachments;
        std::forward<Build>(build)(message.initRoot<T>(), attachments);
        return message.put(stream, attachments.numbers(), deadline);
    } else {
        std::forward<Build>(build)(message.initRoot<T>());
        return message.put(stream, descriptors, deadline);
    }
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
