// What dies in one queue is kept in another: once, whole, and with what is known of it.

#include <algorithm>

#include "shm_children.hpp"
#include "shm_support.hpp"

using namespace shm_test;

namespace {

/// Two queues of which the first one's dead go to the second.
struct Pair {
    Pair() : box{to.join(6)} {
        from.keeper->configure({.max_deliveries = 2, .has_dead_letter = true});
        connect();
    }
    void connect() {
        from.keeper->set_mover([this](Letter letter, std::int64_t now) {
            letter.source = "from";
            return box->keep(letter, from.segment().identity(), now);
        });
    }
    /// As a new supervisor does it.
    void start_again() {
        box.reset();
        for (Queue* queue : {&from, &to}) {
            queue->keeper = std::make_unique<Keeper>(Segment::open(queue->directory.file()));
            queue->keeper->recover();
        }
        box = to.join(6);
        connect();
    }
    void kill_off(std::uint64_t id, std::size_t size = 100) {
        const auto member = from.join(1);
        send(*member, id, size);
        Lease lease = receive(*member);
        REQUIRE(member->reject(lease));
        from.keeper->repair(1);
    }

    Queue from;
    Queue to;
    std::unique_ptr<Member> box;
};

CrashPoint target{};
unsigned countdown = 0;
struct Hits {
    std::atomic<unsigned> at[crash_point_count];
};
Hits* hits = nullptr;

}  // namespace

TEST_CASE("queue letters: a dead one is moved with what is known of it", "[ipc][queue]") {
    Pair pair;
    const auto producer = pair.from.join(2);
    (void)try_send(*producer, 7, 301);
    std::vector<std::uint64_t> pids;
    for (int i = 0; i < 2; ++i) {
        const pid_t child = fork_child([&] {
            const auto member = pair.from.join(3);
            Lease lease;
            if (member->try_get(lease, 1) == Got::message) ::raise(SIGKILL);
        });
        REQUIRE(reap(child) == SIGKILL);
        pids.push_back(static_cast<std::uint64_t>(child));
        pair.from.keeper->repair(3);
    }
    CHECK(status(pair.from.segment()).dead == 1);
    (void)sweep_all(*pair.from.keeper, 1000);
    CHECK(status(pair.from.segment()).free == 8);
    CHECK(status(pair.from.segment()).moved == 1);
    const auto reader = pair.to.join(1);
    Lease lease = receive(*reader);
    CHECK(id_of(lease.message) == 7);
    CHECK(lease.message.size() == 301);
    CHECK(lease.put_time == 1000);
    const auto letter = reader->letter(lease);
    REQUIRE(letter);
    CHECK(letter->source == "from");
    CHECK(letter->reason == Reason::deliveries);
    CHECK(letter->deliveries == 2);
    CHECK(letter->sequence == 1);
    CHECK(std::vector<std::uint64_t>(letter->killers.begin(), letter->killers.begin() + 2) == pids);
    CHECK(letter->killers[2] == 0);
    CHECK(reader->ack(lease));
    // What comes into the same place is no letter.
    for (std::uint64_t id = 0; id < 9; ++id) {
        send(*reader, id);
        lease = receive(*reader);
        CHECK_FALSE(reader->letter(lease));
        CHECK(reader->ack(lease));
    }
}

TEST_CASE("queue letters: without room the dead wait where they died", "[ipc][queue]") {
    Pair pair;
    const auto other = pair.to.join(1);
    for (std::uint64_t id = 0; id < 8; ++id) send(*other, id);
    pair.kill_off(20);
    (void)sweep_all(*pair.from.keeper, 1000);
    CHECK(status(pair.from.segment()).dead == 1);
    CHECK(pair.from.segment().control().slot_due.load() == 1'000'001'000);
    CHECK(drain(*other).size() == 8);
    (void)sweep_all(*pair.from.keeper, 1'000'001'000);
    CHECK(status(pair.from.segment()).dead == 0);
    CHECK(drain(*other) == std::vector<std::uint64_t>{20});
    pair.from.keeper->set_mover([](const Letter&, std::int64_t) { return Kept::too_large; });
    pair.kill_off(21);
    (void)sweep_all(*pair.from.keeper, 2'000'000'000);
    CHECK(status(pair.from.segment()).dead == 1);
    pair.from.keeper->recover();
    CHECK(status(pair.from.segment()).dead == 1);
}

TEST_CASE("queue letters: those who died before there was a place for them are moved too",
          "[ipc][queue]") {
    Pair pair;
    pair.from.keeper->set_mover({});
    pair.kill_off(1);
    (void)sweep_all(*pair.from.keeper, 1000);
    CHECK(status(pair.from.segment()).dead == 1);
    pair.connect();
    pair.from.keeper->configure({.has_dead_letter = true});
    (void)sweep_all(*pair.from.keeper, 2000);
    CHECK(status(pair.from.segment()).dead == 0);
    CHECK(drain(*pair.to.join(1)) == std::vector<std::uint64_t>{1});
}

TEST_CASE("queue letters: a full queue that drops the oldest drops it for a letter too",
          "[ipc][queue]") {
    Pair pair;
    pair.to.keeper->configure({.when_full = WhenFull::drop_oldest});
    const auto other = pair.to.join(1);
    SECTION("no place") {
        for (std::uint64_t id = 0; id < 8; ++id) send(*other, id);
        pair.kill_off(20);
        (void)sweep_all(*pair.from.keeper, 1000);
        CHECK(drain(*other) == std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 7, 20});
    }
    SECTION("no memory") {
        send(*other, 0, 8 * 4096);
        send(*other, 1, 7 * 4096);
        pair.kill_off(20, 2 * 4096);
        (void)sweep_all(*pair.from.keeper, 1000);
        CHECK(drain(*other) == std::vector<std::uint64_t>{1, 20});
    }
    CHECK(status(pair.from.segment()).dead == 0);
    CHECK(is_sound(pair.to.segment()));
}

TEST_CASE("queue letters: one that never fits with what is known of it is too large",
          "[ipc][queue]") {
    Config config = small_config();
    config.max_message = config.largest_message();
    const Queue queue{config};
    const auto box = queue.join(6);
    std::vector<std::byte> message(config.max_message);
    Letter letter;
    letter.message = message;
    letter.source = "from";
    letter.sequence = 1;
    CHECK(box->keep(letter, 1, 1) == Kept::too_large);
    letter.message = letter.message.first(Letter::trailer_at(message.size()) - 24);
    CHECK(box->keep(letter, 1, 1) == Kept::kept);
}

TEST_CASE("queue letters: a new segment's messages are not taken for those of the old one",
          "[ipc][queue]") {
    Pair pair;
    pair.kill_off(1);
    (void)sweep_all(*pair.from.keeper, 1000);
    pair.from.keeper.reset();
    ::unlink(pair.from.directory.file().c_str());
    pair.from.keeper =
        std::make_unique<Keeper>(Segment::create(pair.from.directory.file(), small_config()));
    pair.start_again();
    pair.from.keeper->configure({.has_dead_letter = true});
    pair.kill_off(2);  // it has the number that the first one had
    (void)sweep_all(*pair.from.keeper, 2000);
    CHECK(drain(*pair.to.join(1)) == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("queue letters: a keeper that is killed while he moves one leaves one, not none or two",
          "[ipc][queue]") {
    Common<Hits> shared;
    hits = &*shared;
    const auto move_in_child = [](Pair& pair, CrashHook hook) {
        return reap(fork_child([&] {
            crash_hook = hook;
            (void)sweep_all(*pair.from.keeper, 1000, 3);
        }));
    };
    {
        Pair pair;
        pair.kill_off(1, 5000);
        REQUIRE(move_in_child(pair, [](CrashPoint point) {
                    ++hits->at[static_cast<std::size_t>(point)];
                }) == 0);
    }
    unsigned kills = 0;
    for (std::size_t point = 0; point < crash_point_count; ++point) {
        for (unsigned nth = 1; nth <= hits->at[point]; ++nth, ++kills) {
            INFO("killed at " << crash_point_names[point] << ", time " << nth);
            Pair pair;
            pair.kill_off(1, 5000);
            target = static_cast<CrashPoint>(point);
            countdown = nth;
            REQUIRE(move_in_child(pair, [](CrashPoint here) {
                        if (here == target && --countdown == 0) ::raise(SIGKILL);
                    }) == SIGKILL);
            pair.start_again();
            // Long after: the time that ids count for has nothing to do with it.
            (void)sweep_all(*pair.from.keeper, 1'000'000'000'000'000);
            CHECK(is_sound(pair.from.segment()));
            CHECK(is_sound(pair.to.segment()));
            CHECK(status(pair.from.segment()).free == 8);
            CHECK(drain(*pair.to.join(1)) == std::vector<std::uint64_t>{1});
        }
    }
    CHECK(kills > 15);
    CHECK(hits->at[static_cast<std::size_t>(CrashPoint::dead_moved)] == 1);
}

// Whoever starts without a place for the dead cannot know that it is there already. It may come
// twice then, as what is handed out and not acked; but it is never gone.
TEST_CASE(
    "queue letters: one that was moved comes again where dead letters were given up just then",
    "[ipc][queue]") {
    const CrashPoint point =
        GENERATE(CrashPoint::put_numbered, CrashPoint::dead_moved, CrashPoint::dead_buried);
    const bool is_given_up = GENERATE(false, true);
    Pair pair;
    {
        const auto member = pair.from.join(1);
        send(*member, 1);
        for (int i = 0; i < 2; ++i) {
            Lease lease = receive(*member);
            REQUIRE(member->nack(lease));
        }
    }
    pair.from.keeper->repair(1);
    target = point;
    countdown = 1;
    const pid_t child = fork_child([&] {
        crash_hook = [](CrashPoint here) {
            if (here == target && --countdown == 0) ::raise(SIGKILL);
        };
        (void)sweep_all(*pair.from.keeper, 1000, 3);
    });
    REQUIRE(reap(child) == SIGKILL);
    pair.start_again();
    if (is_given_up) {
        pair.from.keeper->set_mover({});
        pair.from.keeper->configure(Settings{});
    }
    (void)sweep_all(*pair.from.keeper, 1'000'000'000'000'000);
    const auto letters = drain(*pair.to.join(1));
    const auto delivered = drain(*pair.from.join(1));
    const bool is_kept = point != CrashPoint::put_numbered;
    const bool has_ended = point == CrashPoint::dead_buried;
    CHECK(letters.size() == (is_kept || !is_given_up ? 1u : 0u));
    CHECK(delivered.size() == (is_given_up && !has_ended ? 1u : 0u));
    CHECK(letters.size() + delivered.size() >= 1);
}

TEST_CASE("queue letters: memory of one that was killed in writing it is given out as zeros",
          "[ipc][queue]") {
    constexpr std::size_t size = 3 * 4096 - 100;  // what is written behind it fits into its memory
    Pair pair;
    const pid_t child = fork_child([&] {
        crash_hook = [](CrashPoint point) {
            if (point == CrashPoint::put_numbered) ::raise(SIGKILL);
        };
        std::vector<std::byte> message(size);
        write_message(message, 1);
        Letter letter;
        letter.message = message;
        letter.source = "from";
        letter.put_time = 0x0123456789abcdef;
        (void)pair.box->keep(letter, 77, 1);
    });
    REQUIRE(reap(child) == SIGKILL);
    pair.to.keeper->repair(6);
    const auto member = pair.to.join(1);
    Reservation reservation;
    REQUIRE(member->try_reserve(size, reservation) == Shortage::none);
    CHECK(is_zero(reservation.memory));
    member->abandon(reservation);
    CHECK(is_sound(pair.to.segment()));
}

TEST_CASE("queue letters: where there is no room for one, only smaller ones are tried in that pass",
          "[ipc][queue]") {
    Pair pair;
    std::vector<std::size_t> tried;
    pair.from.keeper->set_mover([&](const Letter& letter, std::int64_t) {
        tried.push_back(letter.message.size());
        return Kept::no_room;
    });
    {
        const auto member = pair.from.join(1);
        for (std::size_t size : {100, 100, 300, 50, 50, 70}) {
            send(*member, size, size);
            Lease lease = receive(*member);
            REQUIRE(member->reject(lease));
        }
    }
    (void)sweep_all(*pair.from.keeper, 1);
    CHECK(tried == std::vector<std::size_t>{100, 50});
    tried.clear();
    (void)sweep_all(*pair.from.keeper, 2'000'000'000, 3);
    CHECK(tried == std::vector<std::size_t>{100, 50});
    CHECK(status(pair.from.segment()).dead == 6);
}
