#include "chunks.hpp"

#include <bit>

#include "crash_point.hpp"
#include "pins.hpp"
#include "slot.hpp"

namespace green::ipc::shm {

std::optional<std::span<std::byte>> Chunks::find(std::uint64_t packed,
                                                 std::uint32_t slot) const noexcept {
    const Geometry& geometry = segment_.geometry();
    const ExtentRef ref = ExtentRef::of(packed);
    if (packed == 0 || ref.chunk >= geometry.chunk_count || ref.unit_index >= geometry.chunk_units)
        return {};
    const EntryWord entry = EntryWord::of(segment_.entry(ref.chunk, ref.unit_index).load());
    if (entry.state != EntryState::live || entry.slot != slot || entry.epoch != ref.epoch)
        return {};

    std::byte* begin = segment_.payload(ref.chunk, ref.unit_index);
    if (entry.units !=
        0) {  // the usual case does without the chunk's word, which its owner writes all the time
        if (ref.unit_index + entry.units > geometry.chunk_units) return {};
        return std::span{begin, entry.units * unit};
    }
    const ChunkWord word = ChunkWord::of(segment_.chunk(ref.chunk).state.load());
    if (word.state != ChunkState::head || word.epoch != ref.epoch || ref.unit_index != 0) return {};
    if (word.used == 0 || ref.chunk + word.used > geometry.chunk_count) return {};
    return std::span{begin, word.used * geometry.chunk_bytes};
}

void Chunks::look_ahead(std::uint64_t packed) const noexcept {
    constexpr std::size_t begun_with = 2;  // lines; the processor notices those that follow
    const Geometry& geometry = segment_.geometry();
    const ExtentRef ref = ExtentRef::of(packed);
    if (ref.chunk >= geometry.chunk_count || ref.unit_index >= geometry.chunk_units) return;
    fetch_to_change(&segment_.entry(ref.chunk, ref.unit_index));
    for (std::size_t i = 0; i < begun_with; ++i)
        __builtin_prefetch(segment_.payload(ref.chunk, ref.unit_index) + i * unit);
}

void Chunks::release(std::uint64_t packed, std::uint32_t slot) {
    const Geometry& geometry = segment_.geometry();
    const ExtentRef ref = ExtentRef::of(packed);
    if (packed == 0 || ref.chunk >= geometry.chunk_count || ref.unit_index >= geometry.chunk_units)
        return;
    Word& place = segment_.entry(ref.chunk, ref.unit_index);
    const std::uint64_t seen = place.load();
    EntryWord entry = EntryWord::of(seen);
    if (entry.state != EntryState::live || entry.slot != slot || entry.epoch != ref.epoch) return;
    entry.state = EntryState::freed;
    if (!place.swap(seen, entry.pack())) return;
    crash_point(CrashPoint::extent_freed);
    if (says_look(segment_.freed(ref.chunk).add(entry.units) + entry.units)) settle(ref.chunk);
}

std::uint64_t Chunks::count(std::uint64_t ref, std::uint32_t slot) const noexcept {
    const auto memory = find(ref, slot);
    const std::uint64_t chunk = segment_.geometry().chunk_bytes;
    return memory ? (memory->size() + chunk - 1) / chunk : 0;
}

bool Chunks::is_empty(std::uint64_t packed) const noexcept {
    const ExtentRef ref = ExtentRef::of(packed);
    if (packed == 0 || ref.chunk >= segment_.geometry().chunk_count) return false;
    const ChunkWord word = ChunkWord::of(segment_.chunk(ref.chunk).state.load());
    // Another epoch means that it was emptied, and that somebody has it already: he may not need
    // all of it.
    return word.epoch != ref.epoch || is_vacant(ref.chunk);
}

bool Chunks::is_vacant(std::uint64_t index) const noexcept {
    const ChunkWord word = ChunkWord::of(segment_.chunk(index).state.load());
    return word.state == ChunkState::free ||
           (word.state != ChunkState::part && is_drained(index, word));
}

bool Chunks::is_drained(std::uint64_t index, ChunkWord word) const noexcept {
    const auto is_freed = [&](EntryWord entry) {
        return entry.epoch == word.epoch && entry.state == EntryState::freed;
    };
    if (word.state == ChunkState::head)
        return is_freed(EntryWord::of(segment_.entry(index, 0).load()));
    if (word.used > segment_.geometry().chunk_units) return false;
    for (std::uint64_t at = 0; at < word.used;) {
        const EntryWord entry = EntryWord::of(segment_.entry(index, at).load());
        if (!is_freed(entry) || entry.units == 0) return false;
        at += entry.units;
    }
    return true;
}

bool Chunks::is_free_or_ready(std::uint64_t chunk, std::uint64_t at,
                              EntryWord entry) const noexcept {
    if (entry.state == EntryState::freed) return true;
    if (entry.state != EntryState::live || entry.slot >= segment_.config().capacity) return false;
    const SlotRecord& slot = segment_.slot(entry.slot);
    const ExtentRef ref{static_cast<std::uint32_t>(chunk), static_cast<std::uint32_t>(at),
                        entry.epoch};
    const SlotWord word = SlotWord::of(slot.state.load());
    if (word.state != SlotState::ready || slot.extent.load() != ref.pack()) return false;
    return word.deliveries == 0 || !Pins::is_pinned(segment_, entry.slot);
}

bool Chunks::holds_only_ready(std::uint64_t index) const noexcept {
    ChunkWord word = ChunkWord::of(segment_.chunk(index).state.load());
    if (word.state == ChunkState::free) return true;
    if (word.state == ChunkState::part) {
        if (word.used > index) return false;
        index -= word.used;
        word = ChunkWord::of(segment_.chunk(index).state.load());
        if (word.state != ChunkState::head) return false;
    }
    if (word.used > segment_.geometry().chunk_units && word.state != ChunkState::head) return false;
    const std::uint64_t end = word.state == ChunkState::head ? 1 : word.used;
    for (std::uint64_t at = 0; at < end;) {
        const EntryWord entry = EntryWord::of(segment_.entry(index, at).load());
        if (entry.epoch != word.epoch || !is_free_or_ready(index, at, entry)) return false;
        if (word.state == ChunkState::head) return true;
        if (entry.units == 0) return false;
        at += entry.units;
    }
    return true;
}

bool Chunks::settle(std::uint64_t index) {
    Word& state = segment_.chunk(index).state;
    const std::uint64_t seen = state.load();
    const ChunkWord word = ChunkWord::of(seen);
    if (word.state != ChunkState::retired && word.state != ChunkState::head) return false;
    if (!is_drained(index, word)) return false;
    if (word.state == ChunkState::head) {
        free_run(index, seen);
        return true;
    }
    if (!state.swap(seen, word.freed().pack())) return false;
    crash_point(CrashPoint::chunk_freed);
    mark_free(index);
    return true;
}

bool Chunks::collect() {
    bool found = false;
    for (std::uint64_t index = 0; index < segment_.geometry().chunk_count; ++index) {
        Word& state = segment_.chunk(index).state;
        const std::uint64_t seen = state.load();
        const ChunkWord word = ChunkWord::of(seen);
        if (word.state == ChunkState::current) {
            if (!is_drained(index, word) || !state.swap(seen, word.freed().pack())) continue;
            crash_point(CrashPoint::chunk_freed);
            mark_free(index);
            found = true;
        } else if (word.state == ChunkState::retired || word.state == ChunkState::head) {
            found = settle(index) || found;
        } else if (word.state == ChunkState::free && is_marked_busy(index)) {
            // Somebody is between freeing it and clearing the bit, and he will tell nobody: we must
            // not miss it.
            mark_free(index);
            found = true;
        }
    }
    return found;
}

void Chunks::free_run(std::uint64_t index, std::uint64_t head_word) {
    const ChunkWord head = ChunkWord::of(head_word);
    Word& head_state = segment_.chunk(index).state;
    if (head.used == 0 || index + head.used > segment_.geometry().chunk_count) return;
    for (std::uint64_t distance = head.used - 1; distance > 0; --distance) {
        Word& state = segment_.chunk(index + distance).state;
        const std::uint64_t seen = state.load();
        const ChunkWord part = ChunkWord::of(seen);
        if (part.state != ChunkState::part || part.used != distance) continue;
        if (head_state.load() != head_word)
            return;  // Q10: freed by another one; what we read may be a newer run's
        if (!state.swap(seen, part.freed().pack())) continue;
        crash_point(CrashPoint::run_part_freed);
        mark_free(index + distance);
    }
    if (!head_state.swap(head_word, head.freed().pack())) return;
    crash_point(CrashPoint::run_head_freed);
    mark_free(index);
}

bool Chunks::is_marked_busy(std::uint64_t index) const noexcept {
    return (segment_.busy(index / 64).load() >> (index % 64) & 1) != 0;
}

std::uint64_t Chunks::used_percent() const noexcept {
    std::uint64_t used = 0;
    for (std::uint64_t word = 0; word < segment_.geometry().busy_words; ++word) {
        for (std::uint64_t bits = segment_.busy(word).load(); bits != 0; bits &= bits - 1) {
            const std::uint64_t index = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
            if (index < segment_.geometry().chunk_count && !is_vacant(index)) ++used;
        }
    }
    return used * 100 / segment_.geometry().chunk_count;
}

std::uint64_t Chunks::taken_percent() const noexcept {
    std::uint64_t busy = 0;
    for (std::uint64_t word = 0; word < segment_.geometry().busy_words; ++word)
        busy += static_cast<std::uint64_t>(std::popcount(segment_.busy(word).load()));
    return busy * 100 / segment_.geometry().chunk_count;
}

// The bit is cleared only after the chunk is FREE; who wants it sets the bit first and looks then.
// So a bit that is set stands for a chunk in use, or for one that somebody is about to take or to
// mark.
void Chunks::mark_free(std::uint64_t index) noexcept {
    segment_.busy(index / 64).clear_bits(std::uint64_t{1} << (index % 64));
}

}  // namespace green::ipc::shm
