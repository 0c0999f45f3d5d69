#include "ring/ring_writer.hpp"

#include <string>

#include <green/errors.hpp>

namespace green::ipc::ring {

RingWriter::RingWriter(RingMemory& memory)
    : memory_{&memory},
      tail_{memory.header().writer.tail.peek()},
      head_{tail_},
      sleeps_{memory.header().writer_sleeps.last.peek()} {
    if (tail_ % granule != 0)
        throw ProtocolError("a damaged ring: its writer stands at " + std::to_string(tail_));
    look();
    memory.header().writer.processor.poke(present_processor());
}

void RingWriter::look() {
    const std::uint64_t head = memory_->header().reader.head.load();
    if (tail_ - head > memory_->capacity() || head % granule != 0) {
        throw ProtocolError("a damaged ring: its reader stands at " + std::to_string(head) +
                            ", its writer at " + std::to_string(tail_) + " of " +
                            std::to_string(memory_->capacity()) + " bytes");
    }
    head_ = head;
}

}  // namespace green::ipc::ring
