#pragma once
// How a Cap'n Proto message is built in the frame that it is sent in.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <capnp/message.h>
#include <capnp/orphan.h>

#include <green/errors.hpp>
#include <green/fd.hpp>
#include <green/ipc/frame_stream.hpp>

namespace green::ipc {

/// About how many bytes of texts, data and lists a message has of which nobody says so.
constexpr std::size_t usual_bytes = 256;
/// What a message with so many is given room for.
[[nodiscard]] constexpr std::size_t room_for_message(std::size_t bytes) noexcept {
    return bytes + bytes / 8 + 256;
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
        if (splits) {
            return stream.prepare(std::min(room_for_message(bytes) + beside_segments, whole_words),
                                  deadline);
        }
        return stream.prepare_zeroed(std::min(room_for_message(bytes), whole_words), deadline);
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

}  // namespace green::ipc
