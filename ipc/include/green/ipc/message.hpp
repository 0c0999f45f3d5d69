#pragma once
// Cap'n Proto messages over frames.
//
// Longer than most headers: a builder, the memory that it hands out and what is attached to it know
// each other.

#include <algorithm>
#include <array>
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
#include <capnp/orphan.h>
#include <capnp/serialize.h>

#include <green/errors.hpp>
#include <green/ipc/detail/spare_block.hpp>
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

class FrameBuilder;

/// What goes with a message that is being built: descriptors, whose numbers its fields hold, and
/// large data, which its fields adopt.
class Attachments {
 public:
    explicit Attachments(FrameBuilder& message) noexcept : message_{&message} {}

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

    /// Data for a field, `builder.adoptX(std::move(data))`, and where it is to be written: there it
    /// will be sent from.
    struct Room {
        capnp::Orphan<capnp::Data> data;
        std::span<std::byte> memory;
    };
    /// Room for so many bytes: for large data of a message whose `bytes` were said, before other
    /// large things are set. All of them are to be written before the message is put: what is in it
    /// may be left over from others. That is what it saves, as setX() clears its room first. The
    /// data can be neither read by getX() of a builder nor truncated, and what is dropped after all
    /// goes with the message. Throws UsageError for 512 MiB and more.
    [[nodiscard]] Room reserve(std::size_t bytes);
    /// The same, with those bytes in it.
    [[nodiscard]] capnp::Orphan<capnp::Data> copy(std::span<const std::byte> bytes) {
        Room room = reserve(bytes.size());
        if (!bytes.empty()) std::memcpy(room.memory.data(), bytes.data(), bytes.size());
        return std::move(room.data);
    }

 private:
    FrameBuilder* message_;
    std::vector<int> numbers_;
};

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

/// About how many bytes of texts, data and lists a message has of which nobody says so.
constexpr std::size_t usual_bytes = 256;
/// What a message with so many is given room for.
[[nodiscard]] constexpr std::size_t room_for_message(std::size_t bytes) noexcept {
    return bytes + bytes / 8 + 256;
}

/// The memory that a message is built in: a frame that is being prepared, and private memory for
/// what outgrows it.
///
/// A builder takes for granted that its memory is zeroed. What is written over anyhow, as
/// Attachments::reserve() has it, need not be: it becomes a segment of its own. So where it may
/// come the frame `splits`: it is handed out in pieces.
class MessageMemory {
 public:
    /// Borrows the draft.
    MessageMemory(FrameDraft& draft, bool splits);

 protected:
    static constexpr std::size_t most_segments = 8;
    static constexpr std::size_t first_of_split = 128;  // words
    /// Bytes of a frame that splits, beside those of its message: its table, and its first segment.
    static constexpr std::size_t beside_segments =
        (most_segments / 2 + 1 + first_of_split) * sizeof(capnp::word);

    [[nodiscard]] kj::ArrayPtr<capnp::MessageBuilder::SegmentInit> first() noexcept {
        return {&first_, 1};
    }
    /// Zeroed memory of at least so many words: the next segment.
    [[nodiscard]] kj::ArrayPtr<capnp::word> more(std::size_t minimum_words);
    /// Memory in the frame that is not zeroed, but for its last word: a segment of its own. Nothing
    /// where it is better handed out in the usual way.
    [[nodiscard]] std::span<std::byte> reserve(std::size_t bytes) noexcept;
    /// Sends what was built. As FrameBuilder::put().
    bool put(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments,
             std::span<const int> descriptors, Deadline deadline);

 private:
    /// The next so many words of the frame; nothing if there are not as many.
    [[nodiscard]] std::span<capnp::word> take(std::size_t words) noexcept;
    /// Bytes of the frame, table and segments, once it is complete.
    [[nodiscard]] std::size_t close_frame(std::size_t last_words) noexcept;

    FrameDraft* draft_;  // nullptr once it was put
    bool splits_;
    std::span<capnp::word> frame_;
    std::size_t end_;  // words of the frame that were handed out
    std::size_t segments_ = 0;
    std::array<std::uint32_t, most_segments> begins_{};  // of each segment in the frame: its word
    std::vector<kj::Array<capnp::word>> overflow_;
    capnp::MessageBuilder::SegmentInit first_;
};

/// Builds a message in a frame that is being prepared.
class FrameBuilder final : private MessageMemory, public capnp::MessageBuilder {
 public:
    /// Frames are worth being split for a message with so many bytes in texts, data and lists.
    [[nodiscard]] static constexpr bool may_split(std::size_t bytes) noexcept {
        return room_for_message(bytes) > least_split;
    }
    /// Waits for room for a message with about so many bytes in texts, data and lists. As
    /// FrameStream::prepare().
    [[nodiscard]] static std::optional<FrameDraft> prepare(FrameStream& stream, std::size_t bytes,
                                                           bool splits, Deadline deadline) {
        const std::size_t whole_words = stream.limit() / sizeof(capnp::word) * sizeof(capnp::word);
        return stream.prepare(
            std::min(room_for_message(bytes) + (splits ? beside_segments : 0), whole_words),
            deadline);
    }
    /// Borrows the draft. `splits`: as prepare() was told; Attachments::reserve() may follow then.
    FrameBuilder(FrameDraft& draft, bool splits)
        : MessageMemory{draft, splits}, MessageBuilder{first()} {}
    kj::ArrayPtr<capnp::word> allocateSegment(capnp::uint minimum_words) override {
        return more(minimum_words);
    }

    /// Sends it. A message that has outgrown its frame is brought into one piece first, and waits
    /// for room once more. As FrameStream::put().
    bool put(std::span<const int> descriptors, Deadline deadline) {
        return MessageMemory::put(getSegmentsForOutput(), descriptors, deadline);
    }

 private:
    friend class Attachments;
    static constexpr std::size_t least_split = 4096;  // bytes
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
