// When a queue counts as full, and who tells the keeper so: by its memory.

#include <csignal>

#include "shm_children.hpp"
#include "shm_support.hpp"

using namespace shm_test;

namespace {

/// A queue, and what was told of it: that it is high, that it is low.
struct Watched {
    Watched(const Settings& settings, const Config& config = small_config()) : queue{config} {
        queue.keeper->configure(settings);
        queue.keeper->set_watcher([this](bool is_high) { told += is_high ? 'h' : 'l'; });
    }
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;

    const Queue queue;
    std::string told;
};

constexpr Settings of_sixteen_chunks{.high = 30, .low = 15};

}  // namespace

TEST_CASE("queue level: chunks that producers keep although they are empty make no queue high",
          "[ipc][queue]") {
    Watched watched{of_sixteen_chunks};
    const Queue& queue = watched.queue;
    std::vector<std::unique_ptr<Member>> members;
    for (Owner owner = 1; owner <= 6; ++owner) {
        members.push_back(queue.join(owner));
        send(*members.back(), owner);
    }
    CHECK(queue.keeper->level() >= 6 * 100 / 8);  // slots
    (void)sweep_all(*queue.keeper, 1);
    CHECK(watched.told == "h");
    CHECK(drain(*members[0]).size() == 6);
    CHECK(queue.keeper->level() == 0);
    (void)queue.keeper->sweep(200'000'000);
    CHECK(watched.told == "hl");
    send(*members[0], 7);
    CHECK(queue.keeper->level() == 12);  // one slot of eight; one chunk of sixteen
    (void)queue.keeper->sweep(400'000'000);
    CHECK(watched.told == "hl");
}

// Filling a chunk that one has makes the level rise, and takes no chunk.
TEST_CASE("queue level: a queue is high again when the chunks that producers have kept fill up",
          "[ipc][queue]") {
    Config config = small_config();
    config.capacity = 1024;
    config.members = 8;
    Watched watched{of_sixteen_chunks, config};
    const Queue& queue = watched.queue;
    std::vector<std::unique_ptr<Member>> members;
    for (Owner owner = 1; owner <= 8; ++owner) members.push_back(queue.join(owner));
    for (const auto& member : members) send(*member, 1);
    (void)sweep_all(*queue.keeper, 1);
    CHECK(drain(*members[0]).size() == 8);
    (void)sweep_all(*queue.keeper, 200'000'000);
    const std::int64_t next = sweep_all(*queue.keeper, 400'000'000).due;
    REQUIRE(next == 500'000'000);
    CHECK(watched.told == "hl");
    for (const auto& member : members) send(*member, 2);
    CHECK(queue.keeper->level() == 50);
    (void)queue.keeper->sweep(next);
    CHECK(watched.told == "hlh");
    // Nobody keeps any: nothing to look at.
    CHECK(drain(*members[0]).size() == 8);
    members.clear();
    (void)sweep_all(*queue.keeper, 800'000'000);
    CHECK(sweep_all(*queue.keeper, 1'000'000'000).due == 0);
    CHECK(watched.told == "hlhl");
}

TEST_CASE("queue level: the keeper is told when memory is what the queue becomes full of",
          "[ipc][queue]") {
    Watched watched{{.high = 75, .low = 50}};
    const Queue& queue = watched.queue;
    (void)sweep_all(*queue.keeper, 1);
    const auto member = queue.join(1);
    const Word& due = queue.segment().control().due;
    send(*member, 1, 8 * 4096);
    CHECK(due.load() == 0);
    send(*member, 2, 4 * 4096);  // two of eight slots, three quarters of the memory
    CHECK(due.load() == at_once);
    (void)queue.keeper->sweep(2);
    CHECK(watched.told == "h");
    Lease lease = receive(*member);
    CHECK(member->ack(lease));
    (void)queue.keeper->sweep(3);
    CHECK(watched.told == "hl");
}

// He has filled the cell at the end of a ring, and not moved the end on.
TEST_CASE("queue level: who is killed while he lists a place or a message leaves no wrong count",
          "[ipc][queue]") {
    Watched watched{{.high = 80, .low = 50}};
    const Queue& queue = watched.queue;
    const auto other = queue.join(2);
    const auto die_listing = [&](auto&& deed) {
        const pid_t child = fork_child([&] {
            const auto member = queue.join(1);
            crash_hook = [](CrashPoint point) {
                if (point == CrashPoint::ring_filled) ::raise(SIGKILL);
            };
            deed(*member);
        });
        REQUIRE(reap(child) == SIGKILL);
    };
    SECTION("a place") {
        for (std::uint64_t id = 1; id <= 8; ++id) send(*other, id);
        (void)sweep_all(*queue.keeper, 1);
        die_listing([](Member& member) {
            Lease lease;
            if (member.try_get(lease) == Got::message) (void)member.ack(lease);
        });
        send(*other, 9);
        CHECK(queue.keeper->level() == 100);
        queue.keeper->repair(1);
        CHECK(queue.keeper->level() == 100);
        (void)sweep_all(*queue.keeper, 200'000'000);
        CHECK(watched.told == "h");
        CHECK(drain(*other).size() == 8);
    }
    SECTION("the last message of a closed queue") {
        die_listing([](Member& member) { (void)try_send(member, 1); });
        CHECK(drain(*other) == std::vector<std::uint64_t>{1});
        queue.keeper->close();
        CHECK(other->is_over());
        queue.keeper->repair(1);
        CHECK(other->is_over());
    }
}
