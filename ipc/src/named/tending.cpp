#include "named/tending.hpp"

#include <algorithm>
#include <chrono>
#include <optional>

#include <green/fd.hpp>
#include <green/greenlet.hpp>
#include <green/sys.hpp>

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
    [[nodiscard]] bool has_one() const noexcept { return index_.has_value(); }
    [[nodiscard]] int doorbell() const noexcept { return table_.doorbell(*index_); }
    void arm() {
        if (index_) table_.arm(*index_, Interest::timers);
    }

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

}  // namespace

void tend(shm::Keeper& keeper) {
    const shm::Segment& segment = keeper.segment();
    shm::WaitTable table{segment, keeper.doorbells()};
    // The last number is the keeper's own.
    Place place{table, segment.config().members};
    const int door = place.has_one() ? place.doorbell() : keeper.doorbells().front();
    Fd bell{static_cast<int>(sys::must(sys::dup(door), "dup a doorbell"))};
    for (;;) {
        const TimePoint begun = now();
        place.arm();  // before we look: what is noted from now on rings
        shm::Sweep sweep = keeper.sweep(nanoseconds(now()));
        while (!sweep.is_done) {
            yield();
            sweep = keeper.sweep(nanoseconds(now()));
        }
        TimePoint next = now() + patience;
        if (sweep.due != 0)
            next = std::min(next, TimePoint{Duration{static_cast<std::int64_t>(sweep.due)}});
        next = std::max(next, now() + std::max(pause, share * (now() - begun)));
        if (place.has_one())
            wait_for_bell(bell, Deadline::at(next));
        else
            sleep_until(std::min(next, now() + blind));
    }
}

}  // namespace green::ipc
