#pragma once
// The cast of the explorer of the queue's interleavings (shm_explorer_test.cpp), and the memory
// that they share: the slots, one ring and the pins of those who consume.
//
// shm_stepped.hpp says how they are played. What an actor does is cut into phases; between two of
// them all that it knows is in its locals, and its answers are those of its present phase.
//
// Longer than most headers: each of them does its part of one protocol, against the same memory.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "queue/order_ring.hpp"
#include "queue/pins.hpp"
#include "queue/slot.hpp"
#include "shm_stepped.hpp"

namespace shm_test::explorer {

using namespace green::ipc::shm;

constexpr std::size_t slots = 2;
constexpr std::size_t cells = 8;
constexpr std::size_t cast = 5;
constexpr std::size_t keeper = 4;  // 0 and 1 produce, 2 and 3 consume

struct Memory {
    SteppedWord head{What::index}, tail{What::index};
    std::array<SteppedWord, cells> ring{SteppedWord{What::cell}, SteppedWord{What::cell},
                                        SteppedWord{What::cell}, SteppedWord{What::cell},
                                        SteppedWord{What::cell}, SteppedWord{What::cell},
                                        SteppedWord{What::cell}, SteppedWord{What::cell}};
    std::array<SteppedWord, slots> state;
    std::array<SteppedWord, 2> pins;   // of the consumers; PinWord
    std::array<SteppedWord, 2> until;  // 1: a time that has come; or over
};
inline Memory memory;
inline std::size_t used_cells = 4;  // a small ring goes round; copies need a larger one
inline bool has_pins = false;       // a keeper looks at them

inline BasicRing<SteppedWord> ring() {
    return {memory.head, memory.tail, std::span{memory.ring}.first(used_cells), slots};
}
/// The two words of a consumer's pin.
struct Pin {
    SteppedWord& what;
    SteppedWord& until;
};
inline Pin pin_of(std::size_t actor) {
    return {memory.pins[actor - slots], memory.until[actor - slots]};
}
inline Owner owner_of(std::size_t actor) { return static_cast<Owner>(actor + 1); }

/// Where an actor stands.
struct Place {
    std::uint64_t phase = 0;
    std::array<std::uint64_t, 3> locals{};
    Answers answers;
    bool is_over = false;
};

/// What has become of the messages. Nobody in the play knows it.
struct Account {
    std::array<bool, slots> is_put{};
    std::array<std::uint64_t, slots> acks{};
};

/// One phase of an actor: `now` is where it began, `next` where it goes on.
struct Phase {
    const Place& now;
    Place& next;
    Account& account;

    void go_on(std::uint64_t phase) const { next.phase = phase; }
    void end() const { next.is_over = true; }
};

inline void produce(std::size_t actor, const Phase& phase) {
    const SlotWord mine{SlotState::reserved, owner_of(actor), 0, 5};
    if (phase.now.phase == 1) {
        (void)ring().push(actor, mine.generation);
        return phase.end();
    }
    if (!memory.state[actor].swap(mine.pack(), mine.published().pack())) return phase.end();
    phase.account.is_put[actor] = true;
    phase.go_on(1);
}

/// Pops and claims. Returns the slot, or none. With an account the message ends with that: this is
/// noted at the very step, and again each time that step is played again.
inline std::uint64_t claim_next(Owner owner, SlotWord& taken, Account* ends = nullptr,
                                const Pin* pin = nullptr) {
    std::uint64_t slot = slots;
    (void)ring().pop([&](std::uint64_t index, std::uint64_t tag) {
        const std::uint64_t seen = memory.state[index].load();
        const SlotWord word = SlotWord::of(seen);
        if (word.state != SlotState::ready || tag_of(word.generation) != tag) return Claim::stale;
        const SlotWord leased = word.leased_by(owner);
        const SlotWord after = ends != nullptr ? leased.acked_by(owner) : leased;
        if (pin != nullptr) {
            pin->until.store(1);
            pin->what.store(PinWord{static_cast<std::uint32_t>(index), word.generation}.pack());
        }
        if (!memory.state[index].swap(seen, after.pack())) {
            if (pin != nullptr) pin->what.store(0);
            return Claim::retry;
        }
        if (ends != nullptr) ends->acks[index] = 1;
        slot = index;
        taken = after;
        return Claim::taken;
    });
    return slot;
}

/// What a consumer does with the message that it takes. The last one is for a queue that hands each
/// out at most once: there the message ends when it is taken.
enum class Deed : std::uint8_t { acks, nacks, untakes, untakes_at_most_once };

inline const std::vector<Deed> deeds{Deed::acks, Deed::nacks, Deed::untakes,
                                     Deed::untakes_at_most_once};

inline SlotWord after_deed(Deed deed, SlotWord taken, Owner owner) {
    if (deed == Deed::acks) return taken.acked_by(owner).freed();
    return deed == Deed::nacks ? taken.returned() : taken.untaken();
}

/// Takes one message; acks it, or gives it back in one way or another.
inline void consume(std::size_t actor, Deed deed, const Phase& phase) {
    const std::uint64_t slot = phase.now.locals[0];
    SlotWord taken = SlotWord::of(phase.now.locals[1]);
    switch (phase.now.phase) {
        case 0: {
            Account* const ends = deed == Deed::untakes_at_most_once ? &phase.account : nullptr;
            const Pin pin = pin_of(actor);
            const std::uint64_t claimed =
                claim_next(owner_of(actor), taken, ends, has_pins ? &pin : nullptr);
            if (claimed == slots) return phase.end();
            phase.next.locals = {claimed, taken.pack()};
            return phase.go_on(1);
        }
        case 1: {
            const SlotWord after = after_deed(deed, taken, owner_of(actor));
            const bool is_ours = memory.state[slot].swap(taken.pack(), after.pack());
            if (is_ours && deed == Deed::acks) ++phase.account.acks[slot];
            if (is_ours && deed == Deed::untakes_at_most_once) phase.account.acks[slot] = 0;
            if (is_ours && deed != Deed::acks) return phase.go_on(2);
            return has_pins ? phase.go_on(3) : phase.end();
        }
        case 2:
            (void)ring().push(slot, after_deed(deed, taken, owner_of(actor)).generation);
            return has_pins ? phase.go_on(3) : phase.end();
        default:
            pin_of(actor).what.store(0);
            phase.end();
    }
}

/// As Keeper::take_back() does it, for one slot after the other.
inline void take_back(const Phase& phase) {
    const std::uint64_t slot = phase.now.phase / 2;
    if (slot == slots) return phase.end();
    if (phase.now.phase % 2 != 0) {
        (void)ring().push(slot, phase.now.locals[0]);
        return phase.go_on(2 * slot + 2);
    }
    const std::uint64_t seen = memory.state[slot].load();
    const SlotWord ready = SlotWord::of(seen).returned();
    const bool is_taken = SlotWord::of(seen).state == SlotState::leased &&
                          memory.state[slot].swap(seen, ready.pack());
    if (is_taken) phase.next.locals[0] = ready.generation;
    phase.go_on(2 * slot + (is_taken ? 1 : 2));
}

// As Keeper::repair() does it: return, look at slots, look at cells, look again, fill. The locals
// are the words of the slots, and a bit for each that has no cell.
inline void return_slot(std::size_t dead, std::size_t slot) {
    SteppedWord& state = memory.state[slot];
    const std::uint64_t seen = state.load();
    const SlotWord word = SlotWord::of(seen);
    if (word.owner != owner_of(dead)) return;
    if (word.state == SlotState::reserved) state.store(word.abandoned().pack());
    if (word.state == SlotState::leased) (void)state.swap(seen, word.returned().pack());
    if (word.state == SlotState::retiring) state.store(word.freed().pack());
}

inline std::uint64_t slots_without_cell(const Place& now) {
    std::uint64_t missing = 0;
    for (std::size_t slot = 0; slot < slots; ++slot) {
        if (SlotWord::of(now.locals[slot]).state == SlotState::ready)
            missing |= std::uint64_t{1} << slot;
    }
    ring().for_each([&](std::uint64_t slot, std::uint64_t tag) {
        if (tag_of(SlotWord::of(now.locals[slot]).generation) == tag)
            missing &= ~(std::uint64_t{1} << slot);
    });
    return missing;
}

inline void repair(std::size_t dead, const Phase& phase) {
    const std::uint64_t slot = phase.now.phase % slots;
    std::uint64_t& missing = phase.next.locals[slots];
    const bool is_missing = (phase.now.locals[slots] >> slot & 1) != 0;
    phase.go_on(phase.now.phase + 1);
    switch (phase.now.phase / slots) {
        case 0:
            return return_slot(dead, slot);
        case 1:
            phase.next.locals[slot] = memory.state[slot].load();
            return;
        case 2:
            missing = slots_without_cell(phase.now);
            return phase.go_on(3 * slots);
        case 3:
            if (is_missing && memory.state[slot].load() != phase.now.locals[slot])
                missing &= ~(std::uint64_t{1} << slot);
            return;
        case 4:
            if (is_missing)
                (void)ring().push(slot, SlotWord::of(phase.now.locals[slot]).generation);
            return;
        default:
            phase.end();
    }
}

/// As Keeper::sweep() does it when every lease is over: by the pins; and by the rings where a pin
/// says so, or where a producer may be stopped.
inline void sweep(bool is_producer_stopped, const Phase& phase) {
    constexpr std::uint64_t each = 3;
    constexpr std::uint64_t pins_end = 2 * each;
    const std::uint64_t at = phase.now.phase;
    if (at >= pins_end) {  // the locals are those of repair()
        Place now = phase.now;
        now.phase = at - pins_end + slots;
        const Phase refilling{now, phase.next, phase.account};
        repair(slots, refilling);
        phase.next.phase = phase.next.phase - slots + pins_end;
        return;
    }
    const std::uint64_t consumer = at / each;
    const auto next_pin = [&] {
        const bool is_last = consumer == 1;
        const bool wants_refill = phase.next.locals[slots] != 0 || is_producer_stopped;
        if (is_last && !wants_refill) return phase.end();
        phase.next.locals[0] = 0;
        if (is_last) phase.next.locals = {};
        phase.go_on((consumer + 1) * each);
    };
    if (at % each == 0) {
        phase.next.locals[0] = memory.pins[consumer].load();
        return phase.next.locals[0] == 0 ? next_pin() : phase.go_on(at + 1);
    }
    const PinWord pin = PinWord::of(phase.now.locals[0]);
    if (at % each == 2) {
        (void)ring().push(pin.slot, pin.generation + 1);
        return next_pin();
    }
    SteppedWord& until = memory.until[consumer];
    const bool was_over = until.load() == over;
    const std::uint64_t seen = memory.state[pin.slot].load();
    const SlotWord word = SlotWord::of(seen);
    const bool is_unlisted =
        word.state == SlotState::ready && word.generation == pin.generation + 1 && !was_over;
    const bool is_held = word.state == SlotState::leased && word.generation == pin.generation &&
                         word.owner == owner_of(slots + consumer);
    if (!is_unlisted && !is_held) return next_pin();
    if (!was_over) (void)until.swap(1, over);
    if (is_held && memory.state[pin.slot].swap(seen, word.returned().pack()))
        return phase.go_on(at + 1);
    phase.next.locals[slots] = 1;
    next_pin();
}

}  // namespace shm_test::explorer
