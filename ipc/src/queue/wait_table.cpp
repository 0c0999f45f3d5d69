#include "wait_table.hpp"

#include <bit>

#include <green/errors.hpp>
#include <green/sys.hpp>

#include "crash_point.hpp"

namespace green::ipc::shm {
namespace {

constexpr std::uint64_t bit_of(unsigned index) noexcept { return std::uint64_t{1} << (index % 64); }

}  // namespace

WaitTable::WaitTable(const Segment& segment, std::span<const int> doorbells)
    : segment_{segment}, doorbells_{doorbells} {
    if (doorbells.size() != segment.config().wait_slots) {
        throw UsageError(segment.path() + ": " + std::to_string(doorbells.size()) +
                         " doorbells for " + std::to_string(segment.config().wait_slots) +
                         " wait slots");
    }
}

std::optional<unsigned> WaitTable::claim(Owner owner) {
    for (unsigned index = 0; index < segment_.config().wait_slots; ++index) {
        if (!segment_.wait(index).owner.swap(nobody, owner)) continue;
        crash_point(CrashPoint::wait_claimed);
        return index;
    }
    return {};
}

void WaitTable::release(Owner owner) {
    for (unsigned index = 0; index < segment_.config().wait_slots; ++index) {
        if (segment_.wait(index).owner.load() == owner) give_up(index);
    }
}

void WaitTable::give_up(unsigned index) {
    for (unsigned i = 0; i < interests; ++i) disarm(index, static_cast<Interest>(i));
    segment_.wait(index).wanted_bytes.poke(0);
    segment_.wait(index).owner.store(nobody);
}

void WaitTable::arm(unsigned index, Interest interest, std::uint64_t bytes) {
    if (interest == Interest::memory) segment_.wait(index).wanted_bytes.poke(bytes);
    sleepers(interest).bits[index / 64].set_bits(bit_of(index));
    crash_point(CrashPoint::wait_armed);
}

bool WaitTable::disarm(unsigned index, Interest interest) {
    return (sleepers(interest).bits[index / 64].clear_bits(bit_of(index)) & bit_of(index)) == 0;
}

bool WaitTable::has_sleepers(Interest interest) const noexcept {
    const Sleepers& who = sleepers(interest);
    std::uint64_t any = 0;
    for (const Word& bits : who.bits) any |= bits.load();
    return any != 0;
}

// The first set bit behind `cursor`, going round.
std::optional<unsigned> WaitTable::next_after(Interest interest,
                                              std::uint64_t cursor) const noexcept {
    const Sleepers& who = sleepers(interest);
    const auto first = static_cast<unsigned>((cursor + 1) % (std::uint64_t{wait_words} * 64));
    for (unsigned step = 0; step <= wait_words; ++step) {
        const unsigned word = (first / 64 + step) % wait_words;
        std::uint64_t bits = who.bits[word].load();
        if (step == 0) bits &= ~std::uint64_t{0} << (first % 64);
        if (bits != 0) return word * 64 + static_cast<unsigned>(std::countr_zero(bits));
    }
    return {};
}

void WaitTable::wake(Interest interest) {
    if (interest == Interest::memory) return wake_for_memory(1);
    Word& cursor = sleepers(interest).cursor;
    while (const auto index = next_after(interest, cursor.peek())) {
        cursor.poke(*index);
        if (choose(interest, *index)) return;
    }
}

bool WaitTable::choose(Interest interest, unsigned index) {
    if ((sleepers(interest).bits[index / 64].clear_bits(bit_of(index)) & bit_of(index)) == 0)
        return false;
    if (index >= segment_.config().wait_slots) return false;
    crash_point(CrashPoint::wake_chosen);
    return ring(index);
}

// Another sleeper is tried when a doorbell cannot be rung; it stays unarmed, as one that nobody
// answers.
bool WaitTable::ring(unsigned index) const noexcept {
    const std::uint64_t one = 1;
    const sys::Outcome outcome = sys::write(doorbells_[index], &one, sizeof one);
    if (!outcome.ok() && !outcome.would_block()) return false;  // full is as good as rung
    segment_.wait(index).woken.add(1);
    return true;
}

void WaitTable::wake_for_memory(std::uint64_t chunks) {
    const std::uint64_t chunk = segment_.geometry().chunk_bytes;
    Word& cursor = sleepers(Interest::memory).cursor;
    std::uint64_t last = cursor.peek();
    for (unsigned left = segment_.config().wait_slots; left > 0; --left) {
        const auto index = next_after(Interest::memory, last);
        if (!index) return;
        last = *index;
        const bool is_small = *index < segment_.config().wait_slots &&
                              segment_.wait(*index).wanted_bytes.peek() <= chunk / 2;
        if (is_small && chunks == 0) continue;
        if (!choose(Interest::memory, *index)) continue;
        if (!is_small) continue;
        --chunks;
        cursor.poke(last);
    }
}

void WaitTable::wake_all() {
    for (unsigned index = 0; index < segment_.config().wait_slots; ++index) {
        if (segment_.wait(index).owner.load() == nobody) continue;
        for (unsigned i = 0; i < interests; ++i) disarm(index, static_cast<Interest>(i));
        (void)ring(index);
    }
}

}  // namespace green::ipc::shm
