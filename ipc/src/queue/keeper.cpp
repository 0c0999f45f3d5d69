#include "keeper.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <green/sys.hpp>

#include "crash_point.hpp"

namespace green::ipc::shm {

Keeper::Doorbells::Doorbells(unsigned count) {
    fds_.reserve(count);
    numbers_.reserve(count);
    while (fds_.size() < count) {
        const auto made = sys::must(sys::eventfd(0), "eventfd for a queue's doorbell");
        fds_.emplace_back(static_cast<int>(made));
        numbers_.push_back(fds_.back().number());
    }
}

Keeper::Keeper(Segment segment)
    : segment_{std::move(segment)},
      doorbells_{segment_.config().wait_slots},
      waits_{segment_, doorbells_.get()},
      chunks_{segment_},
      slots_{segment_, chunks_, waits_, nobody} {}

Keeper::~Keeper() = default;

bool Keeper::take_back(std::uint32_t slot, std::uint64_t seen) {
    const SlotWord word = SlotWord::of(seen);
    if (slot >= segment_.config().capacity || word.state != SlotState::leased) return false;
    const SlotWord after = slots_.after_return(word);
    if (!segment_.slot(slot).state.swap(seen, after.pack())) return false;
    crash_point(CrashPoint::sweep_returned);
    if (after.state == SlotState::dead)
        slots_.remind(segment_.control().slot_due, at_once);
    else
        slots_.queue(slot, after);
    return true;
}

bool Keeper::bury_dead(std::uint32_t slot, std::uint64_t seen) {
    const SlotWord word = SlotWord::of(seen);
    if (slot >= segment_.config().capacity || word.state != SlotState::dead) return false;
    const SlotWord retiring = word.buried_by(nobody);
    if (!segment_.slot(slot).state.swap(seen, retiring.pack())) return false;
    crash_point(CrashPoint::dead_buried);
    slots_.bury(slot, retiring);
    return true;
}

std::span<const std::byte> Keeper::dead_message(std::uint32_t slot) const {
    const SlotRecord& record = segment_.slot(slot);
    const auto memory = chunks_.find(record.extent.load(), slot);
    const std::uint64_t size = record.size.peek();
    if (!memory || size > memory->size())
        segment_.damaged("damaged: slot " + std::to_string(slot) +
                         " holds a message without memory");
    return memory->first(size);
}

void Keeper::close() {
    segment_.control().is_closed.store(1);
    full_fence();
    waits_.wake_all();
}

std::uint64_t Keeper::level() const noexcept {
    const std::uint64_t slots = slots_.used_percent();
    return chunks_.taken_percent() <= slots ? slots : std::max(slots, chunks_.used_percent());
}

void Keeper::configure(const Settings& settings) {
    Control& control = segment_.control();
    control.lease.poke(settings.lease);
    control.dedup_window.poke(settings.dedup_window);
    control.time_to_live.poke(settings.time_to_live);
    control.max_message.poke(settings.max_message);
    control.when_full.poke(static_cast<std::uint64_t>(settings.when_full));
    control.at_most_once.poke(settings.at_most_once ? 1 : 0);
    control.high.poke(settings.high);
    low_ = settings.low;
    slots_.remind(control.due, at_once);
    control.has_dead_letter.poke(settings.has_dead_letter ? 1 : 0);
    // Those who died while there was no place for them, or for whom there is none any more.
    slots_.remind(control.slot_due, at_once);
    // What cannot be kept as a dead letter is delivered for ever rather than dropped.
    control.max_deliveries.poke(settings.has_dead_letter ? settings.max_deliveries : 0);
}

void Keeper::wake_all() { waits_.wake_all(); }

}  // namespace green::ipc::shm
