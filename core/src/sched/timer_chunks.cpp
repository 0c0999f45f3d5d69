#include "sched/timer_chunks.hpp"

#include <algorithm>
#include <utility>

namespace green::detail {

void TimerChunks::reserve(std::size_t entries, std::size_t slots) {
    // One that is partly filled for each slot in use, and one that drain() has not given back yet.
    const std::size_t wanted = entries / TimerChunk::capacity + std::min(entries, slots) + 1;
    if (wanted <= made_) return;
    const std::size_t count = wanted - made_;
    blocks_.reserve(blocks_.size() + 1);
    void* memory =
        ::operator new (count * sizeof(TimerChunk), std::align_val_t{alignof(TimerChunk)});
    blocks_.push_back(
        {std::unique_ptr<TimerChunk, Free>{static_cast<TimerChunk*>(memory)}, count, 0});
    made_ = wanted;
}

TimerChunk& TimerChunks::pile_up(TimerSlot& slot) noexcept {
    TimerChunk* chunk = free_;
    if (chunk != nullptr) {
        free_ = chunk->below;
    } else {
        Block& block = blocks_[fresh_];
        chunk = ::new (block.chunks.get() + block.used++) TimerChunk;
        if (block.used == block.count) ++fresh_;
    }
    chunk->below = slot.top;
    chunk->slot = &slot;
    chunk->used = 0;
    slot.top = chunk;
    return *chunk;
}

TimerChunk* TimerChunks::turn_over(TimerSlot& slot) noexcept {
    TimerChunk* turned = nullptr;
    for (TimerChunk* chunk = std::exchange(slot.top, nullptr); chunk != nullptr;) {
        TimerChunk* const below = std::exchange(chunk->below, turned);
        turned = std::exchange(chunk, below);
    }
    return turned;
}

}  // namespace green::detail
