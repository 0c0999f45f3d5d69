// Leases that end by time: what the keeper does, and what becomes of those who come too late.

#include <csignal>

#include "shm_children.hpp"
#include "shm_support.hpp"

using namespace shm_test;

namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t lease = 30 * second;  // as Settings has it

Lease receive_at(Member& member, std::int64_t now) {
    Lease got;
    REQUIRE(member.try_get(got, now) == Got::message);
    REQUIRE(is_whole(got.message));
    return got;
}

}  // namespace

TEST_CASE("queue lease: it is over at its time, and the message comes first again",
          "[ipc][queue]") {
    const Queue queue;
    const auto slow = queue.join(1);
    const auto other = queue.join(2);
    for (std::uint64_t id = 1; id <= 3; ++id) send(*slow, id);
    Lease lost = receive_at(*slow, second);
    CHECK(queue.keeper->sweep(second + lease - 1).due == second + lease);
    CHECK(slow->holds(lost));
    CHECK(queue.keeper->sweep(second + lease).due == 0);
    CHECK_FALSE(slow->holds(lost));
    CHECK(status(queue.segment()).expired == 1);
    Lease again = receive_at(*other, second + lease);
    CHECK(id_of(again.message) == 1);
    CHECK(again.deliveries() == 2);
    SECTION("a late ack is refused") { CHECK_FALSE(slow->ack(lost)); }
    SECTION("a late nack is refused") { CHECK_FALSE(slow->nack(lost)); }
    SECTION("a late extension is refused, and the lease of the other one stays as it is") {
        CHECK_FALSE(slow->extend(lost, 100 * lease));
        CHECK(queue.keeper->sweep(second + lease).due == second + 2 * lease);
        CHECK_FALSE(slow->ack(lost));
    }
    CHECK(other->ack(again));
    CHECK(drain(*other) == std::vector<std::uint64_t>{2, 3});
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue lease: an extension moves its end, later or sooner", "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    send(*member, 1);
    Lease held = receive_at(*member, 0);
    CHECK(member->extend(held, 5 * lease));
    CHECK(queue.keeper->sweep(5 * lease - 1).due == 5 * lease);
    CHECK(member->holds(held));
    CHECK(member->extend(held, 6 * lease));
    CHECK(queue.keeper->sweep(5 * lease).due == 6 * lease);
    CHECK(member->extend(held, 5 * lease + 1));
    CHECK(queue.segment().control().due.load() == 5 * lease + 1);
    CHECK(queue.keeper->sweep(5 * lease + 1).due == 0);
    CHECK_FALSE(member->extend(held, 9 * lease));
    CHECK_FALSE(member->ack(held));
    CHECK(status(queue.segment()).refused == 2);
}

TEST_CASE("queue lease: one that does not end by time is left alone", "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.lease = 0});
    const auto member = queue.join(1);
    send(*member, 1);
    Lease held = receive_at(*member, 0);
    CHECK(queue.keeper->sweep(std::int64_t{1} << 62).due == 0);
    CHECK(member->ack(held));
}

TEST_CASE("queue lease: a reader whose time is over does not end his own next lease of the message",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    send(*member, 1);
    Lease lost = receive_at(*member, 0);
    (void)queue.keeper->sweep(lease);
    Lease again = receive_at(*member, lease);
    REQUIRE(again.slot == lost.slot);
    for (int i = 0; i < 3; ++i) (void)queue.keeper->sweep(lease + 1);
    CHECK(member->holds(again));
    CHECK(member->ack(again));
    CHECK_FALSE(member->ack(lost));
    CHECK(status(queue.segment()).free == 8);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue lease: a sweep looks at no more than it was told, and goes on where it was",
          "[ipc][queue]") {
    const Queue queue;
    const auto one = queue.join(1);
    const auto two = queue.join(4);
    for (std::uint64_t id = 0; id < 6; ++id) send(*one, id);
    for (int i = 0; i < 3; ++i) (void)receive_at(*one, i);
    for (int i = 0; i < 3; ++i) (void)receive_at(*two, 10);
    for (int call = 1; call <= 4; ++call) {
        const Sweep sweep = queue.keeper->sweep(lease + 2, 1);
        CHECK_FALSE(sweep.is_done);
        CHECK(queue.keeper->is_sweeping());
        CHECK(status(queue.segment()).expired == static_cast<std::uint64_t>(std::min(call, 3)));
    }
    CHECK(sweep_all(*queue.keeper, lease + 2, 1).due == lease + 10);
    CHECK(status(queue.segment()).expired == 3);
}

TEST_CASE("queue lease: the keeper is told of the first one, and of one that ends sooner",
          "[ipc][queue]") {
    const Queue queue;
    const auto member = queue.join(1);
    for (std::uint64_t id = 0; id < 4; ++id) send(*member, id);
    WaitTable table{queue.segment(), queue.keeper->doorbells()};
    const unsigned place = table.claim(6).value();
    const auto is_told = [&] { return is_rung(table.doorbell(place)); };
    table.arm(place, Interest::timers);
    CHECK(queue.keeper->sweep(0).due == 0);
    const Lease first = receive_at(*member, 10);
    CHECK(is_told());
    table.arm(place, Interest::timers);
    CHECK(queue.keeper->sweep(11).due == lease + 10);
    (void)receive_at(*member, 11);
    CHECK_FALSE(is_told());
    CHECK(member->extend(first, 20));
    CHECK(is_told());
    table.arm(place, Interest::timers);
    CHECK(queue.keeper->sweep(20).due == lease + 11);
    CHECK_FALSE(is_told());
}

TEST_CASE("queue lease: who was stopped beyond it and goes on is refused", "[ipc][queue]") {
    const Queue queue;
    send(*queue.join(1), 1);
    const pid_t child = fork_child([&] {
        const auto member = queue.join(2);
        Lease held;
        if (member->try_get(held, 0) != Got::message) ::_exit(10);
        ::raise(SIGSTOP);
        const bool is_late =
            !member->extend(held, 100 * lease) && is_whole(held.message) && !member->ack(held);
        ::_exit(is_late ? 0 : 11);
    });
    await_stop(child);
    (void)sweep_all(*queue.keeper, lease);
    const auto other = queue.join(3);
    Lease again = receive_at(*other, lease);
    CHECK(again.deliveries() == 2);
    SECTION("while another one has the message") {
        ::kill(child, SIGCONT);
        CHECK(reap(child) == 0);
        CHECK(other->ack(again));
    }
    SECTION("when it is done") {
        CHECK(other->ack(again));
        CHECK(status(queue.segment()).zombie == 1);
        ::kill(child, SIGCONT);
        CHECK(reap(child) == 0);
        CHECK(status(queue.segment()).zombie == 0);
    }
    queue.keeper->repair(2);
    CHECK(status(queue.segment()).acked == 1);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue lease: one that is given back, or comes back, still ends at its time",
          "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.time_to_live = 10 * second});
    const auto member = queue.join(1);
    (void)sweep_all(*queue.keeper, second);
    Reservation reservation;
    REQUIRE(member->try_reserve(100, reservation) == Shortage::none);
    write_message(reservation.memory.first(100), 1);
    (void)member->put(reservation, 100, second);
    Lease taken = receive_at(*member, 2 * second);
    std::int64_t end = 11 * second;
    SECTION("by its holder") {
        CHECK(sweep_all(*queue.keeper, 3 * second).due == 2 * second + lease);
        REQUIRE(member->nack(taken));
    }
    SECTION("for later than its end") {
        end = 20 * second;
        REQUIRE(member->nack_until(taken, end));
    }
    CHECK(sweep_all(*queue.keeper, 4 * second).due == end);
    CHECK(sweep_all(*queue.keeper, end).due == 0);
    CHECK(status(queue.segment()).died == 1);
    CHECK(status(queue.segment()).ready == 0);
}
