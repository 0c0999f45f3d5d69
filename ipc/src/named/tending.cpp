#include "named/tending.hpp"

#include <algorithm>
#include <chrono>
#include <optional>

#include <green/fd.hpp>
#include <green/greenlet.hpp>
#include <green/sys.hpp>

#include "named/complaints.hpp"
#include "queue/keeper.hpp"

namespace green::ipc {
namespace {

using namespace std::chrono_literals;
using shm::Interest;

constexpr Duration patience = 1min;  // a note of what falls due can die with its writer
constexpr Duration pause = 1ms;      // one look for what falls due together
constexpr int share = 20;            // of our time at most one part in so many is for looking
constexpr Duration blind = 200ms;    // without a place to sleep

/// A place among the sleepers, given back at the end.
class Place {
 public:
    Place(shm::WaitTable& table, shm::Owner us) noexcept : table_{table}, index_{table.claim(us)} {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() {
        if (index_) table_.give_up(*index_);
    }
    /// A number of its own for what is rung for this place, if there is one: other bells are
    /// others'. Throws std::system_error.
    [[nodiscard]] std::optional<Fd> bell() const {
        if (!index_) return {};
        return Fd{
            static_cast<int>(sys::must(sys::dup(table_.doorbell(*index_)), "dup a doorbell"))};
    }
    void arm(Interest interest) {
        if (index_) table_.arm(*index_, interest);
    }
    /// Whether somebody had rung for it.
    bool disarm(Interest interest) { return index_ && table_.disarm(*index_, interest); }

 private:
    shm::WaitTable& table_;
    std::optional<unsigned> index_;
};

void wait_for_bell(Fd& bell, Deadline deadline) {
    for (detail::FdOperation operation{bell, detail::Direction::read, deadline,
                                       detail::Reach::background};
         operation.go();) {
        std::uint64_t rings = 0;
        const sys::Outcome got = sys::read(operation.number(), &rings, sizeof rings);
        if (!got.would_block()) return;
        operation.blocked();
    }
}

std::int64_t nanoseconds(TimePoint when) { return when.time_since_epoch().count(); }

/// One damaged message must not end what time brings about for all others.
shm::Sweep sweep_slice(shm::Keeper& keeper, Duration& spent, Complaints& complaints) {
    const TimePoint begun = now();
    shm::Sweep sweep;
    try {
        sweep = keeper.sweep(nanoseconds(begun));
    } catch (const shm::SegmentError& error) {
        complaints.add(error);
        sweep.is_done = false;
    }
    spent += now() - begun;
    return sweep;
}

}  // namespace

void tend(shm::Keeper& keeper) {
    const shm::Segment& segment = keeper.segment();
    shm::WaitTable table{segment, keeper.doorbells()};
    // The last number is the keeper's own.
    Place place{table, segment.config().members};
    std::optional<Fd> bell = place.bell();
    Complaints complaints;
    for (;;) {
        place.arm(Interest::timers);  // before we look: what is noted from now on rings
        Duration spent{};
        shm::Sweep sweep = sweep_slice(keeper, spent, complaints);
        while (!sweep.is_done) {
            yield();
            sweep = sweep_slice(keeper, spent, complaints);
        }
        TimePoint next = now() + patience;
        if (sweep.due != 0) next = std::min(next, TimePoint{Duration{sweep.due}});
        next = std::max(next, now() + std::max(pause, share * spent));
        if (bell)
            wait_for_bell(*bell, Deadline::at(next));
        else
            sleep_until(std::min(next, now() + blind));
    }
}

// Who ends a message frees its slot and rings for it. One who frees a slot wakes one sleeper; a
// producer may need it more than we do.
bool wait_until_empty(shm::Keeper& keeper, Deadline deadline) {
    constexpr Duration nap = 1s;  // a slot whose last reader is slow is freed without a word
    shm::WaitTable table{keeper.segment(), keeper.doorbells()};
    Place place{table, keeper.segment().config().members};
    std::optional<Fd> bell = place.bell();
    for (;;) {
        place.arm(Interest::slots);
        const bool is_empty = keeper.empty([] { yield(); });
        if (!is_empty && !deadline.has_passed()) {
            if (bell)
                (void)bell->wait_readable(std::min(deadline, Deadline{nap}));
            else
                sleep_until(std::min(deadline, Deadline{blind}).when());
        }
        std::uint64_t rings = 0;
        if (bell) (void)sys::read(bell->number(), &rings, sizeof rings);
        place.disarm(Interest::slots);
        table.announce(Interest::slots);
        if (is_empty || keeper.empty([] { yield(); })) return true;
        if (deadline.has_passed()) return false;
        sleep(pause);
    }
}

}  // namespace green::ipc
