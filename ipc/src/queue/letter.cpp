// A member's part in dead letters: taking one in, and reading what is known of it.

#include "letter.hpp"

#include <algorithm>
#include <cstring>

#include "crash_point.hpp"
#include "member.hpp"

namespace green::ipc::shm {
namespace {

Keeping without_room(Dropped dropped, std::size_t cost) noexcept {
    return {dropped == Dropped::some ? Kept::goes_on : Kept::no_room, cost};
}

}  // namespace

// The id is the place of its death, so a letter that is moved a second time, because the keeper was
// killed before he had buried it, is a duplicate; however long ago that was.
Keeping Member::keep(const Letter& letter, std::uint64_t identity, std::int64_t now) {
    const std::string_view source = letter.source.substr(0, longest_source);
    const std::size_t size = letter.message.size();
    const std::size_t whole = Letter::size_with(size, source.size());
    if (size > max_message() || whole > config().largest_message()) return Kept::too_large;
    std::size_t budget = drops_in_a_turn;
    Dropped dropped = Dropped::enough;
    Reservation reservation;
    while (!slots_.reserve(reservation.slot, reservation.word)) {
        dropped = make_room(Shortage::slots, whole, budget);
        if (dropped != Dropped::enough) return without_room(dropped, drops_in_a_turn - budget);
    }
    crash_point(CrashPoint::reserve_claimed);
    std::span<std::byte> memory = take_extent(reservation.slot, whole);
    while (memory.empty() && dropped == Dropped::enough) {
        dropped = make_room(Shortage::memory, whole, budget);
        memory = take_extent(reservation.slot, whole);
    }
    if (memory.empty()) {
        abandon(reservation);
        return without_room(dropped, drops_in_a_turn - budget);
    }
    reservation.memory = memory;
    std::copy(letter.message.begin(), letter.message.end(), memory.begin());
    std::byte* const trailer = memory.data() + Letter::trailer_at(size);
    const std::uint64_t put_time = segment_.from_machine(letter.put_time);
    std::memcpy(trailer, &put_time, 8);
    std::memcpy(trailer + 8, &letter.sequence, 8);
    source.copy(reinterpret_cast<char*>(trailer + 16), source.size());
    Letter kept = letter;
    kept.source = source;
    (void)enter(reservation, size, whole, {identity, letter.sequence}, now, for_ever, &kept);
    return {Kept::kept, drops_in_a_turn - budget};
}

void Member::write_letter(SlotRecord& record, const Letter& letter) {
    for (std::size_t i = 0; i < letter.killers.size(); ++i)
        record.killers[i].poke(letter.killers[i]);
    record.letter.poke(letter.pack());
    record.about.poke(record.sequence.peek());
}

std::optional<Letter> Member::letter(const Lease& lease) const {
    if (!lease) return std::nullopt;
    const SlotRecord& record = segment_.slot(lease.slot);
    const std::uint64_t word = record.letter.peek();
    if (record.about.peek() != lease.sequence || word == 0) return std::nullopt;
    const auto memory = chunks_.find(record.extent.load(), lease.slot);
    const std::size_t at = Letter::trailer_at(lease.message.size());
    const std::size_t name = (word >> 8) & 0xffff;
    if (!memory || memory->data() != lease.message.data() || at + 16 + name > memory->size())
        return std::nullopt;
    Letter letter;
    letter.message = lease.message;
    letter.reason = static_cast<Reason>(word & 0xff);
    letter.deliveries = static_cast<std::uint32_t>((word >> 24) & 0xff);
    for (std::size_t i = 0; i < letter.killers.size(); ++i)
        letter.killers[i] = record.killers[i].peek();
    const std::byte* const trailer = memory->data() + at;
    std::uint64_t put_time = 0;
    std::memcpy(&put_time, trailer, 8);
    letter.put_time = segment_.to_machine(put_time);
    std::memcpy(&letter.sequence, trailer + 8, 8);
    letter.source = {reinterpret_cast<const char*>(trailer + 16), name};
    return letter;
}

}  // namespace green::ipc::shm
