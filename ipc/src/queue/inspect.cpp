#include "inspect.hpp"

#include <algorithm>

#include "chunks.hpp"
#include "order_ring.hpp"
#include "pins.hpp"
#include "slot.hpp"

namespace green::ipc::shm {
namespace {

using Ring = BasicRing<Word>;

constexpr std::uint64_t slice = 1u << 14;  // slots: about 0.2 ms

/// Collects sentences.
class Complaints {
 public:
    void about(const std::string& thing, std::uint64_t index, const std::string& what) {
        list_.push_back(thing + " " + std::to_string(index) + " " + what);
    }
    [[nodiscard]] std::vector<std::string> take() { return std::move(list_); }

 private:
    std::vector<std::string> list_;
};

bool is_here(const Segment& segment, Owner owner) {
    return owner != nobody && owner <= segment.config().members &&
           segment.member(owner).pid.load() != 0;
}

struct Coverage {
    std::vector<char> ready;
    std::vector<char> free;
};

void note(const Segment& segment, const Ring& ring, SlotState state, std::vector<char>& into) {
    ring.for_each([&](std::uint64_t slot, std::uint64_t tag) {
        const SlotWord word = SlotWord::of(segment.slot(slot).state.load());
        if (word.state == state && tag_of(word.generation) == tag) into[slot] = 1;
    });
}

Coverage coverage(const Segment& segment) {
    const std::uint64_t capacity = segment.config().capacity;
    Coverage found{std::vector<char>(capacity), std::vector<char>(capacity)};
    Control& control = segment.control();
    note(segment, {control.fresh.head, control.fresh.tail, segment.fresh_cells(), capacity},
         SlotState::ready, found.ready);
    note(segment, {control.again.head, control.again.tail, segment.again_cells(), capacity},
         SlotState::ready, found.ready);
    note(segment, {control.free.head, control.free.tail, segment.free_cells(), capacity},
         SlotState::free, found.free);
    return found;
}

void audit_slots(const Segment& segment, Complaints& complaints) {
    const Coverage cells = coverage(segment);
    const Chunks chunks{segment};
    for (std::uint32_t index = 0; index < segment.config().capacity; ++index) {
        const SlotRecord& slot = segment.slot(index);
        const SlotWord word = SlotWord::of(slot.state.load());
        const std::uint64_t ref = slot.extent.load();
        if (!is_legal(word, segment.config().members))
            complaints.about("slot", index, "is in an impossible state");
        if (word.state == SlotState::returning)
            complaints.about("slot", index, "is being given back by nobody alive");
        if (word.state == SlotState::retiring)
            complaints.about("slot", index, "is being freed by nobody alive");
        if (word.state == SlotState::free && ref != 0)
            complaints.about("slot", index, "is free and has memory");
        if (word.state == SlotState::free && cells.free[index] == 0)
            complaints.about("slot", index, "is free unseen");
        if (word.state == SlotState::ready && cells.ready[index] == 0)
            complaints.about("slot", index, "is ready unseen");
        const bool needs_memory = word.state != SlotState::free && !word.is_draft();
        if ((needs_memory || ref != 0) && !chunks.find(ref, index)) {
            complaints.about("slot", index, "names memory that is not its own");
        }
        if (word.holder() != nobody && !is_here(segment, word.holder())) {
            complaints.about("slot", index, "is held by somebody who is gone");
        }
    }
}

void audit_entry(const Segment& segment, std::uint64_t chunk, std::uint64_t at, EntryWord entry,
                 Complaints& complaints) {
    if (entry.state != EntryState::live) return;
    const ExtentRef ref{static_cast<std::uint32_t>(chunk), static_cast<std::uint32_t>(at),
                        entry.epoch};
    if (entry.slot >= segment.config().capacity)
        return complaints.about("chunk", chunk, "names no slot");
    const SlotRecord& slot = segment.slot(entry.slot);
    if (slot.extent.load() != ref.pack() ||
        SlotWord::of(slot.state.load()).state == SlotState::free) {
        complaints.about("chunk", chunk,
                         "has an extent at " + std::to_string(at) + " that no slot owns");
    }
}

// Calls see(unit, entry) for each extent of a CURRENT or RETIRED chunk; false if one is still being
// made.
template <class F>
bool for_each_extent(const Segment& segment, std::uint64_t chunk, ChunkWord word, F&& see) {
    const std::uint64_t end = std::min<std::uint64_t>(word.used, segment.geometry().chunk_units);
    for (std::uint64_t at = 0; at < end;) {
        const EntryWord entry = EntryWord::of(segment.entry(chunk, at).load());
        if (entry.epoch != word.epoch || entry.state == EntryState::unset || entry.units == 0)
            return false;
        see(at, entry);
        at += entry.units;
    }
    return true;
}

void audit_run(const Segment& segment, std::uint64_t index, ChunkWord head,
               Complaints& complaints) {
    const EntryWord entry = EntryWord::of(segment.entry(index, 0).load());
    if (entry.epoch != head.epoch || entry.state != EntryState::live)
        complaints.about("run", index, "is of nobody");
    audit_entry(segment, index, 0, entry, complaints);
    for (std::uint64_t distance = 1; distance < head.used; ++distance) {
        const bool is_inside = index + distance < segment.geometry().chunk_count;
        const ChunkWord part =
            is_inside ? ChunkWord::of(segment.chunk(index + distance).state.load()) : ChunkWord{};
        if (part.state != ChunkState::part || part.used != distance)
            complaints.about("run", index, "is in pieces");
    }
}

void audit_chunks(const Segment& segment, Complaints& complaints) {
    for (std::uint64_t index = 0; index < segment.geometry().chunk_count; ++index) {
        const ChunkWord word = ChunkWord::of(segment.chunk(index).state.load());
        switch (word.state) {
            case ChunkState::free:
                if (Chunks{segment}.is_marked_busy(index))
                    complaints.about("chunk", index, "is free and marked busy");
                break;
            case ChunkState::current:
            case ChunkState::retired:
                if (!for_each_extent(segment, index, word, [&](std::uint64_t at, EntryWord entry) {
                        audit_entry(segment, index, at, entry, complaints);
                    })) {
                    complaints.about("chunk", index, "has an extent that nobody makes");
                }
                if (word.state == ChunkState::retired && Chunks{segment}.is_drained(index, word)) {
                    complaints.about("chunk", index, "is empty and not free");
                }
                if (word.state == ChunkState::current && !is_here(segment, word.owner)) {
                    complaints.about("chunk", index, "is filled by somebody who is gone");
                }
                break;
            case ChunkState::head:
                audit_run(segment, index, word, complaints);
                break;
            case ChunkState::part: {
                const ChunkWord head =
                    word.used <= index
                        ? ChunkWord::of(segment.chunk(index - word.used).state.load())
                        : ChunkWord{};
                if (head.state != ChunkState::head || head.used <= word.used) {
                    complaints.about("chunk", index, "is part of no run");
                }
                break;
            }
            default:
                complaints.about("chunk", index, "is in an impossible state");
        }
    }
}

void audit_pins(const Segment& segment, Complaints& complaints) {
    for (Owner owner = 1; owner <= segment.config().members; ++owner) {
        for (const PinRecord& pin : segment.pins(owner)) {
            if (pin.what.load() == 0) continue;
            if (segment.member(owner).pid.load() == 0)
                complaints.about("owner", owner, "is gone and pins a slot");
            if (PinWord::of(pin.what.load()).slot >= segment.config().capacity)
                complaints.about("owner", owner, "pins what is no slot");
        }
    }
}

// What a claim names that is nobody's draft is a message that was put; a cell that is being written
// is somebody's.
void audit_claims(const Segment& segment, Complaints& complaints) {
    for (std::uint64_t index = 0; index < segment.geometry().dedup_buckets; ++index) {
        for (const auto& cell : segment.bucket_at(index)) {
            const ClaimWord claim = ClaimWord::of(cell.claim.load());
            if (claim.kind == ClaimKind::none) continue;
            if (claim.kind == ClaimKind::writing &&
                (claim.slot == 0 || claim.slot > segment.config().members ||
                 segment.member(claim.slot).pid.load() == 0))
                complaints.about("bucket", index, "is written by somebody who is gone");
            if (claim.kind == ClaimKind::set && claim.slot >= segment.config().capacity)
                complaints.about("bucket", index, "claims what is no slot");
        }
    }
}

}  // namespace

Status status(const Segment& segment, const std::function<void()>& breathe) {
    Status now;
    now.generation = segment.control().generation.load();
    now.last_sequence = segment.control().fresh.sequence.load();
    now.expired = segment.control().expired.peek();
    now.moved = segment.control().moved.peek();
    now.died = segment.control().died.peek();
    now.is_high = segment.control().is_high.peek() != 0;
    now.leases.resize(segment.config().members);
    std::uint64_t* const counts[slot_states] = {
        &now.free,   &now.reserved, &now.ready,   &now.leased,  &now.retiring,
        &now.zombie, &now.dead,     &now.delayed, &now.delayed, &now.reserved};
    for (std::uint64_t index = 0; index < segment.config().capacity; ++index) {
        if (breathe && index % slice == slice - 1) breathe();
        const SlotRecord& slot = segment.slot(index);
        const SlotWord word = SlotWord::of(slot.state.load());
        if (static_cast<std::uint8_t>(word.state) < slot_states)
            ++*counts[static_cast<std::uint8_t>(word.state)];
        if (word.state == SlotState::leased && word.owner != nobody &&
            word.owner <= segment.config().members)
            ++now.leases[word.owner - 1];
        if (!word.has_message()) continue;
        now.bytes += slot.size.peek();
        const std::uint64_t sequence = slot.sequence.peek();
        if (now.oldest_sequence != 0 && sequence >= now.oldest_sequence) continue;
        now.oldest_sequence = sequence;
        now.oldest_put_time = segment.to_machine(slot.put_time.peek());
    }
    for (Owner owner = 1; owner <= segment.config().members; ++owner) {
        const MemberRecord& member = segment.member(owner);
        now.put += member.put.peek();
        now.delivered += member.delivered.peek();
        now.redelivered += member.redelivered.peek();
        now.acked += member.acked.peek();
        now.returned += member.returned.peek();
        now.refused += member.refused.peek();
        now.rejected += member.rejected.peek();
        now.duplicates += member.duplicates.peek();
        now.died += member.died.peek();
        now.turned_away += member.turned_away.peek();
        now.dropped_oldest += member.dropped_oldest.peek();
        now.dropped_newest += member.dropped_newest.peek();
    }
    return now;
}

bool is_empty(const SlotRecord& slot) noexcept {
    const SlotWord word = SlotWord::of(slot.state.load());
    return !word.is_draft() && !word.has_message();
}

bool empty(const Segment& segment, const std::function<void()>& breathe) {
    const shm::Word& put = segment.control().fresh.sequence;
    for (;;) {
        const std::uint64_t before = put.load();
        for (std::uint64_t index = 0; index < segment.config().capacity; ++index) {
            if (breathe && index % slice == slice - 1) breathe();
            if (!is_empty(segment.slot(index))) return false;
        }
        // What came meanwhile may stand where nothing stood at the look.
        if (!breathe || put.load() == before) return true;
    }
}

Left left_until(const Segment& segment, std::int64_t deadline,
                const std::function<void()>& breathe) {
    const std::uint64_t end = segment.from_machine(deadline);
    Left left;
    for (std::uint64_t index = 0; index < segment.config().capacity; ++index) {
        if (index % slice == slice - 1) breathe();
        const SlotRecord& slot = segment.slot(index);
        const SlotWord word = SlotWord::of(slot.state.load());
        if (!word.is_draft() && !word.has_message()) continue;
        const bool is_late =
            word.state == SlotState::delayed && NotBefore::of(slot.not_before.peek()).time > end;
        ++(is_late ? left.later : left.soon);
    }
    return left;
}

Space space(const Segment& segment) {
    const Geometry& geometry = segment.geometry();
    Space sum;
    sum.total = geometry.chunk_count * geometry.chunk_bytes;
    for (std::uint64_t index = 0; index < geometry.chunk_count; ++index) {
        const ChunkWord word = ChunkWord::of(segment.chunk(index).state.load());
        if (word.state == ChunkState::free) sum.free += geometry.chunk_bytes;
        if (word.state == ChunkState::head) sum.live += word.used * geometry.chunk_bytes;
        if (word.state != ChunkState::current && word.state != ChunkState::retired) continue;
        for_each_extent(segment, index, word, [&](std::uint64_t, EntryWord entry) {
            if (entry.state == EntryState::live) sum.live += entry.units * unit;
        });
    }
    sum.idle = sum.total - sum.free - sum.live;
    return sum;
}

std::vector<std::string> audit(const Segment& segment) {
    Complaints complaints;
    audit_slots(segment, complaints);
    audit_chunks(segment, complaints);
    audit_pins(segment, complaints);
    audit_claims(segment, complaints);
    return complaints.take();
}

}  // namespace green::ipc::shm
