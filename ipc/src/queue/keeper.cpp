#include "keeper.hpp"

#include <utility>

#include <green/sys.hpp>

#include "crash_point.hpp"

namespace green::ipc::shm {

Keeper::Doorbells::Doorbells(unsigned count) {
    fds_.reserve(count);
    while (fds_.size() < count) {
        const sys::Outcome made = sys::eventfd(0);
        if (!made.ok()) {
            for (const int fd : fds_) (void)sys::close(fd);
            sys::fail(made.error, "eventfd for a queue's doorbell");
        }
        fds_.push_back(made.as_int());
    }
}

Keeper::Doorbells::~Doorbells() {
    for (const int fd : fds_) (void)sys::close(fd);
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
    const SlotWord ready = word.returned();
    if (!segment_.slot(slot).state.swap(seen, ready.pack())) return false;
    crash_point(CrashPoint::sweep_returned);
    slots_.queue(slot, ready, Turn::first);
    return true;
}

void Keeper::configure(const Settings& settings) { segment_.control().lease.poke(settings.lease); }

void Keeper::wake_all() { waits_.wake_all(); }

}  // namespace green::ipc::shm
