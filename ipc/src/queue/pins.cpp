#include "pins.hpp"

#include <algorithm>

namespace green::ipc::shm {

Pins::Pins(const Segment& segment, Owner owner) : segment_{segment}, owner_{owner} {
    const std::uint32_t count = segment.config().pins;
    free_.reserve(count);
    for (std::uint32_t pin = count; pin-- > 0;) free_.push_back(pin);
}

std::uint32_t Pins::place(std::uint32_t slot) {
    const std::uint32_t pin = free_.back();
    free_.pop_back();
    Word& used = segment_.member(owner_).pins_used;
    if (used.peek() <= pin) used.store(pin + 1);
    segment_.pins(owner_)[pin].store(std::uint64_t{slot} + 1);
    return pin;
}

void Pins::lift(std::uint32_t pin) {
    segment_.pins(owner_)[pin].store(0);
    free_.push_back(pin);
}

bool Pins::is_pinned(const Segment& segment, std::uint32_t slot) noexcept {
    for (Owner owner = 1; owner <= segment.config().members; ++owner) {
        const std::span<Word> pins = segment.pins(owner);
        const std::uint64_t used =
            std::min<std::uint64_t>(segment.member(owner).pins_used.load(), pins.size());
        for (std::uint64_t i = 0; i < used; ++i) {
            if (pins[i].load() == std::uint64_t{slot} + 1) return true;
        }
    }
    return false;
}

void Pins::clear(const Segment& segment, Owner owner) noexcept {
    for (Word& pin : segment.pins(owner)) pin.store(0);
    segment.member(owner).pins_used.store(0);
}

}  // namespace green::ipc::shm
