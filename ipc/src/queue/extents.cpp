#include "extents.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "crash_point.hpp"

namespace green::ipc::shm {

Extents::Extents(const Segment& segment, Chunks& chunks, Owner owner) noexcept
    : segment_{segment}, chunks_{chunks}, owner_{owner} {}

Extents::Need Extents::need_of(std::uint64_t bytes) const noexcept {
    const std::uint64_t each = segment_.geometry().chunk_units;
    const std::uint64_t units = std::max<std::uint64_t>(1, (bytes + unit - 1) / unit);
    return {units, (units + each - 1) / each, units <= each / 2};
}

template <class F>
bool Extents::has_run(std::uint64_t count, F&& is_good) const noexcept {
    std::uint64_t so_far = 0;
    for (std::uint64_t index = segment_.geometry().chunk_count; index-- > 0;) {
        so_far = is_good(index) ? so_far + 1 : 0;
        if (so_far == count) return true;
    }
    return false;
}

// Most often there is a chunk that nobody has, and a look at the bits is enough.
bool Extents::could_take(std::uint64_t bytes) const noexcept {
    const Need need = need_of(bytes);
    if (need.is_small && current_) {
        const ChunkWord word = ChunkWord::of(segment_.chunk(*current_).state.load());
        const bool is_ours = word.state == ChunkState::current && word.owner == owner_;
        if (is_ours && word.used + need.units <= segment_.geometry().chunk_units) return true;
    }
    return has_run(need.chunks, [this](auto chunk) { return !chunks_.is_marked_busy(chunk); }) ||
           has_run(need.chunks, [this](auto chunk) { return chunks_.holds_only_ready(chunk); });
}

std::uint64_t Extents::vacant_around(std::uint64_t ref, std::uint64_t bytes) const noexcept {
    const std::uint64_t most = need_of(bytes).chunks;
    const std::uint64_t here = ExtentRef::of(ref).chunk;
    if (ref == 0 || here >= segment_.geometry().chunk_count || !chunks_.is_vacant(here)) return 0;
    std::uint64_t found = 1;
    for (std::uint64_t i = here; found < most && i > 0 && chunks_.is_vacant(i - 1); --i) ++found;
    for (std::uint64_t i = here + 1;
         found < most && i < segment_.geometry().chunk_count && chunks_.is_vacant(i); ++i)
        ++found;
    return found;
}

std::span<std::byte> Extents::take(std::uint32_t slot, std::uint64_t bytes) {
    const Geometry& geometry = segment_.geometry();
    const auto [units, count, is_small] = need_of(bytes);

    std::optional<Place> place =
        is_small ? take_small(static_cast<std::uint32_t>(units)) : take_run(count);
    if (!place && chunks_.collect())
        place = is_small ? take_small(static_cast<std::uint32_t>(units)) : take_run(count);
    if (!place) return {};

    crash_point(CrashPoint::extent_claimed);
    const ExtentRef ref{static_cast<std::uint32_t>(place->chunk), place->unit_index, place->epoch};
    segment_.slot(slot).extent.store(ref.pack());
    crash_point(CrashPoint::extent_referenced);
    const EntryWord entry{EntryState::live, slot, is_small ? static_cast<std::uint32_t>(units) : 0,
                          place->epoch};
    segment_.entry(place->chunk, place->unit_index).store(entry.pack());
    crash_point(CrashPoint::extent_live);

    const std::uint64_t begin = place->unit_index * unit;
    if (is_small) {
        zero(place->chunk, begin, begin + units * unit);
        return {segment_.payload(place->chunk, place->unit_index), units * unit};
    }
    for (std::uint64_t i = 0; i < count; ++i) zero(place->chunk + i, 0, geometry.chunk_bytes);
    return {segment_.payload(place->chunk), count * geometry.chunk_bytes};
}

void Extents::zero(std::uint64_t chunk, std::uint64_t begin, std::uint64_t end) noexcept {
    Word& dirty = segment_.chunk(chunk).dirty;
    const std::uint64_t until = std::min(dirty.peek(), end);
    if (until > begin) std::memset(segment_.payload(chunk) + begin, 0, until - begin);
    if (dirty.peek() < end) dirty.poke(end);
}

void Extents::written(std::uint64_t packed, std::uint64_t bytes) noexcept {
    const Geometry& geometry = segment_.geometry();
    const ExtentRef ref = ExtentRef::of(packed);
    if (ref.unit_index != 0 || ref.chunk >= geometry.chunk_count) return;
    const ChunkWord word = ChunkWord::of(segment_.chunk(ref.chunk).state.peek());
    // Zeroing a small extent costs less than keeping books about it.
    if (word.state != ChunkState::head || ref.chunk + word.used > geometry.chunk_count) return;
    for (std::uint64_t i = 0; i < word.used; ++i) {
        const std::uint64_t before = i * geometry.chunk_bytes;
        segment_.chunk(ref.chunk + i)
            .dirty.poke(std::min(geometry.chunk_bytes, bytes > before ? bytes - before : 0));
    }
}

std::optional<Extents::Place> Extents::take_small(std::uint32_t units) {
    if (current_) {
        if (const auto place = take_in_current(units)) return place;
    }
    return take_free_chunk(units);
}

std::optional<Extents::Place> Extents::take_in_current(std::uint32_t units) {
    Word& state = segment_.chunk(*current_).state;
    const std::uint64_t seen = state.load();
    ChunkWord word = ChunkWord::of(seen);
    // A drained chunk may have been taken from us; then it can even be ours again, by another
    // number's hand.
    if (word.state != ChunkState::current || word.owner != owner_) {
        current_.reset();
        return {};
    }
    if (word.used + units <= segment_.geometry().chunk_units) {
        const std::uint32_t at = word.used;
        word.used += units;
        crash_point(CrashPoint::extent_chosen);
        if (state.swap(seen, word.pack())) return Place{*current_, at, word.epoch};
        current_.reset();
        return {};
    }
    if (chunks_.is_drained(*current_, word)) {
        word.used = units;
        word.epoch = word.next_epoch();
        if (state.swap(seen, word.pack())) {
            segment_.freed(*current_).store(Chunks::filling);
            return Place{*current_, 0, word.epoch};
        }
    }
    retire();
    return {};
}

void Extents::retire() {
    if (!current_) return;
    const std::uint64_t index = *current_;
    current_.reset();
    Word& state = segment_.chunk(index).state;
    const std::uint64_t seen = state.load();
    ChunkWord word = ChunkWord::of(seen);
    if (word.state != ChunkState::current || word.owner != owner_) return;
    word.state = ChunkState::retired;
    if (!state.swap(seen, word.pack())) return;
    crash_point(CrashPoint::chunk_retired);
    const std::uint64_t correction = std::uint64_t{0} - Chunks::filling - word.used;
    if (Chunks::says_look(segment_.freed(index).add(correction) + correction))
        chunks_.settle(index);
}

std::optional<Extents::Place> Extents::take_free_chunk(std::uint32_t units) {
    const Geometry& geometry = segment_.geometry();
    for (std::uint64_t word = 0; word < geometry.busy_words; ++word) {
        std::uint64_t candidates = ~segment_.busy(word).load();
        while (candidates != 0) {
            const auto bit = static_cast<unsigned>(std::countr_zero(candidates));
            const std::uint64_t index = word * 64 + bit;
            candidates &= candidates - 1;
            if (index >= geometry.chunk_count) break;
            std::uint32_t epoch = 0;
            if (!claim_chunk(index, {ChunkState::current, owner_, units, 0}, epoch)) continue;
            crash_point(CrashPoint::chunk_taken);
            segment_.freed(index).store(Chunks::filling);
            current_ = index;
            has_grown_ = true;
            return Place{index, 0, epoch};
        }
    }
    return {};
}

// Who sets the bit is alone with a chunk that is FREE; if it is not, the bit is as it should be.
bool Extents::claim_chunk(std::uint64_t index, ChunkWord wanted, std::uint32_t& epoch) {
    const std::uint64_t bit = std::uint64_t{1} << (index % 64);
    if ((segment_.busy(index / 64).set_bits(bit) & bit) != 0) return false;
    crash_point(CrashPoint::chunk_marked);
    Word& state = segment_.chunk(index).state;
    for (;;) {
        const std::uint64_t seen = state.load();
        const ChunkWord word = ChunkWord::of(seen);
        if (word.state != ChunkState::free) return false;
        wanted.epoch = epoch = word.next_epoch();
        if (state.swap(seen, wanted.pack())) return true;
    }
}

std::optional<Extents::Place> Extents::take_run(std::uint64_t count) {
    std::uint64_t free_so_far = 0;
    for (std::uint64_t index = segment_.geometry().chunk_count; index-- > 0;) {
        free_so_far = chunks_.is_marked_busy(index) ? 0 : free_so_far + 1;
        if (free_so_far < count) continue;
        if (const auto place = claim_run(index, count)) return place;
        free_so_far = 0;
    }
    return {};
}

std::optional<Extents::Place> Extents::claim_run(std::uint64_t begin, std::uint64_t count) {
    ChunkWord head{ChunkState::head, owner_, static_cast<std::uint32_t>(count), 0};
    std::uint32_t epoch = 0;
    if (!claim_chunk(begin, head, epoch)) return {};
    head.epoch = epoch;
    crash_point(CrashPoint::run_head_taken);
    for (std::uint64_t distance = 1; distance < count; ++distance) {
        std::uint32_t unused = 0;
        if (!claim_chunk(begin + distance,
                         {ChunkState::part, owner_, static_cast<std::uint32_t>(distance), 0},
                         unused)) {
            chunks_.free_run(begin, head.pack());
            has_disturbed_ = true;
            return {};
        }
        crash_point(CrashPoint::run_part_taken);
    }
    segment_.freed(begin).store(Chunks::distrusted);  // one extent: given back means empty
    has_grown_ = true;
    return Place{begin, 0, epoch};
}

}  // namespace green::ipc::shm
