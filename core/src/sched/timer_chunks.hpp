#pragma once
// Where the wheel keeps its entries: in chunks of equal size, piled up for each slot. An entry
// finds its chunk by its address, and its slot by its chunk: a timer need only know its entry.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include <green/detail/timer.hpp>

namespace green::detail {

struct TimerChunk;

/// A pile of chunks, of which only the topmost may be partly filled.
struct TimerSlot {
    [[nodiscard]] bool empty() const noexcept { return top == nullptr; }
    TimerChunk* top = nullptr;
};

struct alignas(512) TimerChunk {
    static constexpr std::size_t capacity = 20;

    [[nodiscard]] static TimerChunk& of(TimerEntry& entry) noexcept {
        const auto behind = reinterpret_cast<std::uintptr_t>(&entry) % alignof(TimerChunk);
        return *reinterpret_cast<TimerChunk*>(reinterpret_cast<std::byte*>(&entry) - behind);
    }

    TimerChunk* below;
    TimerSlot* slot;
    std::size_t used;
    TimerEntry entries[capacity];
};
static_assert(sizeof(TimerChunk) == alignof(TimerChunk));

class TimerChunks {
 public:
    TimerChunks() noexcept = default;
    TimerChunks(const TimerChunks&) = delete;
    TimerChunks& operator=(const TimerChunks&) = delete;

    /// Makes sure that so many entries fit, however they are spread over that many slots: nothing
    /// else here can fail. Throws std::bad_alloc.
    void reserve(std::size_t entries, std::size_t slots);

    void push(TimerSlot& slot, const TimerEntry& entry) noexcept {
        TimerChunk* chunk = slot.top;
        if (chunk == nullptr || chunk->used == TimerChunk::capacity) [[unlikely]]
            chunk = &pile_up(slot);
        TimerEntry& place = chunk->entries[chunk->used++];
        place = entry;
        entry.timer->entry = &place;
    }
    /// The topmost entry of the slot takes its place.
    void remove(TimerEntry& entry) noexcept {
        TimerSlot& slot = *TimerChunk::of(entry).slot;
        TimerChunk& top = *slot.top;
        const TimerEntry& last = top.entries[--top.used];
        if (&last != &entry) {
            entry = last;
            entry.timer->entry = &entry;
        }
        if (top.used > 0) return;
        slot.top = top.below;
        give_back(top);
    }
    /// Empties the slot and calls visit(entry) for each, in the order of their pushes as far as no
    /// removal has disturbed it. visit() may push the entry to another slot, and finds its timer in
    /// the cache.
    template <class Visit>
    void drain(TimerSlot& slot, Visit visit) noexcept {
        TimerChunk* chunk = turn_over(slot);
        while (chunk != nullptr) {
            TimerChunk* const next = chunk->below;
            if (next != nullptr) {
                for (std::size_t i = 0; i < next->used; ++i)
                    __builtin_prefetch(next->entries[i].timer, 1);
            }
            for (std::size_t i = 0; i < chunk->used; ++i) visit(chunk->entries[i]);
            give_back(*chunk);
            chunk = next;
        }
    }

 private:
    struct Free {
        void operator()(TimerChunk* chunks) const noexcept {
            ::operator delete (chunks, std::align_val_t{alignof(TimerChunk)});
        }
    };
    struct Block {
        std::unique_ptr<TimerChunk, Free> chunks;  // the first of `count`
        std::size_t count;
        std::size_t used;  // what lies behind has never been touched, and costs no memory yet
    };

    [[nodiscard]] TimerChunk& pile_up(TimerSlot& slot) noexcept;
    void give_back(TimerChunk& chunk) noexcept {
        chunk.below = free_;
        free_ = &chunk;
    }
    /// Empties the slot and gives what was its pile, upside down.
    [[nodiscard]] static TimerChunk* turn_over(TimerSlot& slot) noexcept;

    std::vector<Block> blocks_;
    std::size_t fresh_ = 0;  // the first block with chunks that were never used
    TimerChunk* free_ = nullptr;
    std::size_t made_ = 0;
};

}  // namespace green::detail
