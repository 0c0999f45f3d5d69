// Processes that really sleep on their doorbells. A lost wake-up shows as a test that does not end.

#include <array>
#include <csignal>
#include <poll.h>
#include <sched.h>

#include "shm_children.hpp"
#include "shm_support.hpp"

using namespace shm_test;

namespace {

constexpr std::size_t workers = 5;  // three producers, two consumers
constexpr std::size_t producers = 3;

struct Ground {
    std::atomic<std::uint64_t> tickets;  // messages that may still be put
    std::atomic<std::uint64_t> put, acked, sleeps, torn;
    std::atomic<bool> is_over;
};

Ground* ground = nullptr;

/// S2 to S6 of wait_table.hpp. `attempt` returns what is lacking, or nothing.
template <class Attempt>
void wait_for(Member& member, Attempt&& attempt) {
    Interest woken_for{};
    bool was_chosen = false;
    while (!ground->is_over) {
        const std::optional<Interest> lacking = attempt();
        if (was_chosen && lacking && *lacking != woken_for) member.pass_on(woken_for);
        if (!lacking) return;
        was_chosen = false;

        member.arm(*lacking, 9000);
        const std::optional<Interest> still = attempt();
        if (still != lacking || ground->is_over) {
            if (member.disarm(*lacking)) member.pass_on(*lacking);
            if (!still) return;
            continue;
        }
        ++ground->sleeps;
        pollfd bell{member.doorbell(), POLLIN, 0};
        while (::poll(&bell, 1, -1) != 1) {
        }
        std::uint64_t count = 0;
        (void)!::read(bell.fd, &count, sizeof count);
        was_chosen = member.disarm(*lacking);
        woken_for = *lacking;
    }
}

void produce(Member& member, std::mt19937_64& random) {
    while (!ground->is_over) {
        std::uint64_t left = ground->tickets.load();
        do {
            if (left == 0) return;
        } while (!ground->tickets.compare_exchange_weak(left, left - 1));
        const std::size_t size = random() % 4 == 0 ? 9000 : 8 + random() % 1500;
        wait_for(member, [&]() -> std::optional<Interest> {
            const Shortage shortage = try_send(member, left, size);
            if (shortage == Shortage::none) return {};
            return shortage == Shortage::slots ? Interest::slots : Interest::memory;
        });
        ++ground->put;
    }
}

void consume(Member& member) {
    while (!ground->is_over) {
        Lease lease;
        wait_for(member, [&]() -> std::optional<Interest> {
            if (member.try_get(lease) == Got::message) return {};
            return Interest::items;
        });
        if (!lease) return;
        if (!is_whole(lease.message)) ++ground->torn;
        if (member.ack(lease)) ++ground->acked;
    }
}

Config narrow() {
    Config config = small_config();
    config.capacity = 5;
    config.payload_bytes = 8 * 4096;
    return config;
}

pid_t begin(const Queue& queue, std::size_t worker, std::uint64_t start) {
    return fork_child([&queue, worker, start] {
        std::mt19937_64 random{start};
        const auto member = queue.join(static_cast<Owner>(worker + 1));
        if (member->doorbell() < 0) ::_exit(4);
        worker < producers ? produce(*member, random) : consume(*member);
    });
}

#if defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t messages = 4000;
constexpr unsigned kills = 100;
#else
constexpr std::uint64_t messages = 40'000;
constexpr unsigned kills = 500;
#endif

}  // namespace

TEST_CASE(
    "queue sleeping: five processes that wait for each other all the time never sleep for ever",
    "[ipc][queue]") {
    const Queue queue{narrow()};
    Common<Ground> fresh;
    ground = &*fresh;
    ground->tickets = messages;
    const std::uint64_t start = seed();
    INFO("GREENSUP_SEED=" << start);
    std::array<pid_t, workers> pids{};
    for (std::size_t worker = 0; worker < workers; ++worker)
        pids[worker] = begin(queue, worker, start + worker);
    while (ground->acked < messages) ::sched_yield();
    ground->is_over = true;
    queue.keeper->wake_all();
    for (const pid_t pid : pids) CHECK(reap(pid) == 0);
    CHECK(ground->put == messages);
    CHECK(ground->torn == 0);
    CHECK(ground->sleeps > 0);
    for (Owner owner = 1; owner <= workers; ++owner) queue.keeper->repair(owner);
    CHECK(is_like_new(queue.segment()));
}

TEST_CASE("queue sleeping: the dead take wake-ups along and repair brings them back",
          "[ipc][queue]") {
    const Queue queue{narrow()};
    Common<Ground> fresh;
    ground = &*fresh;
    ground->tickets = ~std::uint64_t{0};
    const std::uint64_t start = seed();
    INFO("GREENSUP_SEED=" << start);
    std::mt19937_64 random{start};
    std::array<pid_t, workers> pids{};
    for (std::size_t worker = 0; worker < workers; ++worker)
        pids[worker] = begin(queue, worker, random());
    for (unsigned kill = 0; kill < kills; ++kill) {
        const std::uint64_t until = ground->acked + 1 + random() % 40;
        while (ground->acked < until)
            ::sched_yield();  // it goes on after each kill, or this does not end
        const std::size_t victim = random() % workers;
        ::kill(pids[victim], SIGKILL);
        REQUIRE(reap(pids[victim]) == SIGKILL);
        queue.keeper->repair(static_cast<Owner>(victim + 1));
        pids[victim] = begin(queue, victim, random());
    }
    ground->is_over = true;
    for (std::size_t worker = 0; worker < workers; ++worker) {
        ::kill(pids[worker], SIGKILL);
        (void)reap(pids[worker]);
        queue.keeper->repair(static_cast<Owner>(worker + 1));
    }
    CHECK(ground->torn == 0);
    CHECK(is_sound(queue.segment()));
    drain(*queue.join(6));
    queue.keeper->repair(6);
    CHECK(is_like_new(queue.segment()));
}
