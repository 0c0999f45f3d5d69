// What becomes of messages that nobody wants now, or ever: given back for later, rejected,
// delivered too often, in the hands of those who died.

#include "queue/crash_point.hpp"
#include "shm_children.hpp"
#include "shm_support.hpp"

using namespace shm_test;

namespace {

void keep_dead_letters(const Queue& queue, std::uint64_t max_deliveries) {
    queue.keeper->configure({.max_deliveries = max_deliveries, .has_dead_letter = true});
}

std::vector<std::uint64_t> killers_of(const SlotRecord& slot) {
    std::vector<std::uint64_t> pids;
    if (slot.about.peek() != slot.sequence.peek()) return pids;
    for (const Word& pid : slot.killers) {
        if (pid.peek() != 0) pids.push_back(pid.peek());
    }
    return pids;
}

/// Dies with the next message in hand. Returns its pid.
std::uint64_t die_with_a_message(const Queue& queue) {
    const pid_t child = fork_child([&] {
        const auto member = queue.join(3);
        Lease lease;
        if (member->try_get(lease) == Got::message) ::raise(SIGKILL);
    });
    REQUIRE(reap(child) == SIGKILL);
    return static_cast<std::uint64_t>(child);
}

/// Whether something was dropped for a message that finds no memory.
bool try_drop(Member& member, std::size_t bytes) {
    std::size_t budget = 1;
    const Dropped dropped = member.make_room(Shortage::memory, bytes, budget);
    return dropped == Dropped::enough || dropped == Dropped::some;
}

}  // namespace

TEST_CASE("queue fate: what is given back for later comes at its time, before all others",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    for (std::uint64_t id = 1; id <= 3; ++id) send(*member, id);
    Lease one = receive(*member);
    Lease two = receive(*member);
    CHECK(member->nack_until(one, 500));
    CHECK(member->nack_until(two, 400));
    CHECK(status(queue.segment()).delayed == 2);
    CHECK_FALSE(queue.keeper->empty());
    CHECK(queue.keeper->sweep(0).due == 400);
    CHECK(is_sound(queue.segment()));
    CHECK(sweep_all(*queue.keeper, 400, 2).due == 500);
    two = receive(*member);
    CHECK(id_of(two.message) == 2);
    CHECK(two.deliveries() == 2);
    CHECK(queue.keeper->sweep(499).due == 500);
    CHECK(queue.keeper->sweep(500).due != 500);
    CHECK(member->ack(two));
    CHECK(drain(*member) == std::vector<std::uint64_t>{1, 3});
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue fate: a late wish for later is refused and changes nothing for the next holder",
          "[ipc][queue]") {
    const Queue queue;
    const auto slow = queue.join(1);
    const auto other = queue.join(2);
    send(*slow, 1);
    Lease lost = receive_and_lose(queue, *slow);
    Lease lease = receive(*other);
    CHECK(other->nack_until(lease, 100));
    CHECK_FALSE(slow->nack_until(lost, 1'000'000));
    CHECK_FALSE(lost);
    (void)queue.keeper->sweep(100);
    CHECK(drain(*other) == std::vector<std::uint64_t>{1});
}

TEST_CASE("queue fate: a rejected message ends, or is kept dead where there are dead letters",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    send(*member, 1);
    SECTION("it ends") {
        Lease lease = receive(*member);
        CHECK(member->reject(lease));
        CHECK(status(queue.segment()).rejected == 1);
        CHECK(status(queue.segment()).free == 8);
    }
    SECTION("it is kept") {
        keep_dead_letters(queue, 3);
        Lease lease = receive(*member);
        const std::uint32_t slot = lease.slot;
        CHECK(member->reject(lease));
        CHECK(status(queue.segment()).dead == 1);
        CHECK(queue.keeper->empty());
        CHECK(slot_of(queue.segment(), slot).reason() == Reason::rejected);
        CHECK(queue.segment().control().slot_due.load() == at_once);
        CHECK(member->try_get(lease) == Got::nothing);
        CHECK(id_of(queue.keeper->dead_message(slot)) == 1);
        CHECK(is_sound(queue.segment()));
        queue.keeper->recover();
        CHECK(status(queue.segment()).dead == 1);
        const std::uint64_t word = queue.segment().slot(slot).state.load();
        CHECK(queue.keeper->bury_dead(slot, word));
        CHECK_FALSE(queue.keeper->bury_dead(slot, word));
        CHECK(status(queue.segment()).free == 8);
    }
    SECTION("too late") {
        keep_dead_letters(queue, 3);
        Lease lost = receive_and_lose(queue, *member);
        CHECK_FALSE(member->reject(lost));
        CHECK(status(queue.segment()).ready == 1);
    }
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue fate: after so many deliveries a message is dead, however it came back",
          "[ipc][queue]") {
    const Queue queue;
    keep_dead_letters(queue, 2);
    const auto member = queue.join(1);
    send(*member, 1);
    Lease lease = receive(*member);
    REQUIRE(member->nack(lease));
    lease = receive(*member);
    REQUIRE(lease.deliveries() == 2);
    const std::uint32_t slot = lease.slot;
    SECTION("given back") { CHECK(member->nack(lease)); }
    SECTION("given back for later") { CHECK(member->nack_until(lease, 100)); }
    SECTION("its time over") {
        (void)queue.keeper->sweep(late);
        CHECK_FALSE(member->ack(lease));
    }
    SECTION("its holder dead") { queue.keeper->repair(1); }
    SECTION("everybody dead") { queue.keeper->recover(); }
    CHECK(slot_of(queue.segment(), slot).state == SlotState::dead);
    CHECK(slot_of(queue.segment(), slot).reason() == Reason::deliveries);
    CHECK(queue.segment().control().slot_due.load() == at_once);
}

TEST_CASE("queue fate: the memory of a dead one stays while its last holder may read it",
          "[ipc][queue]") {
    const Queue queue;
    keep_dead_letters(queue, 1);
    const auto reader = queue.join(1);
    send(*reader, 1);
    Lease lost = receive(*reader);
    (void)queue.keeper->sweep(late);
    const std::uint32_t slot = lost.slot;
    REQUIRE(queue.keeper->bury_dead(slot, queue.segment().slot(slot).state.load()));
    CHECK(slot_of(queue.segment(), slot).state == SlotState::zombie);
    CHECK(is_whole(lost.message));
    CHECK_FALSE(reader->ack(lost));
    CHECK(status(queue.segment()).free == 8);
}

TEST_CASE("queue fate: a message whose time is over is ended by who would get it, or by the keeper",
          "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.time_to_live = 100});
    (void)queue.keeper->sweep(1);
    const auto member = queue.join(1);
    const auto put_at = [&](std::uint64_t id, std::int64_t now) {
        Reservation reservation;
        REQUIRE(member->try_reserve(100, reservation) == Shortage::none);
        write_message(reservation.memory.first(100), id);
        (void)member->put(reservation, 100, now);
    };
    put_at(1, 10);
    put_at(2, 20);
    put_at(3, 30);
    put_at(4, 200);
    CHECK(queue.segment().control().due.load() == 110);
    Lease lease;
    SECTION("by who would get it") {
        REQUIRE(member->try_get(lease, 120) == Got::message);
        CHECK(id_of(lease.message) == 3);
        CHECK(status(queue.segment()).died == 2);
        CHECK(member->ack(lease));
    }
    SECTION("by the keeper") {
        CHECK(sweep_all(*queue.keeper, 120, 1).due == 130);
        CHECK(status(queue.segment()).died == 2);
        CHECK(status(queue.segment()).free == 6);
        CHECK(queue.keeper->sweep(130).due == 300);
    }
    SECTION("what was in hand is ended when it comes back") {
        REQUIRE(member->try_get(lease, 50) == Got::message);
        CHECK(member->nack(lease));
        CHECK(sweep_all(*queue.keeper, 110).due == 120);
        CHECK(status(queue.segment()).died == 1);
    }
    SECTION("as a dead letter, where there are such") {
        queue.keeper->configure({.has_dead_letter = true, .time_to_live = 100});
        CHECK(member->try_get(lease, 115) == Got::message);
        CHECK(id_of(lease.message) == 2);
        (void)sweep_all(*queue.keeper, 130);
        CHECK(status(queue.segment()).dead == 2);
        for (std::uint32_t slot = 0; slot < 8; ++slot) {
            if (slot_of(queue.segment(), slot).state != SlotState::dead) continue;
            CHECK(slot_of(queue.segment(), slot).reason() == Reason::expired);
        }
    }
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue fate: a queue that only ages never chokes on what it has dropped",
          "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.time_to_live = 1});
    const auto member = queue.join(1);
    for (std::int64_t now = 1; now < 2000; ++now) {
        for (int i = 0; i < 3; ++i) {
            Reservation reservation;
            REQUIRE(member->try_reserve(100, reservation) == Shortage::none);
            (void)member->put(reservation, 100, now);
        }
        (void)sweep_all(*queue.keeper, now + 1);
        REQUIRE(status(queue.segment()).free == 8);
    }
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue fate: room is made by dropping the oldest that nobody has in hand",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    for (std::uint64_t id = 1; id <= 8; ++id) send(*member, id);
    Lease held = receive(*member);
    Lease given_back = receive(*member);
    REQUIRE(member->nack(given_back));
    CHECK(member->drop_oldest());
    send(*member, 9);
    CHECK(member->drop_oldest());
    CHECK(drain(*member) == std::vector<std::uint64_t>{4, 5, 6, 7, 8, 9});
    CHECK_FALSE(member->drop_oldest());
    CHECK(member->ack(held));
    const Status now = status(queue.segment());
    CHECK(now.dropped_oldest == 2);
    CHECK(now.put == now.acked + now.dropped_oldest);
    CHECK(now.free == 8);
    CHECK(is_sound(queue.segment()));
}

// Who gives one back has his pin on it until others can get it.
TEST_CASE("queue fate: one that is just being given back is not dropped", "[ipc][queue]") {
    static Member* producer = nullptr;
    static Dropped dropped{};
    const Queue queue;
    queue.keeper->configure({.when_full = WhenFull::drop_oldest});
    const auto holder = queue.join(1);
    const auto other = queue.join(2);
    producer = other.get();
    const bool is_alone = GENERATE(false, true);
    for (std::uint64_t id = 1; id <= 8; ++id) send(*other, id);
    std::vector<Lease> held(is_alone ? 7 : 0);
    Lease given_back = receive(*holder);
    for (Lease& lease : held) lease = receive(*holder);
    crash_hook = [](CrashPoint point) {
        if (point != CrashPoint::put_queued) return;
        crash_hook = nullptr;
        std::size_t budget = 64;
        dropped = producer->make_room(Shortage::slots, 100, budget);
        if (dropped == Dropped::enough) (void)try_send(*producer, 9);
    };
    REQUIRE(holder->nack(given_back));
    crash_hook = nullptr;
    CHECK(dropped == (is_alone ? Dropped::none : Dropped::enough));
    CHECK(status(queue.segment()).dropped_oldest == (is_alone ? 0 : 1));
    CHECK(drain(*other) == (is_alone ? std::vector<std::uint64_t>{1}
                                     : std::vector<std::uint64_t>{1, 3, 4, 5, 6, 7, 8, 9}));
    for (Lease& lease : held) CHECK(holder->ack(lease));
    CHECK(is_sound(queue.segment()));
}

TEST_CASE(
    "queue fate: for a large message as many are dropped as it takes, or none if that is no help",
    "[ipc][queue]") {
    constexpr std::size_t quarter = 4 * 4096;
    const Queue queue;
    queue.keeper->configure({.when_full = WhenFull::drop_oldest});
    const auto member = queue.join(1);
    Lease leases[4];
    for (std::uint64_t id = 1; id <= 4; ++id) send(*member, id, quarter);
    for (Lease& lease : leases) lease = receive(*member);
    // They lie side by side. The first and the third wait again.
    REQUIRE(member->nack(leases[2]));
    REQUIRE(member->nack(leases[0]));
    Reservation reservation;
    CHECK_FALSE(try_drop(*member, 2 * quarter));
    CHECK(status(queue.segment()).dropped_oldest == 0);
    CHECK(try_drop(*member, quarter));
    CHECK(member->try_reserve(quarter, reservation) == Shortage::none);
    CHECK(status(queue.segment()).dropped_oldest == 1);
    member->abandon(reservation);
    // With the second given back too there is room for one of twice the size, if it goes as well.
    REQUIRE(member->nack(leases[1]));
    unsigned dropped = 0;
    while (member->try_reserve(2 * quarter, reservation) == Shortage::memory) {
        REQUIRE(try_drop(*member, 2 * quarter));
        ++dropped;
    }
    CHECK(dropped <= 2);
    CHECK(is_whole(leases[3].message));
    member->abandon(reservation);
    CHECK(member->ack(leases[3]));
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue fate: small ones beside what is in hand are dropped only if a chunk comes of it",
          "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.when_full = WhenFull::drop_oldest});
    const auto member = queue.join(1);
    const std::size_t sizes[] = {8 * 4096, 6 * 4096, 1500, 1500};
    for (std::uint64_t id = 0; id < 4; ++id) send(*member, id, sizes[id]);
    Lease leases[3];
    for (Lease& lease : leases) lease = receive(*member);
    // One chunk is left. The fourth message lies beside the third, which somebody has.
    CHECK_FALSE(try_drop(*member, 2 * 4096));
    CHECK(status(queue.segment()).ready == 1);
    CHECK(member->ack(leases[2]));
    CHECK(try_drop(*member, 2 * 4096));
    Reservation reservation;
    CHECK(member->try_reserve(2 * 4096, reservation) == Shortage::none);
    member->abandon(reservation);
    for (const std::size_t held : {0, 1}) CHECK(member->ack(leases[held]));
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue fate: for a large message so many are dropped in a turn, and the rest later",
          "[ipc][queue]") {
    Config config = small_config();
    config.capacity = 4096;
    config.payload_bytes = 256 << 10;
    config.max_message = 64 << 10;
    const Queue queue{config};
    queue.keeper->configure({.when_full = WhenFull::drop_oldest});
    const auto member = queue.join(6);
    for (std::uint64_t id = 0; try_send(*member, id, 64) == Shortage::none;) ++id;
    const std::uint64_t all = status(queue.segment()).ready;
    REQUIRE(all > 4000);
    SECTION("a producer's") {
        std::size_t budget = 100;
        CHECK(member->make_room(Shortage::memory, 16 << 10, budget) == Dropped::some);
        CHECK(budget == 0);
        CHECK(status(queue.segment()).ready >= all - 100);
        budget = 4096;
        CHECK(member->make_room(Shortage::memory, 16 << 10, budget) == Dropped::enough);
        CHECK(status(queue.segment()).ready >= all - 400);
        Reservation reservation;
        REQUIRE(member->try_reserve(16 << 10, reservation) == Shortage::none);
        member->abandon(reservation);
    }
    SECTION("a letter's") {
        const std::vector<std::byte> message(config.max_message);
        Letter letter;
        letter.message = message;
        letter.sequence = 1;
        letter.source = "from";
        std::size_t last = all;
        unsigned calls = 1;
        for (Keeping kept = Kept::goes_on; kept == Kept::goes_on; ++calls) {
            kept = member->keep(letter, 1, 1);
            const std::size_t left = status(queue.segment()).ready;
            CHECK(last - left <= Member::drops_in_a_turn);
            CHECK(kept.cost >= last - left - 1);
            last = left;
        }
        CHECK(calls > 2);
        CHECK(status(queue.segment()).dropped_oldest > Member::drops_in_a_turn);
    }
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue fate: what a late reader may still read is not dropped for its memory",
          "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.when_full = WhenFull::drop_oldest});
    const auto reader = queue.join(1);
    const auto putter = queue.join(2);
    for (std::uint64_t id = 1; id <= 2; ++id) send(*reader, id, 8 * 4096);
    Lease lost = receive(*reader);
    Lease held = receive(*putter);
    REQUIRE(queue.keeper->take_back(lost.slot, lost.word));
    CHECK_FALSE(try_drop(*putter, 4096));
    CHECK(status(queue.segment()).ready == 1);
    const int bell = putter->doorbell();
    putter->arm(Interest::memory, 4096);
    CHECK_FALSE(reader->ack(lost));
    CHECK(is_rung(bell));
    CHECK(try_drop(*putter, 4096));
    CHECK(status(queue.segment()).ready == 0);
    CHECK(putter->ack(held));
    CHECK(status(queue.segment()).free == 8);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue fate: what a late reader may still read is not dropped for its slot",
          "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.when_full = WhenFull::drop_oldest});
    const auto reader = queue.join(1);
    const auto putter = queue.join(2);
    const bool has_another = GENERATE(false, true);  // behind all that are pinned
    for (std::uint64_t id = 1; id <= 8; ++id) send(*putter, id);
    std::vector<Lease> lost(8);
    for (Lease& lease : lost) lease = receive(*reader);
    for (const Lease& lease : lost) REQUIRE(queue.keeper->take_back(lease.slot, lease.word));
    if (has_another) CHECK_FALSE(reader->ack(lost.back()));
    std::size_t budget = 64;
    const int bell = putter->doorbell();
    putter->arm(Interest::slots);
    const Dropped dropped = putter->make_room(Shortage::slots, 100, budget);
    if (has_another) {
        CHECK(dropped == Dropped::enough);
        CHECK(try_send(*putter, 9) == Shortage::none);
    } else {
        CHECK(dropped == Dropped::none);
        CHECK(status(queue.segment()).ready == 8);
        CHECK_FALSE(is_rung(bell));
        CHECK_FALSE(reader->ack(lost.front()));
        CHECK(is_rung(bell));
        CHECK(putter->make_room(Shortage::slots, 100, budget) == Dropped::enough);
        CHECK(status(queue.segment()).dropped_oldest == 1);
        CHECK(try_send(*putter, 9) == Shortage::none);
    }
    for (Lease& lease : lost) {
        if (lease) CHECK_FALSE(reader->ack(lease));
    }
    CHECK(is_sound(queue.segment()));
}

TEST_CASE(
    "queue fate: what was delivered too often is delivered again when no limit counts any more",
    "[ipc][queue]") {
    Queue queue;
    keep_dead_letters(queue, 1);
    {
        const auto member = queue.join(1);
        for (std::uint64_t id = 1; id <= 2; ++id) send(*member, id);
        Lease lease = receive(*member);
        REQUIRE(member->nack(lease));
        lease = receive(*member);
        REQUIRE(member->reject(lease));
    }
    (void)sweep_all(*queue.keeper, 1);
    REQUIRE(status(queue.segment()).dead == 2);
    SECTION("while the queue is in use") { queue.keeper->configure(Settings{}); }
    SECTION("after a restart") {
        queue.keeper = std::make_unique<Keeper>(Segment::open(queue.directory.file()));
        queue.keeper->configure(Settings{});
        queue.keeper->recover();
    }
    (void)sweep_all(*queue.keeper, 1);
    queue.keeper->repair(1);
    const auto member = queue.join(1);
    CHECK(drain(*member) == std::vector<std::uint64_t>{1});
    CHECK(status(queue.segment()).dead == 1);  // nobody wanted it, so nobody gets it
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue fate: where messages are handed out at most once, nothing brings one back",
          "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.at_most_once = true});
    const auto member = queue.join(1);
    send(*member, 1);
    Lease lease = receive(*member);
    CHECK(queue.keeper->empty());
    CHECK(status(queue.segment()).acked == 1);
    (void)sweep_all(*queue.keeper, late);
    CHECK(is_whole(lease.message));
    SECTION("ack") { CHECK(member->ack(lease)); }
    SECTION("nack") { CHECK(member->nack(lease)); }
    SECTION("nack for later") { CHECK(member->nack_until(lease, 5)); }
    SECTION("reject") { CHECK(member->reject(lease)); }
    SECTION("an extension") {
        CHECK(member->extend(lease, 5));
        CHECK(member->ack(lease));
    }
    SECTION("death") { queue.keeper->repair(1); }
    CHECK(status(queue.segment()).free == 8);
    CHECK(status(queue.segment()).acked == 1);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue fate: without dead letters nothing dies of deliveries", "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.max_deliveries = 2});
    const auto member = queue.join(1);
    send(*member, 1);
    for (std::uint32_t i = 1; i <= 300; ++i) {
        Lease lease = receive(*member);
        CHECK(lease.deliveries() == std::min(i, 255u));
        REQUIRE(member->nack(lease));
    }
    CHECK(drain(*member) == std::vector<std::uint64_t>{1});
}

TEST_CASE("queue fate: the pids of those who died with a message in hand are kept with it",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    send(*member, 1);
    std::vector<std::uint64_t> pids;
    for (int i = 0; i < 6; ++i) {
        pids.push_back(die_with_a_message(queue));
        if (i == 2)
            queue.keeper->recover();
        else
            queue.keeper->repair(3);
    }
    Lease lease = receive(*member);
    CHECK(lease.deliveries() == 7);
    CHECK(killers_of(queue.segment().slot(lease.slot)) ==
          std::vector<std::uint64_t>(pids.begin() + 2, pids.end()));
    // The next message in that place has nothing of it.
    CHECK(member->ack(lease));
    for (std::uint64_t id = 2; id < 12; ++id) {
        send(*member, id);
        lease = receive(*member);
        CHECK(killers_of(queue.segment().slot(lease.slot)).empty());
        CHECK(member->ack(lease));
    }
}

TEST_CASE("queue fate: the keeper is told of a time when he can find what it is about",
          "[ipc][queue]") {
    static const Segment* seen = nullptr;
    static std::uint64_t told = 0;
    const Queue queue;
    queue.keeper->configure({.time_to_live = 100});
    (void)sweep_all(*queue.keeper, 1);
    seen = &queue.segment();
    told = for_ever;
    const auto member = queue.join(1);
    crash_hook = [](CrashPoint point) {
        if (point == CrashPoint::put_queued) told = seen->control().due.load();
    };
    send(*member, 1);
    crash_hook = nullptr;
    CHECK(told == 0);
    CHECK(queue.segment().control().due.load() == 100);
}
