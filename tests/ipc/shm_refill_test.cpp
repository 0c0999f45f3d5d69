// The keeper's look for what stands in no ring is cut in slices, and repairs make the same look.
// Each stay gets one cell of it, whoever comes between.

#include <algorithm>

#include "queue/repair.hpp"
#include "shm_children.hpp"
#include "shm_support.hpp"

using namespace shm_test;

namespace {

constexpr std::int64_t minute = 60'000'000'000;

struct Stopped {};

/// One message that stands in no ring: who puts it is stopped.
void put_unlisted(Member& member, std::uint64_t id) {
    crash_hook = [](CrashPoint point) {
        if (point == CrashPoint::put_published) throw Stopped{};
    };
    CHECK_THROWS_AS((void)try_send(member, id), Stopped);
    crash_hook = nullptr;
}

void die_as(const Queue& queue, Owner owner) {
    REQUIRE(reap(fork_child([&] {
                const auto member = queue.join(owner);
                ::raise(SIGKILL);
            })) == SIGKILL);
}

std::size_t cells_in_fresh(const Segment& segment) {
    std::size_t found = 0;
    Control& control = segment.control();
    const Ring ring{control.fresh.head, control.fresh.tail, segment.fresh_cells(),
                    segment.config().capacity};
    ring.for_each([&](std::uint64_t, std::uint64_t) { ++found; });
    return found;
}

}  // namespace

TEST_CASE("queue refill: a look that a repair comes between makes no second cell", "[ipc][queue]") {
    unsigned cuts = 0;
    for (bool is_done = false; !is_done; ++cuts) {
        INFO("cut after " << cuts << " slices");
        const Queue queue;
        const auto member = queue.join(1);
        put_unlisted(*member, 1);
        die_as(queue, 3);
        for (unsigned i = 0; i < cuts && !is_done; ++i)
            is_done = queue.keeper->sweep(minute + 1, 1).is_done;
        queue.keeper->repair(3);
        (void)sweep_all(*queue.keeper, minute + 2);
        CHECK(cells_in_fresh(queue.segment()) == 1);
        CHECK(drain(*member) == std::vector<std::uint64_t>{1});
    }
    CHECK(cuts > 30);
}

TEST_CASE("queue refill: a damaged slot does not end a look that a repair has put off",
          "[ipc][queue]") {
    unsigned cuts = 0;
    for (bool is_done = false; !is_done; ++cuts) {
        INFO("cut after " << cuts << " slices");
        const Queue queue;
        Settings settings;
        settings.lease = 0;
        settings.has_dead_letter = true;
        queue.keeper->configure(settings);
        queue.keeper->set_mover([](const Letter&, std::int64_t) { return Kept::kept; });
        (void)sweep_all(*queue.keeper, 1);
        const auto member = queue.join(1);
        send(*member, 1);
        Lease lease = receive(*member);
        put_unlisted(*member, 2);
        for (unsigned i = 0; i < cuts && !is_done; ++i)
            is_done = queue.keeper->sweep(minute + 1, 1).is_done;
        {
            const Keeper::Repair repair{*queue.keeper, 3};
            (void)sweep_all(*queue.keeper, minute + 1);
        }
        const std::uint32_t slot = lease.slot;
        REQUIRE(member->reject(lease));
        queue.segment().slot(slot).extent.store(0);
        unsigned complaints = 0;
        for (bool is_through = false; !is_through && complaints < 9;) {
            try {
                (void)sweep_all(*queue.keeper, minute + 3);
                is_through = true;
            } catch (const SegmentError&) {
                ++complaints;
            }
        }
        CHECK(complaints == 1);
        if (!is_done) CHECK(drain(*member) == std::vector<std::uint64_t>{2});
    }
    CHECK(cuts > 20);
}

// The keeper's copy and the late cell stand in the same ring, so the second is passed before the
// next one of the same member can become stale.
TEST_CASE("queue refill: who gives one back again and again, stopped each time, fills up no ring",
          "[ipc][queue]") {
    static Keeper* keeper = nullptr;
    static std::int64_t now = 0;
    now = 1;
    const bool is_untaken = GENERATE(false, true);
    const Queue queue;
    keeper = queue.keeper.get();
    Settings settings;
    settings.lease = 0;
    keeper->configure(settings);
    (void)sweep_all(*keeper, now);
    const auto member = queue.join(1);
    const auto witness = queue.join(2);
    send(*witness, 1);
    Lease lease = receive(*member);
    REQUIRE(member->nack(lease));
    send(*witness, 2);
    const std::size_t cells = queue.segment().fresh_cells().size();
    for (std::size_t round = 0; round < 2 * cells; ++round) {
        REQUIRE(member->try_get(lease, now) == Got::message);
        crash_hook = [](CrashPoint point) {
            if (point != CrashPoint::nack_returned) return;
            crash_hook = nullptr;
            now += minute + 1;
            (void)sweep_all(*keeper, now);
        };
        const bool is_back = is_untaken ? member->untake(lease) : member->nack(lease, Turn::last);
        REQUIRE(is_back);
    }
    send(*witness, 3);
    auto found = drain(*witness);
    std::sort(found.begin(), found.end());
    CHECK(found == std::vector<std::uint64_t>{1, 2, 3});
    CHECK(is_sound(queue.segment()));
}
