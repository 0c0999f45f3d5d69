#pragma once
// The reading side of a ring. Pure: it neither waits nor rings.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ring/distance.hpp"
#include "ring/ring_memory.hpp"

namespace green::ipc::ring {

class RingReader {
 public:
    struct Record {
        RecordHeader header;
        std::span<std::byte> payload;  // in the ring; empty when it is elsewhere
    };

    /// Goes on where the ring is. Borrows the memory. Throws ProtocolError.
    explicit RingReader(RingMemory& memory);

    /// The next record, which stays the next until take(). Throws ProtocolError when what is there
    /// is none.
    [[nodiscard]] std::optional<Record> front() {
        if (next_ == tail_) [[unlikely]] {
            if (!look()) return std::nullopt;
        }
        return read();
    }
    /// The front one stays in the ring until release(): the one behind it is the next. Throws
    /// std::bad_alloc; it was not taken then.
    void take(const Record& record) {
        if (head_ != next_) [[unlikely]] {
            const std::size_t between = held_ + 1 + out_of_order_.size();
            if (between > out_of_order_.capacity()) out_of_order_.reserve(2 * between);
        }
        ++held_;
        next_ += footprint(record.payload.size());
    }
    /// A payload that was taken is no longer needed. In any order; room comes free in the order of
    /// the records, and the writer is told of it in steps of half the ring, or by
    /// tell_room(). Returns the number of the writer's sleep, if it sleeps and was told: the caller
    /// rings, and then says writer_was_rung().
    [[nodiscard]] std::uint64_t release(std::span<const std::byte> payload) noexcept {
        --held_;
        const std::uint64_t offset = memory_->offset_of(payload.data()) - sizeof(RecordHeader);
        const std::uint64_t begin = head_ + ((offset - head_) & (memory_->capacity() - 1));
        const std::uint64_t end = begin + footprint(payload.size());
        if (begin != head_) [[unlikely]] {
            note_release({begin, end});
            return 0;
        }
        head_ = end;
        if (!out_of_order_.empty()) [[unlikely]]
            pass_released();
        return head_ - told_ >= step_ ? tell_room() : 0;
    }
    /// For who finds nothing: the writer is told of all the room there is. Returns as release().
    [[nodiscard]] std::uint64_t tell_room() noexcept {
        if (told_ == head_) return 0;
        told_ = head_;
        memory_->header().reader.head.store(head_);
        return sleeping_writer();
    }
    /// For who has changed something else that the writer may wait for. Returns as release().
    [[nodiscard]] std::uint64_t sleeping_writer() noexcept {
        shm::full_fence();
        return memory_->header().writer_sleeps.sleep.peek();
    }
    void writer_was_rung(std::uint64_t sleep) noexcept {
        (void)memory_->header().writer_sleeps.sleep.swap(sleep, 0);
    }
    /// What comes next may be an answer, or a message that comes alone: it is not let wait until
    /// there are more.
    void expect_one() noexcept { found_ = found_more_ = false; }
    /// Something was taken and not released.
    [[nodiscard]] bool holds() const noexcept { return head_ != next_; }

    /// Bytes by which the other side has moved on since this one looked last.
    [[nodiscard]] std::uint64_t news() const noexcept {
        return memory_->header().writer.tail.load() - tail_;
    }
    /// The other side shares the processor with this one, as far as is known.
    [[nodiscard]] bool peer_is_here() noexcept {
        Header& header = memory_->header();
        const std::uint64_t here = present_processor();
        header.reader.processor.poke(here);
        return header.writer.processor.peek() == here;
    }

    /// About to sleep: whoever publishes from now on rings. Look at front() once more.
    void raise_flag() noexcept {
        Header::Flag& flag = memory_->header().reader_sleeps;
        flag.last.poke(++sleeps_);
        flag.sleep.store(sleeps_);
        shm::full_fence();
    }
    void lower_flag() noexcept { memory_->header().reader_sleeps.sleep.poke(0); }

    /// How often a copy of the other side was closed.
    [[nodiscard]] std::uint64_t writer_closes() const noexcept {
        return memory_->header().writer.closes.load();
    }
    void note_close() noexcept { (void)memory_->header().reader.closes.add(1); }

 private:
    struct Range {
        std::uint64_t begin;
        std::uint64_t end;
    };

    // Inline: what it gives goes through registers.
    [[nodiscard]] Record read() const {
        // A copy, taken at once: the other side may change it at any time.
        const auto header = std::bit_cast<RecordHeader>(
            *reinterpret_cast<const volatile std::uint64_t*>(memory_->at(next_)));
        const std::size_t inside = is_beside(header.kind) ? 0 : header.bytes;
        if (header.kind > Kind::again ||
            footprint(inside) > static_cast<std::size_t>(tail_ - next_)) [[unlikely]]
            refuse(header);
        return {header, {memory_->at(next_) + sizeof(RecordHeader), inside}};
    }
    [[noreturn]] void refuse(const RecordHeader& header) const;
    /// Whether there is more than was seen.
    bool look();
    void keep_distance() noexcept;
    /// That one before it was not released yet.
    void note_release(Range range) noexcept;
    void pass_released() noexcept;

    RingMemory* memory_;
    std::uint64_t step_;
    std::uint64_t head_;  // of the oldest that is held, or next_
    std::uint64_t told_;  // what the writer knows of it
    std::uint64_t next_;  // behind the last one that was taken
    std::uint64_t tail_;  // as it was seen last
    std::uint64_t sleeps_;
    // Records that were released while one before them was not, in order: with room for those that
    // are held, of which each may become one. Not in the ring: there the writer could change it.
    std::vector<Range> out_of_order_;
    std::size_t held_ = 0;
    std::uint64_t seen_before_ = 0;
    bool found_ = false;       // something, at the last look
    bool found_more_ = false;  // at the last two
    Distance distance_;
};

}  // namespace green::ipc::ring
