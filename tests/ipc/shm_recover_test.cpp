#include <limits>

#include "shm_support.hpp"

using namespace shm_test;

TEST_CASE("queue recovery: it keeps what was ready, in order, and takes back what everybody held",
          "[ipc][queue]") {
    Queue queue;
    {
        const auto one = queue.join(1);
        const auto two = queue.join(2);
        for (std::uint64_t id = 1; id <= 6; ++id) send(*one, id, id % 2 == 0 ? 100 : 5000);
        Lease leases[3];
        for (Lease& lease : leases) lease = receive(*two);
        REQUIRE(two->ack(leases[1]));
        REQUIRE(two->nack(leases[2], Turn::last));
        Reservation reservation;
        REQUIRE(one->try_reserve(3000, reservation) == Shortage::none);
        (void)two->doorbell();
        two->arm(Interest::items);
    }
    const std::uint64_t generation = status(queue.segment()).generation;
    queue.keeper = std::make_unique<Keeper>(Segment::open(queue.directory.file(), 0xfeed));
    queue.keeper->recover();
    CHECK(is_sound(queue.segment()));
    CHECK(status(queue.segment()).generation == generation + 1);
    CHECK(status(queue.segment()).ready == 5);
    CHECK(status(queue.segment()).oldest_sequence == 1);
    const auto member = queue.join(1);
    Lease lease = receive(*member);
    CHECK(lease.deliveries() == 2);
    CHECK(member->ack(lease));
    CHECK(drain(*member) == std::vector<std::uint64_t>{3, 4, 5, 6});
    send(*member, 7);
    lease = receive(*member);
    CHECK(lease.sequence == 7);
    CHECK(member->ack(lease));
    CHECK(queue.keeper->empty());
}

TEST_CASE("queue recovery: it refuses a segment that contradicts itself and changes nothing",
          "[ipc][queue]") {
    Queue queue;
    send(*queue.join(1), 1);
    const std::uint64_t good = queue.segment().slot(0).state.load();
    const std::uint64_t extent = queue.segment().slot(0).extent.load();
    SECTION("an impossible state") {
        queue.segment().slot(0).state.store(std::uint64_t{0x77} << 56);
    }
    SECTION("an owner out of range") {
        queue.segment().slot(0).state.store(SlotWord{SlotState::leased, 4000, 1, 0}.pack());
    }
    SECTION("a message without memory") { queue.segment().slot(0).extent.store(0); }
    SECTION("a message longer than its memory") { queue.segment().slot(0).size.store(1 << 20); }
    CHECK_THROWS_AS(queue.keeper->recover(), SegmentError);
    queue.segment().slot(0).state.store(good);
    queue.segment().slot(0).extent.store(extent);
    queue.segment().slot(0).size.store(100);
    CHECK_NOTHROW(queue.keeper->recover());
    CHECK(drain(*queue.join(2)) == std::vector<std::uint64_t>{1});
}

// Its length was believed: entries of other chunks were read, and what lies behind them, for ever
// when one of them was zero.
TEST_CASE("queue recovery: a chunk that counts more units than it has ends where it ends",
          "[ipc][queue]") {
    Queue queue;
    send(*queue.join(1), 1);
    const std::uint64_t last = queue.segment().geometry().chunk_count - 1;
    for (const std::uint64_t index : {std::uint64_t{0}, last}) {
        Word& state = queue.segment().chunk(index).state;
        ChunkWord word = ChunkWord::of(state.load());
        word.state = ChunkState::retired;
        word.used = 0xffff;
        state.store(word.pack());
    }
    queue.keeper->recover();
    CHECK(is_sound(queue.segment()));
    CHECK(drain(*queue.join(2)) == std::vector<std::uint64_t>{1});
    queue.keeper->repair(2);
    CHECK(is_like_new(queue.segment()));
}

namespace {

constexpr std::int64_t second = 1'000'000'000;

Entered put_once_at(Member& member, std::uint64_t id, std::int64_t now) {
    Reservation reservation;
    REQUIRE(member.try_reserve(100, reservation) == Shortage::none);
    write_message(reservation.memory.first(100), id);
    return member.put_once(reservation, 100, {id, id}, now);
}

}  // namespace

TEST_CASE("queue recovery: what was given back for ever is due never, on whichever clock",
          "[ipc][queue]") {
    constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();
    const Moment before{{1, 2}, 900 * second};
    const Moment after{{3, 4}, GENERATE(20 * second, 5000 * second)};
    Queue queue;
    const auto give_back = [&] {
        const auto member = queue.join(1);
        send(*member, 1);
        Lease lease = receive(*member);
        REQUIRE(member->nack_until(lease, never));
    };
    for (Word& half : queue.segment().control().boot) half.store(0);
    queue.keeper->recover(before);
    give_back();
    (void)sweep_all(*queue.keeper, 1000 * second);
    queue.keeper = std::make_unique<Keeper>(Segment::open(queue.directory.file()));
    queue.keeper->recover(after);
    give_back();
    CHECK(sweep_all(*queue.keeper, after.now).due > after.now + 1'000'000'000 * second);
    CHECK(status(queue.segment()).delayed == 2);
}

TEST_CASE("queue recovery: time stands still while the machine is down, and goes on with its clock",
          "[ipc][queue]") {
    // Up for a thousand seconds; then for twenty, or longer than ever before.
    const Moment before{{1, 2}, 900 * second};
    const Moment after{{3, 4}, GENERATE(20 * second, 5000 * second)};
    const std::int64_t end = 1000 * second;
    const std::int64_t shift = after.now - end;
    Settings settings;
    settings.time_to_live = 300'000'000'000;
    Queue queue;
    queue.segment().control().boot[0].store(0);
    queue.segment().control().boot[1].store(0);
    queue.keeper->recover(before);
    queue.keeper->configure(settings);
    {
        const auto member = queue.join(1);
        REQUIRE(put_once_at(*member, 1, end - 100 * second) == Entered::published);
        REQUIRE(put_once_at(*member, 2, end - 10 * second) == Entered::published);
        Lease lease;
        REQUIRE(member->try_get(lease, end) == Got::message);
        REQUIRE(id_of(lease.message) == 1);
        REQUIRE(member->nack_until(lease, end + 50 * second));
        REQUIRE(member->try_get(lease, end) == Got::message);
        (void)sweep_all(*queue.keeper, end);
    }
    queue.keeper = std::make_unique<Keeper>(Segment::open(queue.directory.file()));
    queue.keeper->recover(after);
    CHECK(status(queue.segment()).oldest_put_time == end - 100 * second + shift);
    SECTION("what was given back for later comes after as much time as was left") {
        CHECK(sweep_all(*queue.keeper, end + 49 * second + shift).due == end + 50 * second + shift);
        CHECK(status(queue.segment()).delayed == 1);
        (void)sweep_all(*queue.keeper, end + 50 * second + shift);
        CHECK(status(queue.segment()).ready == 2);
        const auto member = queue.join(1);
        for (const std::int64_t put : {end - 10 * second, end - 100 * second}) {
            Lease lease;
            REQUIRE(member->try_get(lease, end + 60 * second + shift) == Got::message);
            CHECK(lease.put_time == put + shift);
        }
    }
    SECTION("what may wait for so long waits for the rest of it") {
        (void)sweep_all(*queue.keeper, end + 289 * second + shift);
        CHECK(status(queue.segment()).died == 0);  // first comes the one that is younger
        (void)sweep_all(*queue.keeper, end + 290 * second + shift);
        CHECK(status(queue.segment()).died == 2);
    }
    SECTION("ids count as long as they would have") {
        const auto member = queue.join(1);
        CHECK(put_once_at(*member, 1, end + 19 * second + shift) == Entered::duplicate);
        CHECK(put_once_at(*member, 1, end + 21 * second + shift) == Entered::published);
        CHECK(put_once_at(*member, 2, end + 109 * second + shift) == Entered::duplicate);
    }
    SECTION("a recovery that is repeated, and one in the same start, change nothing") {
        const std::uint64_t set = queue.segment().control().shift.load();
        queue.keeper->recover({after.boot, after.now + second});
        CHECK(queue.segment().control().shift.load() == set);
        // Killed before it had noted for which start that is.
        queue.segment().control().boot[1].store(before.boot[1]);
        queue.keeper->recover({after.boot, after.now + 2 * second});
        CHECK(queue.segment().to_machine(queue.segment().control().clock.load()) ==
              after.now + 2 * second);
    }
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue recovery: where the machine does not say which start it is, its clock is believed",
          "[ipc][queue]") {
    const Queue queue;
    const Moment here = Moment::present();
    CHECK(here.boot != Moment{}.boot);
    CHECK(here.boot == Moment::present().boot);
    (void)sweep_all(*queue.keeper, 1000 * second);
    queue.keeper->recover({{}, 5 * second});
    CHECK(queue.segment().from_machine(7) == 7);
}
