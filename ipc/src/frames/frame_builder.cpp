#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include <capnp/serialize.h>

#include <green/errors.hpp>
#include <green/ipc/frame_builder.hpp>
#include <green/ipc/message.hpp>

namespace green::ipc {
namespace {

constexpr std::size_t word = sizeof(capnp::word);

// A message begins with a table: how many segments there are behind the first one, and how many
// words each of them has.
constexpr std::size_t table_words(std::size_t segments) noexcept { return segments / 2 + 1; }

// Fewer bytes are zeroed faster than they become a segment.
constexpr std::size_t least_reserved = 1024;

void zero(std::span<capnp::word> words) noexcept {
    std::memset(static_cast<void*>(words.data()), 0, words.size_bytes());
}

}  // namespace

MessageMemory::MessageMemory(FrameDraft& draft, bool splits)
    : draft_{&draft},
      splits_{splits},
      frame_{reinterpret_cast<capnp::word*>(draft.memory().data()), draft.memory().size() / word},
      end_{std::min(table_words(splits ? most_segments : 1), frame_.size())} {
    if (splits || end_ == frame_.size()) [[unlikely]] {
        first_ = {more(1), 1};
        return;
    }
    // The usual one: all of the frame is its first segment.
    const auto all = frame_.subspan(end_);
    if (!draft.is_zeroed()) zero(all);
    begins_[segments_++] = static_cast<std::uint32_t>(std::exchange(end_, frame_.size()));
    first_ = {{all.data(), all.size()}, 1};
}

std::span<capnp::word> MessageMemory::take(std::size_t words) noexcept {
    // What has gone to private memory once stands behind all that is here.
    if (segments_ == (splits_ ? most_segments : 1) || !overflow_.empty() ||
        words > frame_.size() - end_)
        return {};
    begins_[segments_++] = static_cast<std::uint32_t>(end_);
    return frame_.subspan(std::exchange(end_, end_ + words), words);
}

kj::ArrayPtr<capnp::word> MessageMemory::more(std::size_t minimum_words) {
    std::size_t words = frame_.size() - end_;
    if (splits_ && segments_ == 0) words = std::min(words, first_of_split);
    if (const auto segment = take(std::max(words, minimum_words)); !segment.empty()) {
        zero(segment);
        return {segment.data(), segment.size()};
    }
    auto more = kj::heapArray<capnp::word>(std::max<std::size_t>(minimum_words, 512));
    zero({more.begin(), more.size()});
    overflow_.push_back(kj::mv(more));
    return overflow_.back();
}

std::span<std::byte> MessageMemory::reserve(std::size_t bytes) noexcept {
    // One segment is kept for what else may be in the message.
    if (bytes < least_reserved || !splits_ || segments_ + 1 >= most_segments) return {};
    const auto segment = take((bytes + word - 1) / word);
    if (segment.empty()) return {};
    // Data that is dropped goes with the message all the same.
    zero(draft_->is_shared() ? segment.last(1) : segment);
    return std::as_writable_bytes(segment).first(bytes);
}

Attachments::Room Attachments::reserve(std::size_t bytes) {
    constexpr std::size_t most = (std::size_t{1} << 29) - 1;  // of a list of Cap'n Proto
    if (bytes > most) {
        throw UsageError("data of " + std::to_string(bytes) + " bytes in a message; it takes " +
                         std::to_string(most));
    }
    const auto orphanage = message_->getOrphanage();
    if (const auto memory = message_->reserve(bytes); !memory.empty())
        return {orphanage.referenceExternalData(ipc::bytes(memory)), memory};
    auto data = orphanage.newOrphan<capnp::Data>(static_cast<capnp::uint>(bytes));
    const std::span<kj::byte> memory{data.get().begin(), bytes};
    return {std::move(data), std::as_writable_bytes(memory)};
}

std::size_t MessageMemory::close_frame(std::size_t last_words) noexcept {
    if (!splits_) {
        const std::uint32_t table[] = {0, static_cast<std::uint32_t>(last_words)};
        std::memcpy(static_cast<void*>(frame_.data()), table, sizeof table);
        return (table_words(1) + last_words) * word;
    }
    std::array<std::uint32_t, 2 * table_words(most_segments)> table{most_segments - 1};
    // Each one reaches to the next: what a builder has left in it is zeroed.
    for (std::size_t i = 0; i + 1 < segments_; ++i) table[1 + i] = begins_[i + 1] - begins_[i];
    table[segments_] = static_cast<std::uint32_t>(last_words);
    std::memcpy(static_cast<void*>(frame_.data()), table.data(), sizeof table);
    return (begins_[segments_ - 1] + last_words) * word;
}

bool MessageMemory::put(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments,
                        std::span<const int> descriptors, Deadline deadline) {
    FrameDraft* const draft = std::exchange(draft_, nullptr);
    if (draft == nullptr) throw UsageError("this message was put already");
    // One that was taken for what then failed is in the frame, but not in the message.
    const bool fits = overflow_.empty() && segments.size() == segments_;
    const std::size_t bytes = fits ? close_frame(segments.back().size()) : 0;
    frame_ = {};  // the peer's from here on
    end_ = 0;
    if (fits) [[likely]]
        return draft->put(bytes, descriptors, deadline);
    const kj::Array<capnp::word> whole = capnp::messageToFlatArray(segments);
    return draft->put_instead(std::as_bytes(std::span{whole.begin(), whole.size()}), descriptors,
                              deadline);
}

}  // namespace green::ipc
