#include "pins.hpp"

#include <algorithm>

namespace green::ipc::shm {

Pins::Pins(const Segment& segment, Owner owner) : segment_{segment}, owner_{owner} {
    const std::uint32_t count = segment.config().pins;
    free_.reserve(count);
    for (std::uint32_t pin = count; pin-- > 0;) free_.push_back(pin);
}

std::uint32_t Pins::place(PinWord what, std::uint64_t until) {
    const std::uint32_t pin = free_.back();
    free_.pop_back();
    Word& used = segment_.member(owner_).pins_used;
    if (used.peek() <= pin) used.store(pin + 1);
    PinRecord& record = segment_.pins(owner_)[pin];
    record.until.poke(until);
    record.what.store(what.pack());
    return pin;
}

void Pins::lift(std::uint32_t pin) {
    segment_.pins(owner_)[pin].what.store(0);
    free_.push_back(pin);
}

bool Pins::extend(std::uint32_t pin, std::uint64_t until) {
    Word& word = segment_.pins(owner_)[pin].until;
    const std::uint64_t seen = word.load();
    return seen != over && word.swap(seen, until);
}

bool Pins::is_pinned(const Segment& segment, std::uint32_t slot) noexcept {
    for (Owner owner = 1; owner <= segment.config().members; ++owner) {
        const std::span<PinRecord> pins = segment.pins(owner);
        const std::uint64_t used =
            std::min<std::uint64_t>(segment.member(owner).pins_used.load(), pins.size());
        for (std::uint64_t i = 0; i < used; ++i) {
            if (PinWord::is_on(pins[i].what.load(), slot)) return true;
        }
    }
    return false;
}

void Pins::clear(const Segment& segment, Owner owner) noexcept {
    for (PinRecord& pin : segment.pins(owner)) pin.what.store(0);
    segment.member(owner).pins_used.store(0);
}

}  // namespace green::ipc::shm
