// What the keeper does because time has passed, in slices.
//
// A pass begins by forgetting when it is due and ends by noting the earliest thing that is still to
// come. Who sets a later date meanwhile notes it himself (Slots::remind()): he changes first and
// looks at `due` then, the keeper clears `due` first and looks then, so one of them sees the other.

#include "crash_point.hpp"
#include "keeper.hpp"
#include "pins.hpp"

namespace green::ipc::shm {

Sweep Keeper::sweep(std::int64_t now, std::size_t budget) {
    Word& due = segment_.control().due;
    if (!pass_) {
        pass_.emplace();
        due.swap(due.load(), 0);
        full_fence();
        crash_point(CrashPoint::sweep_begun);
    }
    if (!sweep_pins(static_cast<std::uint64_t>(now), budget)) return {false, 0};
    crash_point(CrashPoint::sweep_pass);
    if (pass_->due != 0) (void)slots_.bring_forward(pass_->due);
    pass_.reset();
    return {true, due.load()};
}

// Leases are found by the pins of their holders: there are few of them, however large the queue.
bool Keeper::sweep_pins(std::uint64_t now, std::size_t& budget) {
    for (; pass_->owner <= segment_.config().members; ++pass_->owner, pass_->pin = 0) {
        const std::span<PinRecord> pins = segment_.pins(pass_->owner);
        const std::uint64_t used = segment_.member(pass_->owner).pins_used.load();
        for (; pass_->pin < used && pass_->pin < pins.size(); ++pass_->pin, --budget) {
            if (budget == 0) return false;
            sweep_pin(pass_->owner, pins[pass_->pin], now);
        }
    }
    return true;
}

// Q17, Q18. A pin that says `over` already is one whose keeper was killed on the way, or one whose
// owner still reads what was taken away.
void Keeper::sweep_pin(Owner owner, PinRecord& pin, std::uint64_t now) {
    const std::uint64_t what = pin.what.load();
    if (what == 0) return;
    const std::uint64_t until = pin.until.load();
    if (until == for_ever) return;
    if (until > now) return pass_->note(until);
    const PinWord pinned = PinWord::of(what);
    if (pinned.slot >= segment_.config().capacity) return;
    const std::uint64_t seen = segment_.slot(pinned.slot).state.load();
    const SlotWord word = SlotWord::of(seen);
    if (word.state != SlotState::leased || word.owner != owner ||
        word.generation != pinned.generation) {
        return;
    }
    if (until != over && !pin.until.swap(until, over)) return pass_->note(now);
    crash_point(CrashPoint::sweep_ended);
    if (take_back(pinned.slot, seen)) segment_.control().expired.count();
}

}  // namespace green::ipc::shm
