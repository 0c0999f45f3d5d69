#pragma once
// The reading side of a ring. Pure: it neither waits nor rings.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ring/ring_memory.hpp"

namespace green::ipc::ring {

class RingReader {
 public:
    struct Record {
        RecordHeader header;
        std::span<std::byte> payload;  // in the ring; empty when it is elsewhere
    };

    /// Goes on where the ring is. Borrows the memory.
    explicit RingReader(RingMemory& memory) noexcept
        : memory_{&memory}, step_{memory.capacity() / 4} {
        head_ = told_ = next_ = tail_ = memory.header().reader.head.peek();
    }

    /// The next record, which stays the next until take(). Throws ProtocolError when what is there
    /// is none.
    [[nodiscard]] std::optional<Record> front() {
        if (next_ == tail_) [[unlikely]] {
            if (!look()) return std::nullopt;
        }
        return read();
    }
    /// The front one stays in the ring until release(): the one behind it is the next.
    void take(const Record& record) noexcept { next_ += footprint(record.payload.size()); }
    /// A payload that was taken is no longer needed. In any order; room comes free in the order of
    /// the records, and the writer is told of it in steps of a quarter of the ring, or by
    /// tell_room(). Returns whether the writer sleeps, and has to be rung.
    [[nodiscard]] bool release(std::span<const std::byte> payload) noexcept;
    /// For who finds nothing: the writer is told of all the room there is. Returns as release().
    [[nodiscard]] bool tell_room() noexcept {
        if (told_ == head_) return false;
        told_ = head_;
        Header& header = memory_->header();
        header.reader.head.store(head_);
        return shm::take_flag(header.writer_sleeps.raised);
    }
    /// What was taken and not released.
    [[nodiscard]] bool holds() const noexcept { return head_ != next_; }

    /// About to sleep: whoever publishes from now on rings. Look at front() once more.
    void raise_flag() noexcept {
        memory_->header().reader_sleeps.raised.store(1);
        shm::full_fence();
    }
    void lower_flag() noexcept { memory_->header().reader_sleeps.raised.poke(0); }

    /// How often a copy of the other side was closed.
    [[nodiscard]] std::uint64_t writer_closes() const noexcept {
        return memory_->header().writer.closes.load();
    }
    void note_close() noexcept { (void)memory_->header().reader.closes.add(1); }

 private:
    // Marks a record that was released while one before it was not. The writer reads no headers.
    static constexpr auto released = static_cast<Kind>(0xffff);

    [[nodiscard]] RecordHeader& header_at(std::uint64_t index) const noexcept {
        return *reinterpret_cast<RecordHeader*>(memory_->at(index));
    }
    // Inline: what it gives goes through registers.
    [[nodiscard]] Record read() const {
        // A copy, taken at once: the other side may change it at any time.
        const auto header = std::bit_cast<RecordHeader>(
            *reinterpret_cast<const volatile std::uint64_t*>(memory_->at(next_)));
        const std::size_t inside = header.kind == Kind::elsewhere ? 0 : header.bytes;
        if (header.kind > Kind::hello ||
            footprint(inside) > static_cast<std::size_t>(tail_ - next_)) [[unlikely]]
            refuse(header);
        return {header, {memory_->at(next_) + sizeof(RecordHeader), inside}};
    }
    [[noreturn]] void refuse(const RecordHeader& header) const;
    /// Whether there is more than was seen.
    bool look();
    void keep_distance() noexcept;

    RingMemory* memory_;
    std::uint64_t step_;
    std::uint64_t head_;  // of the oldest that is held, or next_
    std::uint64_t told_;  // what the writer knows of it
    std::uint64_t next_;  // behind the last one that was taken
    std::uint64_t tail_;  // as it was seen last
    std::uint64_t seen_before_ = 0;
    bool found_ = false;       // something, at the last look
    bool found_more_ = false;  // at the last two
    unsigned pauses_ = 0;      // before the next one
};

}  // namespace green::ipc::ring
