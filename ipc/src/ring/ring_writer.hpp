#pragma once
// The writing side of a ring. Pure: it neither waits nor rings.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ring/ring_memory.hpp"

namespace green::ipc::ring {

class RingWriter {
 public:
    /// Goes on where the ring is. Borrows the memory. Throws ProtocolError.
    explicit RingWriter(RingMemory& memory);

    /// The largest payload that fits when the ring is empty.
    [[nodiscard]] std::size_t most() const noexcept {
        return memory_->capacity() - sizeof(RecordHeader);
    }
    /// Room for a payload of that size, in one piece, or nullptr when there is not enough. It stays
    /// the same until publish(). Throws ProtocolError when the reader's index is impossible.
    [[nodiscard]] std::byte* room(std::size_t payload) {
        const std::size_t need = footprint(payload);
        if (free() < need) [[unlikely]] {
            look();
            if (free() < need) return nullptr;
        }
        return memory_->at(tail_) + sizeof(RecordHeader);
    }
    /// The same, zeroed. What stands in it behind the payload that is published has to be zero
    /// still, for the next one; where it may not be, or where nothing is published: was_soiled().
    [[nodiscard]] std::byte* zeroed_room(std::size_t payload) {
        std::byte* const place = room(payload);
        if (place == nullptr) return nullptr;
        const std::uint64_t begin = tail_ + sizeof(RecordHeader);
        const std::uint64_t end = begin + payload;
        if (zeroed_ < begin) {
            std::memset(place, 0, payload);
            zeroed_ = end;
        } else if (zeroed_ < end) {  // they follow one another: once for several
            const std::uint64_t to =
                std::max(end, std::min(zeroed_ + cleared_ahead, head_ + memory_->capacity()));
            std::memset(place + (zeroed_ - begin), 0, to - zeroed_);
            zeroed_ = to;
        }
        return place;
    }
    /// What was written to room that was not published, or behind a payload that was.
    void was_soiled() noexcept { zeroed_ = 0; }
    /// What room() gave becomes a record. Returns the number of the reader's sleep, if it sleeps:
    /// the caller rings, and then says reader_was_rung().
    [[nodiscard]] std::uint64_t publish(RecordHeader record, std::size_t payload) noexcept {
        *reinterpret_cast<RecordHeader*>(memory_->at(tail_)) = record;
        tail_ += footprint(payload);
        Header& header = memory_->header();
        header.writer.tail.store_before_load(tail_);
        return header.reader_sleeps.sleep.load();
    }
    void reader_was_rung(std::uint64_t sleep) noexcept {
        (void)memory_->header().reader_sleeps.sleep.swap(sleep, 0);
    }

    /// Bytes by which the other side has moved on since this one looked last.
    [[nodiscard]] std::uint64_t news() const noexcept {
        return memory_->header().reader.head.load() - head_;
    }
    /// The other side shares the processor with this one, as far as is known.
    [[nodiscard]] bool peer_is_here() noexcept {
        Header& header = memory_->header();
        const std::uint64_t here = present_processor();
        header.writer.processor.poke(here);
        return header.reader.processor.peek() == here;
    }

    /// About to sleep: whoever makes room from now on rings. Look at room() once more.
    void raise_flag() noexcept {
        Header::Flag& flag = memory_->header().writer_sleeps;
        flag.last.poke(++sleeps_);
        flag.sleep.store(sleeps_);
        shm::full_fence();
    }
    void lower_flag() noexcept { memory_->header().writer_sleeps.sleep.poke(0); }

    /// How often a copy of the other side was closed.
    [[nodiscard]] std::uint64_t reader_closes() const noexcept {
        return memory_->header().reader.closes.load();
    }
    void note_close() noexcept { (void)memory_->header().writer.closes.add(1); }

 private:
    static constexpr std::uint64_t cleared_ahead = 1024;  // bytes

    [[nodiscard]] std::size_t free() const noexcept {
        return memory_->capacity() - static_cast<std::size_t>(tail_ - head_);
    }
    void look();

    RingMemory* memory_;
    std::uint64_t tail_;
    std::uint64_t head_;  // as it was seen last
    std::uint64_t sleeps_;
    std::uint64_t zeroed_ = 0;  // up to there all that is free is zero
};

}  // namespace green::ipc::ring
