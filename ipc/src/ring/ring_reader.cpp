#include "ring/ring_reader.hpp"

#include <string>

#include <green/errors.hpp>

namespace green::ipc::ring {

void RingReader::look() {
    const std::uint64_t tail = memory_->header().writer.tail.load();
    if (tail - head_ > memory_->capacity() || tail % granule != 0 || tail - head_ < next_ - head_) {
        throw ProtocolError("a damaged ring: its writer stands at " + std::to_string(tail) +
                            ", its reader at " + std::to_string(head_) + " of " +
                            std::to_string(memory_->capacity()) + " bytes");
    }
    tail_ = tail;
}

void RingReader::refuse(const RecordHeader& header) const {
    if (header.kind != Kind::here && header.kind != Kind::elsewhere)
        throw ProtocolError("a damaged ring: a record of an unknown kind");
    throw ProtocolError("a damaged ring: a record of " + std::to_string(header.bytes) +
                        " bytes in " + std::to_string(tail_ - next_));
}

bool RingReader::release(std::span<const std::byte> payload) noexcept {
    const std::uint64_t offset = memory_->offset_of(payload.data()) - sizeof(RecordHeader);
    const std::uint64_t begin = head_ + ((offset - head_) & (memory_->capacity() - 1));
    if (begin != head_) {
        header_at(begin) = {static_cast<std::uint32_t>(payload.size()), released, 0};
        return false;
    }
    head_ += footprint(payload.size());
    while (head_ != next_ && header_at(head_).kind == released) {
        const std::size_t bytes = footprint(header_at(head_).bytes);
        if (bytes > next_ - head_) break;  // the writer has scribbled over it: no room for him
        head_ += bytes;
    }
    return head_ - told_ >= step_ && tell_room();
}

}  // namespace green::ipc::ring
