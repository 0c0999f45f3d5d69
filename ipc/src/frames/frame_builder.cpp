#include <algorithm>
#include <cstdint>
#include <cstring>

#include <green/errors.hpp>
#include <green/ipc/message.hpp>

namespace green::ipc {
namespace {

// The segment table of a message of one segment: how many there are behind it, and its words.
constexpr std::size_t table_words = 1;

}  // namespace

FrameBuilder::~FrameBuilder() noexcept(false) = default;

kj::ArrayPtr<capnp::word> FrameBuilder::allocateSegment(capnp::uint minimum_words) {
    const std::span<std::byte> memory = draft_ ? draft_->memory() : std::span<std::byte>{};
    const std::size_t words = memory.size() / sizeof(capnp::word);
    if (std::exchange(first_, false) && words >= table_words + minimum_words) {
        auto* const first = reinterpret_cast<capnp::word*>(memory.data()) + table_words;
        std::memset(first, 0, (words - table_words) * sizeof(capnp::word));
        return {first, words - table_words};
    }
    auto more = kj::heapArray<capnp::word>(std::max<std::size_t>(minimum_words, 512));
    std::memset(more.begin(), 0, more.size() * sizeof(capnp::word));
    overflow_.push_back(kj::mv(more));
    return overflow_.back();
}

bool FrameBuilder::put(FrameStream& stream, std::span<const int> descriptors, Deadline deadline) {
    if (!draft_) throw UsageError("this message was put already");
    FrameDraft draft = std::move(*draft_);
    draft_.reset();
    const auto segments = getSegmentsForOutput();
    if (overflow_.empty()) {
        const std::uint32_t table[] = {0, static_cast<std::uint32_t>(segments[0].size())};
        std::memcpy(draft.memory().data(), table, sizeof table);
        return draft.put((table_words + segments[0].size()) * sizeof(capnp::word), descriptors,
                         deadline);
    }
    const kj::Array<capnp::word> whole = capnp::messageToFlatArray(segments);
    // Nobody waits while holding: the room that was too small goes back before more is asked for.
    { const FrameDraft last = std::move(draft); }
    return stream.put(std::as_bytes(std::span{whole.begin(), whole.size()}), descriptors, deadline);
}

}  // namespace green::ipc
