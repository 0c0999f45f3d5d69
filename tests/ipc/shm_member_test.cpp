#include <green/errors.hpp>

#include "shm_support.hpp"

using namespace shm_test;

TEST_CASE("queue member: messages come out in the order of put, whole, and numbered",
          "[ipc][queue]") {
    const Queue queue;
    const auto producer = queue.join(1);
    const auto consumer = queue.join(2);
    for (std::uint64_t i = 1; i <= 1000; ++i) {
        send(*producer, 2 * i, 8 + i);
        send(*producer, 2 * i + 1, 8);
        for (std::uint64_t j = 0; j < 2; ++j) {
            Lease lease = receive(*consumer);
            REQUIRE(id_of(lease.message) == 2 * i + j);
            REQUIRE(lease.sequence == 2 * i + j - 1);
            REQUIRE(lease.deliveries() == 1);
            REQUIRE(consumer->ack(lease));
        }
    }
    Lease lease;
    CHECK(consumer->try_get(lease) == Got::nothing);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: a full queue says what it lacks and takes nothing", "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    SECTION("slots") {
        for (std::uint64_t i = 0; i < 8; ++i) send(*member, i);
        CHECK(try_send(*member, 9) == Shortage::slots);
        Lease lease = receive(*member);
        CHECK(try_send(*member, 9) == Shortage::slots);
        CHECK(member->ack(lease));
        CHECK(try_send(*member, 9) == Shortage::none);
    }
    SECTION("memory") {
        send(*member, 1, 8 * 4096);
        send(*member, 2, 7 * 4096);
        CHECK(try_send(*member, 3, 2 * 4096) == Shortage::memory);
        CHECK(status(queue.segment()).reserved == 0);
        CHECK(try_send(*member, 3, 4096) == Shortage::none);
        CHECK(try_send(*member, 4, 8) == Shortage::memory);
        Lease lease = receive(*member);
        CHECK(member->ack(lease));
        CHECK(try_send(*member, 4, 8 * 4096) == Shortage::none);
    }
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: a nacked message comes first again, or last if so asked", "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    for (std::uint64_t i = 1; i <= 3; ++i) send(*member, i);
    Lease lease = receive(*member);
    const std::uint64_t sequence = lease.sequence;
    SECTION("first") {
        CHECK(member->nack(lease));
        lease = receive(*member);
        CHECK(id_of(lease.message) == 1);
        CHECK(lease.deliveries() == 2);
        CHECK(lease.sequence == sequence);
        CHECK(member->ack(lease));
        CHECK(drain(*member) == std::vector<std::uint64_t>{2, 3});
    }
    SECTION("last") {
        CHECK(member->nack(lease, Turn::last));
        CHECK(drain(*member) == std::vector<std::uint64_t>{2, 3, 1});
    }
    const Status now = status(queue.segment());
    CHECK(now.put == 3);
    CHECK(now.delivered == 4);
    CHECK(now.redelivered == 1);
    CHECK(now.acked == 3);
    CHECK(now.returned == 1);
}

TEST_CASE(
    "queue member: an ack after the lease was taken away is refused, the second holder's is not",
    "[ipc][queue]") {
    const Queue queue;
    const auto slow = queue.join(1);
    const auto other = queue.join(2);
    send(*slow, 1);
    Lease lost = receive(*slow);
    CHECK(slow->holds(lost));
    REQUIRE(queue.keeper->take_back(lost.slot, lost.word));
    CHECK_FALSE(queue.keeper->take_back(lost.slot, lost.word));
    CHECK_FALSE(slow->holds(lost));
    Lease lease = receive(*other);
    CHECK(lease.deliveries() == 2);
    SECTION("ack") { CHECK_FALSE(slow->ack(lost)); }
    SECTION("nack") { CHECK_FALSE(slow->nack(lost)); }
    CHECK(other->holds(lease));
    CHECK(other->ack(lease));
    CHECK(status(queue.segment()).refused == 1);
    CHECK(status(queue.segment()).free == 8);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: a late ack by the same owner of the same slot is refused too",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    send(*member, 1);
    Lease lost = receive_and_lose(queue, *member);
    Lease lease = receive(*member);
    REQUIRE(lease.slot == lost.slot);
    CHECK_FALSE(member->ack(lost));
    CHECK(member->ack(lease));
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: memory is not reused under a foreign pin, and is when the pin is gone",
          "[ipc][queue]") {
    Config config = small_config();
    config.capacity = 2;
    config.payload_bytes = 4096;
    config.max_message = 2048;
    const Queue queue{config};
    const auto reader = queue.join(1);
    const auto other = queue.join(2);
    send(*other, 7, 2048);
    Lease lost = receive_and_lose(queue, *reader);
    Lease lease = receive(*other);
    REQUIRE(other->ack(lease));
    CHECK(slot_of(queue.segment(), lost.slot).state == SlotState::zombie);

    // All there is to get is got, written over, and published; the stale reader still sees what it
    // saw.
    send(*other, 8, 2048);
    CHECK(try_send(*other, 9) != Shortage::none);
    CHECK(is_whole(lost.message));
    CHECK(id_of(lost.message) == 7);

    CHECK_FALSE(reader->ack(lost));
    CHECK(slot_of(queue.segment(), 0).state != SlotState::zombie);
    CHECK(slot_of(queue.segment(), 1).state != SlotState::zombie);
    CHECK(drain(*other) == std::vector<std::uint64_t>{8});
    send(*other, 10, 2048);
    CHECK(drain(*other) == std::vector<std::uint64_t>{10});
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: a zombie is freed by the repair of the reader that it waits for",
          "[ipc][queue]") {
    const Queue queue;
    auto reader = queue.join(1);
    const auto other = queue.join(2);
    send(*other, 7);
    (void)receive_and_lose(queue, *reader);
    Lease lease = receive(*other);
    REQUIRE(other->ack(lease));
    CHECK(status(queue.segment()).zombie == 1);
    reader.reset();
    queue.keeper->repair(1);
    CHECK(status(queue.segment()).zombie == 0);
    CHECK(status(queue.segment()).free == 8);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: what the dead had in hand comes first, in the order of its numbers",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    auto dead = queue.join(2);
    for (std::uint64_t i = 1; i <= 5; ++i) send(*member, i);
    for (int i = 0; i < 3; ++i) (void)receive(*dead);
    dead.reset();
    queue.keeper->repair(2);
    CHECK(drain(*member) == std::vector<std::uint64_t>{1, 2, 3, 4, 5});
}

TEST_CASE("queue member: a message that outgrows its extent gives it back and takes a larger one",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    Reservation reservation;
    REQUIRE(member->try_reserve(100, reservation) == Shortage::none);
    member->release_extent(reservation);
    CHECK(reservation.memory.empty());
    CHECK(space(queue.segment()).live == 0);
    CHECK_THROWS_AS(member->put(reservation, 8), green::UsageError);
    REQUIRE(member->try_extent(reservation, 20'000) == Shortage::none);
    CHECK(reservation.memory.size() >= 20'000);
    write_message(reservation.memory.first(20'000), 5);
    member->put(reservation, 20'000);
    CHECK(drain(*member) == std::vector<std::uint64_t>{5});
    CHECK(space(queue.segment()).live == 0);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: an abandoned reservation leaves nothing taken", "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    for (int round = 0; round < 100; ++round) {
        Reservation reservation;
        REQUIRE(member->try_reserve(static_cast<std::size_t>(round) * 200, reservation) ==
                Shortage::none);
        member->abandon(reservation);
        CHECK_FALSE(reservation);
    }
    CHECK(status(queue.segment()).free == 8);
    CHECK(space(queue.segment()).live == 0);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: one member can hold as many leases as it has pins", "[ipc][queue]") {
    Config config = small_config();
    config.pins = 3;
    const Queue queue{config};
    const auto member = queue.join(1);
    for (std::uint64_t i = 0; i < 5; ++i) send(*member, i);
    Lease leases[3];
    for (Lease& lease : leases) lease = receive(*member);
    Lease more;
    CHECK(member->try_get(more) == Got::too_many_leases);
    CHECK(member->ack(leases[1]));
    CHECK(member->try_get(more) == Got::message);
    CHECK(id_of(more.message) == 3);
}

TEST_CASE("queue member: misuse is refused and changes nothing", "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    CHECK_THROWS_AS(queue.join(0), green::UsageError);
    CHECK_THROWS_AS(queue.join(7), green::UsageError);
    CHECK_THROWS_AS(queue.join(1), green::UsageError);
    CHECK_THROWS_AS(Member(Segment::open(queue.directory.file()), 2, {}), green::UsageError);

    Reservation reservation;
    CHECK_THROWS_AS(member->try_reserve(8 * 4096 + 1, reservation), std::length_error);
    CHECK_THROWS_AS(member->put(reservation, 0), green::UsageError);
    REQUIRE(member->try_reserve(10, reservation) == Shortage::none);
    CHECK_THROWS_AS(member->put(reservation, 65), green::UsageError);
    CHECK_THROWS_AS(member->try_extent(reservation, 10), green::UsageError);
    Reservation copy = reservation;
    member->put(reservation, 10);
    CHECK_THROWS_AS(member->put(copy, 10), green::UsageError);
    CHECK_THROWS_AS(member->abandon(copy), green::UsageError);
    CHECK_THROWS_AS(member->release_extent(copy), green::UsageError);
    Lease lease;
    CHECK_THROWS_AS(member->ack(lease), green::UsageError);
    REQUIRE(member->try_get(lease) == Got::message);
    Lease twin = lease;
    CHECK(member->ack(lease));
    CHECK_FALSE(member->holds(twin));
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: an empty message is a message", "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    Reservation reservation;
    REQUIRE(member->try_reserve(0, reservation) == Shortage::none);
    CHECK(reservation.memory.size() == 64);
    member->put(reservation, 0);
    Lease lease;
    REQUIRE(member->try_get(lease) == Got::message);
    CHECK(lease.message.empty());
    CHECK(member->ack(lease));
}

TEST_CASE("queue member: members of one queue can use all of its slots in any mixture",
          "[ipc][queue]") {
    const Queue queue;
    std::vector<std::unique_ptr<Member>> members;
    for (Owner owner = 1; owner <= 6; ++owner) members.push_back(queue.join(owner));
    const std::uint64_t start = seed();
    INFO("GREENSUP_SEED=" << start);
    std::mt19937_64 random{start};
    std::vector<std::pair<Member*, Lease>> leases;
    std::uint64_t put = 0;
    std::uint64_t acked = 0;
    for (int step = 0; step < 20'000; ++step) {
        Member& member = *members[random() % members.size()];
        const std::size_t size = 8 + random() % (random() % 8 == 0 ? 9000 : 300);
        switch (random() % 4) {
            case 0:
                put += try_send(member, put, size) == Shortage::none ? 1 : 0;
                break;
            case 1: {
                Lease lease;
                if (member.try_get(lease) != Got::message) break;
                REQUIRE(is_whole(lease.message));
                leases.emplace_back(&member, lease);
                break;
            }
            default: {
                if (leases.empty()) break;
                std::swap(leases[random() % leases.size()], leases.back());
                auto& [holder, lease] = leases.back();
                if (random() % 4 == 0) {
                    REQUIRE(holder->nack(lease, random() % 2 == 0 ? Turn::first : Turn::last));
                } else {
                    REQUIRE(holder->ack(lease));
                    ++acked;
                }
                leases.pop_back();
            }
        }
    }
    const Status now = status(queue.segment());
    CHECK(now.put == put);
    CHECK(now.acked == acked);
    CHECK(now.ready + now.leased == put - acked);
    CHECK(put > 1000);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: what was taken and not looked at is as it was before", "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.at_most_once = GENERATE(false, true)});
    const auto member = queue.join(1);
    send(*member, 1);
    send(*member, 2);
    for (int i = 0; i < 300; ++i) {
        Lease lease = receive(*member);
        CHECK(id_of(lease.message) == 1);
        CHECK(lease.deliveries() == 1);
        CHECK(member->untake(lease));
        CHECK_FALSE(lease);
    }
    CHECK(is_sound(queue.segment()));
    CHECK(status(queue.segment()).ready == 2);
    CHECK(status(queue.segment()).acked == 0);
    CHECK(drain(*member) == std::vector<std::uint64_t>{1, 2});
    CHECK(status(queue.segment()).acked == 2);
    CHECK(status(queue.segment()).redelivered == 0);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue member: memory is given out as zeros, whatever was written and not put",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    Reservation reservation;
    REQUIRE(member->try_reserve(8 * 4096, reservation) == Shortage::none);
    std::fill(reservation.memory.begin(), reservation.memory.end(), std::byte{0xff});
    SECTION("put") { (void)member->put(reservation, 8); }
    SECTION("put once") { CHECK(member->put_once(reservation, 8, {1, 2}) == Entered::published); }
    SECTION("given back") { member->abandon(reservation); }
    Lease lease;
    while (member->try_get(lease) == Got::message) CHECK(member->ack(lease));
    Reservation next;
    REQUIRE(member->try_reserve(8 * 4096, next) == Shortage::none);
    CHECK(is_zero(next.memory));
    member->abandon(next);
}
