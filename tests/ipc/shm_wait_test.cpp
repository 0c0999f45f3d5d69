#include <set>

#include <green/sys.hpp>

#include "shm_support.hpp"

using namespace shm_test;

namespace {

/// Counts what goes through the door.
class CountCalls : public green::sys::Injector {
 public:
    CountCalls() : before_{green::sys::set_injector(this)} {}
    ~CountCalls() override { green::sys::set_injector(before_); }
    int before(green::sys::Call, int) noexcept override {
        ++calls;
        return 0;
    }
    int calls = 0;

 private:
    green::sys::Injector* before_;
};

}  // namespace

TEST_CASE("queue waiting: put, get and ack make no system call while nobody sleeps",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    const CountCalls door;
    for (std::uint64_t i = 0; i < 100; ++i) {
        send(*member, i);
        Lease lease = receive(*member);
        REQUIRE(member->ack(lease));
    }
    CHECK(door.calls == 0);
}

TEST_CASE("queue waiting: one message wakes one sleeper, each time the next one", "[ipc][queue]") {
    const Queue queue;
    const auto producer = queue.join(1);
    std::vector<std::unique_ptr<Member>> sleepers;
    for (Owner owner = 2; owner <= 5; ++owner) {
        sleepers.push_back(queue.join(owner));
        REQUIRE(sleepers.back()->doorbell() >= 0);
        sleepers.back()->arm(Interest::items);
    }
    std::multiset<std::size_t> woken;
    for (std::uint64_t i = 0; i < 8; ++i) {
        send(*producer, i);
        std::size_t rung = 0;
        for (std::size_t s = 0; s < sleepers.size(); ++s) {
            if (!is_rung(sleepers[s]->doorbell())) continue;
            ++rung;
            woken.insert(s);
            CHECK(sleepers[s]->disarm(Interest::items));
            sleepers[s]->arm(Interest::items);
        }
        REQUIRE(rung == 1);
    }
    for (std::size_t s = 0; s < sleepers.size(); ++s) CHECK(woken.count(s) == 2);
}

TEST_CASE("queue waiting: a sleeper that was not chosen learns it when it disarms",
          "[ipc][queue]") {
    const Queue queue;
    const auto producer = queue.join(1);
    const auto sleeper = queue.join(2);
    const int bell = sleeper->doorbell();
    sleeper->arm(Interest::items);
    CHECK_FALSE(sleeper->disarm(Interest::items));
    send(*producer, 1);
    CHECK_FALSE(is_rung(bell));
}

TEST_CASE("queue waiting: who was woken and leaves passes the wake-up on", "[ipc][queue]") {
    const Queue queue;
    const auto producer = queue.join(1);
    const auto first = queue.join(2);
    const auto second = queue.join(3);
    const int bells[] = {first->doorbell(), second->doorbell()};
    first->arm(Interest::items);
    second->arm(Interest::items);
    send(*producer, 1);
    Member& leaver = is_rung(bells[0]) ? *first : *second;
    const int other = &leaver == first.get() ? bells[1] : bells[0];
    REQUIRE(leaver.disarm(Interest::items));
    CHECK_FALSE(is_rung(other));
    leaver.pass_on(Interest::items);
    CHECK(is_rung(other));
}

TEST_CASE("queue waiting: a slot that becomes free wakes one who waits for a slot, and nobody else",
          "[ipc][queue]") {
    const Queue queue;
    const auto consumer = queue.join(1);
    const auto one = queue.join(2);
    const auto two = queue.join(3);
    for (std::uint64_t i = 0; i < 8; ++i) send(*one, i);
    const int bells[] = {one->doorbell(), two->doorbell()};
    one->arm(Interest::slots);
    two->arm(Interest::items);
    Lease lease = receive(*consumer);
    CHECK_FALSE(is_rung(bells[0]));
    REQUIRE(consumer->ack(lease));
    CHECK(is_rung(bells[0]));
    CHECK_FALSE(is_rung(bells[1]));
    SECTION("a nack wakes one who waits for a message") {
        lease = receive(*consumer);
        REQUIRE(consumer->nack(lease));
        CHECK(is_rung(bells[1]));
    }
    SECTION("an abandoned reservation wakes one who waits for a slot") {
        Reservation reservation;
        REQUIRE(consumer->try_reserve(10, reservation) == Shortage::none);
        one->arm(Interest::slots);
        consumer->abandon(reservation);
        CHECK(is_rung(bells[0]));
    }
}

TEST_CASE(
    "queue waiting: each chunk wakes one of those whom it is enough for, and all who want more",
    "[ipc][queue]") {
    const Queue queue;
    const auto consumer = queue.join(1);
    std::vector<std::unique_ptr<Member>> members;
    std::vector<int> bells;
    for (Owner owner = 2; owner <= 5; ++owner) {
        members.push_back(queue.join(owner));
        bells.push_back(members.back()->doorbell());
    }
    const bool is_run = GENERATE(false, true);
    const std::vector<std::size_t> chunks =
        is_run ? std::vector<std::size_t>{8, 8} : std::vector<std::size_t>{1, 8, 7};
    for (std::uint64_t id = 0; id < chunks.size(); ++id) send(*consumer, id, chunks[id] * 4096);
    for (std::size_t i = 0; i < 4; ++i) {
        Reservation reservation;
        REQUIRE(members[i]->try_reserve(i < 2 ? 100 : 9000, reservation) == Shortage::memory);
        members[i]->arm(Interest::memory, i < 2 ? 100 : 9000);
    }
    Lease lease = receive(*consumer);
    REQUIRE(consumer->ack(lease));
    CHECK(is_rung(bells[0]) + is_rung(bells[1]) == (is_run ? 2 : 1));
    CHECK(is_rung(bells[2]));
    CHECK(is_rung(bells[3]));
}

TEST_CASE("queue waiting: for small messages memory wakes when the last of a chunk is given back",
          "[ipc][queue]") {
    Config config = small_config();
    config.payload_bytes = 4096;
    config.max_message = 2048;
    const Queue queue{config};
    const auto producer = queue.join(1);
    const auto consumer = queue.join(2);
    for (std::uint64_t i = 0; i < 4; ++i) send(*producer, i, 1024);
    const int bell = producer->doorbell();
    REQUIRE(try_send(*producer, 9) == Shortage::memory);
    producer->arm(Interest::memory, 100);
    for (int i = 0; i < 4; ++i) {
        CHECK_FALSE(is_rung(bell));
        Lease lease = receive(*consumer);
        REQUIRE(consumer->ack(lease));
    }
    CHECK(is_rung(bell));
    CHECK(try_send(*producer, 9) == Shortage::none);
}

TEST_CASE(
    "queue waiting: where the oldest is dropped, memory wakes when what is left of a chunk waits",
    "[ipc][queue]") {
    const Queue queue;
    Settings settings;
    settings.when_full = WhenFull::drop_oldest;
    settings.has_dead_letter = true;
    queue.keeper->configure(settings);
    queue.keeper->set_mover([](const Letter&, std::int64_t) { return Kept::kept; });
    const auto member = queue.join(1);
    const auto putter = queue.join(2);
    // The last two share the chunk beside that of the third.
    const std::size_t sizes[] = {8 * 4096, 6 * 4096, 4096, 1500, 1500};
    for (std::uint64_t id = 0; id < 5; ++id) send(*member, id, sizes[id]);
    Lease leases[4];
    for (Lease& lease : leases) lease = receive(*member);
    REQUIRE(member->nack(leases[2]));
    const int bell = putter->doorbell();
    REQUIRE(try_send(*putter, 9, 2 * 4096) == Shortage::memory);
    putter->arm(Interest::memory, 2 * 4096);
    SECTION("acked") { CHECK(member->ack(leases[3])); }
    SECTION("dead, and moved") {
        CHECK(member->reject(leases[3]));
        CHECK_FALSE(is_rung(bell));
        (void)sweep_all(*queue.keeper, 1);
    }
    CHECK(is_rung(bell));
}

TEST_CASE("queue waiting: the keeper tells once that a closed queue is empty", "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    const int bell = member->doorbell();
    send(*member, 1);
    queue.keeper->close();
    CHECK(is_rung(bell));
    (void)sweep_all(*queue.keeper, 1);
    CHECK_FALSE(is_rung(bell));
    Lease lease = receive(*member);
    REQUIRE(member->ack(lease));
    (void)sweep_all(*queue.keeper, 2);
    CHECK(is_rung(bell));
    (void)sweep_all(*queue.keeper, 3);
    CHECK_FALSE(is_rung(bell));
}

TEST_CASE("queue waiting: the keeper finds out in slices whether a closed queue is empty",
          "[ipc][queue]") {
    Config config = small_config();
    config.capacity = 1u << 15;
    const Queue queue{config};
    const auto member = queue.join(1);
    (void)sweep_all(*queue.keeper, 1);
    queue.keeper->close();
    const int bell = member->doorbell();
    unsigned slices = 1;
    for (; !queue.keeper->sweep(2, 4096).is_done; ++slices) CHECK_FALSE(is_rung(bell));
    CHECK(slices >= config.capacity / 4096);
    CHECK(is_rung(bell));
}

TEST_CASE("queue waiting: a repair wakes everybody, asleep or not", "[ipc][queue]") {
    const Queue queue;
    const auto one = queue.join(1);
    const auto two = queue.join(2);
    const int bells[] = {one->doorbell(), two->doorbell()};
    one->arm(Interest::items);
    queue.keeper->repair(3);
    CHECK(is_rung(bells[0]));
    CHECK(is_rung(bells[1]));
    CHECK(one->disarm(Interest::items));
}

TEST_CASE("queue waiting: wait slots are claimed once, run out, and come back with a repair",
          "[ipc][queue]") {
    Config config = small_config();
    config.wait_slots = 2;
    const Queue queue{config};
    auto one = queue.join(1);
    const auto two = queue.join(2);
    const auto three = queue.join(3);
    const int first = one->doorbell();
    CHECK(one->doorbell() == first);
    CHECK(two->doorbell() >= 0);
    CHECK(three->doorbell() == -1);
    SECTION("leaving") { one.reset(); }
    SECTION("dying") {
        one->arm(Interest::items);
        queue.keeper->repair(1);
    }
    CHECK(three->doorbell() == first);
}

TEST_CASE("queue waiting: a doorbell that cannot be rung makes the next sleeper's ring",
          "[ipc][queue]") {
    const Queue queue;
    const auto producer = queue.join(1);
    const auto good = queue.join(2);
    const auto bad = queue.join(3);
    const int bells[] = {bad->doorbell(), good->doorbell()};
    bad->arm(Interest::items);
    good->arm(Interest::items);

    class FailOne : public green::sys::Injector {
     public:
        explicit FailOne(int fd) : fd_{fd}, before_{green::sys::set_injector(this)} {}
        ~FailOne() override { green::sys::set_injector(before_); }
        int before(green::sys::Call, int fd) noexcept override { return fd == fd_ ? EBADF : 0; }

     private:
        int fd_;
        green::sys::Injector* before_;
    };
    const FailOne plan{bells[0]};
    send(*producer, 1);
    CHECK(is_rung(bells[1]));
}
