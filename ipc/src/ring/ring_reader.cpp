#include "ring/ring_reader.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <green/errors.hpp>

namespace green::ipc::ring {

RingReader::RingReader(RingMemory& memory)
    : memory_{&memory},
      step_{memory.capacity() / 2},
      head_{memory.header().reader.head.peek()},
      told_{head_},
      next_{head_},
      tail_{head_},
      sleeps_{memory.header().reader_sleeps.last.peek()} {
    if (head_ % granule != 0)
        throw ProtocolError("a damaged ring: its reader stands at " + std::to_string(head_));
    memory.header().reader.processor.poke(present_processor());
}

// A reader that is faster than its writer pulls the tail's line over for every record, and the
// record's with it, and both wait for that more than they work. So after two looks in a row that
// found a little it lets the writer get ahead. One that found nothing is about to sleep, and does
// not wait for anything here: a message that comes alone is not held up.
void RingReader::keep_distance() noexcept {
    const std::uint64_t little = std::min<std::uint64_t>(32768, memory_->capacity() / 4);
    distance_.keep(
        tail_ - seen_before_ < little, [this] { return memory_->header().writer.tail.load(); },
        [] { shm::pause(); });
}

bool RingReader::look() {
    if (found_more_) keep_distance();
    const std::uint64_t tail = memory_->header().writer.tail.load();
    if (tail - head_ > memory_->capacity() || tail % granule != 0 || tail - head_ < next_ - head_) {
        throw ProtocolError("a damaged ring: its writer stands at " + std::to_string(tail) +
                            ", its reader at " + std::to_string(head_) + " of " +
                            std::to_string(memory_->capacity()) + " bytes");
    }
    const bool more = tail != tail_;
    found_more_ = std::exchange(found_, more) && more;
    seen_before_ = std::exchange(tail_, tail);
    return more;
}

void RingReader::refuse(const RecordHeader& header) const {
    if (header.kind > Kind::again)
        throw ProtocolError("a damaged ring: a record of an unknown kind");
    throw ProtocolError("a damaged ring: a record of " + std::to_string(header.bytes) +
                        " bytes in " + std::to_string(tail_ - next_));
}

void RingReader::note_release(Range range) noexcept {
    const auto place = std::find_if(out_of_order_.begin(), out_of_order_.end(),
                                    [&](const Range& other) { return other.begin > range.begin; });
    out_of_order_.insert(place, range);  // take() has made room
}

void RingReader::pass_released() noexcept {
    auto first = out_of_order_.begin();
    for (; first != out_of_order_.end() && first->begin == head_; ++first) head_ = first->end;
    out_of_order_.erase(out_of_order_.begin(), first);
}

}  // namespace green::ipc::ring
