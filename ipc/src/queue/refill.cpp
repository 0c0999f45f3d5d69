// The keeper lists what is READY or FREE and stands in no ring, because whoever was to list it is
// dead, or stands still.
//
// First what the slots say, then which cells there are, then the slots again: what is still the
// same and has no cell gets one. A member that is just about to fill the cell itself makes a second
// one, which will be stale (Q5, Q6). For the keeper to make at most one copy for each stay, one
// such look goes on at a time, or begins anew, and a later one sees the cells of those before.
//
// In slices: a cell that was there before the rings are looked at stands where it is as long as the
// slot's word stays what it was, and the word is compared when a cell is made for it.

#include <algorithm>
#include <utility>

#include "crash_point.hpp"
#include "keeper.hpp"

namespace green::ipc::shm {
namespace {

// No state of a slot has this bit.
constexpr std::uint64_t has_cell = std::uint64_t{1} << 63;
static_assert(slot_states <= 0x80);

}  // namespace

bool Keeper::refill(Refill& refill, std::size_t& budget) {
    using Stage = Refill::Stage;
    const auto step = [&] {
        switch (refill.stage) {
            case Stage::words:
                return note_words(refill, budget);
            case Stage::fresh:
                return note_cells(refill, slots_.fresh(), SlotState::ready, budget);
            case Stage::again:
                return note_cells(refill, slots_.again(), SlotState::ready, budget);
            case Stage::free:
                return note_cells(refill, slots_.free(), SlotState::free, budget);
            case Stage::missing:
                return list_missing(refill, budget);
            case Stage::ready:
                return list_ready(refill, budget);
            case Stage::done:
                break;
        }
        return true;
    };
    // What was seen before another one made cells does not hold any more.
    if (std::exchange(refilling_, &refill) != &refill) refill = {};
    while (refill.stage != Stage::done) {
        if (!step()) return false;
        refill.stage = static_cast<Stage>(static_cast<unsigned>(refill.stage) + 1);
        refill.at = 0;
    }
    return true;
}

bool Keeper::note_words(Refill& refill, std::size_t& budget) {
    const std::uint32_t capacity = segment_.config().capacity;
    // Not cleared: of a million slots that alone would take long.
    if (!refill.words) refill.words = std::make_unique_for_overwrite<std::uint64_t[]>(capacity);
    for (; refill.at < capacity; ++refill.at, --budget) {
        if (budget == 0) return false;
        refill.words[refill.at] = segment_.slot(refill.at).state.load();
    }
    return true;
}

bool Keeper::note_cells(Refill& refill, const Ring& ring, SlotState state, std::size_t& budget) {
    if (!refill.walk) refill.walk = ring.walk();
    const bool is_done =
        ring.go_on(*refill.walk, budget, [&](std::uint64_t slot, std::uint64_t tag) {
            const SlotWord word = SlotWord::of(refill.words[slot]);
            if (word.state == state && tag_of(word.generation) == tag)
                refill.words[slot] |= has_cell;
        });
    if (is_done) refill.walk.reset();
    return is_done;
}

bool Keeper::list_missing(Refill& refill, std::size_t& budget) {
    for (; refill.at < segment_.config().capacity; ++refill.at, --budget) {
        if (budget == 0) return false;
        const auto slot = static_cast<std::uint32_t>(refill.at);
        const std::uint64_t seen = refill.words[slot];
        const SlotWord word = SlotWord::of(seen);
        const bool is_free = word.state == SlotState::free;
        if (!is_free && word.state != SlotState::ready) continue;
        if (segment_.slot(slot).state.load() != seen) continue;
        if (is_free)
            slots_.offer(slot, word);
        else
            refill.ready.emplace_back(segment_.slot(slot).sequence.peek(), slot);
        crash_point(CrashPoint::repair_cell);
    }
    std::sort(refill.ready.begin(), refill.ready.end());
    return true;
}

bool Keeper::list_ready(Refill& refill, std::size_t& budget) {
    for (; refill.at < refill.ready.size(); ++refill.at, --budget) {
        if (budget == 0) return false;
        const std::uint32_t slot = refill.ready[refill.at].second;
        const std::uint64_t seen = refill.words[slot];
        if (segment_.slot(slot).state.load() != seen) continue;
        slots_.queue(slot, SlotWord::of(seen));
        crash_point(CrashPoint::repair_cell);
    }
    return true;
}

}  // namespace green::ipc::shm
