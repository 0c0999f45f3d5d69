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
