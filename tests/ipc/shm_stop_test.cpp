// A process is stopped by SIGSTOP at every named point of a put, of a get and an ack; others go on
// as if it were not there. Then it is continued: its put is one more message, and its lease, which
// was taken away meanwhile, is refused.

#include <algorithm>
#include <array>
#include <map>
#include <poll.h>

#include "shm_children.hpp"
#include "shm_support.hpp"

using namespace shm_test;

namespace {

constexpr std::uint64_t stopped_id = 1;
constexpr std::uint64_t others = 100;  // more than the queue has room for at a time
constexpr std::int64_t minute = 60'000'000'000;

struct Report {
    std::atomic<unsigned> hits[crash_point_count];
    std::atomic<std::uint64_t> acked;  // the id, or 0
    std::atomic<bool> is_refused;
};

Report* report = nullptr;
CrashPoint target{};
unsigned countdown = 0;

void count(CrashPoint point) { ++report->hits[static_cast<std::size_t>(point)]; }
void stop(CrashPoint point) {
    if (point == target && --countdown == 0) ::raise(SIGSTOP);
}

using Act = void (*)(Member&);

void put_one(Member& member) { (void)try_send(member, stopped_id, 1500); }
void put_large_one(Member& member) { (void)try_send(member, stopped_id, 3 * 4096); }
void get_and_ack(Member& member) {
    Lease lease;
    if (member.try_get(lease) != Got::message) return;
    const std::uint64_t id = id_of(lease.message);  // another one, if ours was taken meanwhile
    report->is_refused = !member.ack(lease);
    if (!report->is_refused) report->acked = id;
}

struct Play {
    const char* name;
    Act act;
    bool consumes;
};

const Play plays[] = {
    {"puts", put_one, false},
    {"puts a large one", put_large_one, false},
    {"gets and acks", get_and_ack, true},
};

/// A queue of which the dead are moved where they are only counted, and who looks on.
struct Moving {
    explicit Moving(bool has_dead_letter) {
        queue.keeper->configure({.has_dead_letter = has_dead_letter});
        queue.keeper->set_mover([this](const Letter&, std::int64_t) {
            ++moved;
            return Kept::kept;
        });
        (void)sweep_all(*queue.keeper, 1);
        witness = queue.join(2);
    }
    Moving(const Moving&) = delete;
    Moving& operator=(const Moving&) = delete;

    Queue queue;
    unsigned moved = 0;
    std::unique_ptr<Member> witness;
};

/// A queue with one message to get, and a child that acts as owner 1.
struct World {
    explicit World(const Play& play) : witness{queue.join(2)} {
        if (play.consumes) send(*witness, stopped_id);
    }
    [[nodiscard]] pid_t begin(const Play& play, CrashHook hook) const {
        return fork_child([&] {
            const auto member = queue.join(1);
            crash_hook = hook;
            play.act(*member);
            crash_hook = nullptr;
        });
    }
    /// All that others do: as many messages as it takes to go through slots and memory more than
    /// once.
    void go_on(std::map<std::uint64_t, unsigned>& ends) const {
        for (std::uint64_t id = 10; id < 10 + others; ++id) {
            send(*witness, id, 100 + id * 16);
            Lease lease = receive(*witness);
            ++ends[id_of(lease.message)];
            REQUIRE(witness->ack(lease));
        }
    }
    [[nodiscard]] bool take_lease_away() const {
        for (std::uint32_t slot = 0; slot < small_config().capacity; ++slot) {
            const SlotWord word = slot_of(queue.segment(), slot);
            if (word.state == SlotState::leased && word.owner == 1)
                return queue.keeper->take_back(slot, word.pack());
        }
        return false;
    }

    Queue queue;
    std::unique_ptr<Member> witness;
};

void run(const Play& play, CrashPoint point, unsigned nth) {
    Common<Report> fresh;
    report = &*fresh;
    target = point;
    countdown = nth;
    World world{play};
    std::map<std::uint64_t, unsigned> ends;
    const pid_t child = world.begin(play, stop);
    await_stop(child);

    const bool is_taken = world.take_lease_away();
    world.go_on(ends);
    REQUIRE(::kill(child, SIGCONT) == 0);
    REQUIRE(reap(child) == 0);

    if (report->acked != 0) ++ends[report->acked];
    for (const std::uint64_t id : drain(*world.witness)) ++ends[id];
    CHECK(ends.size() == others + 1);
    for (const auto& [id, times] : ends) {
        INFO("message " << id);
        CHECK(times == 1);
    }
    if (is_taken) CHECK(report->is_refused);
    world.witness.reset();
    world.queue.keeper->repair(1);
    world.queue.keeper->repair(2);
    CHECK(is_like_new(world.queue.segment()));
}

}  // namespace

TEST_CASE("queue stop: whoever is stopped within a put or a get holds nobody up, and goes on later",
          "[ipc][queue]") {
    unsigned stops = 0;
    for (const Play& play : plays) {
        std::array<unsigned, crash_point_count> hits{};
        {
            Common<Report> fresh;
            report = &*fresh;
            const World world{play};
            REQUIRE(reap(world.begin(play, count)) == 0);
            std::copy(std::begin(fresh->hits), std::end(fresh->hits), hits.begin());
        }
        for (std::size_t point = 0; point < crash_point_count; ++point) {
            for (unsigned nth = 1; nth <= hits[point]; ++nth, ++stops) {
                INFO("one " << play.name << " and is stopped at " << crash_point_names[point]
                            << ", time " << nth);
                run(play, static_cast<CrashPoint>(point), nth);
            }
        }
    }
    CHECK(stops > 30);
    WARN("stopped " << stops << " times");
}

// Whoever is stopped is not dead, so nobody repairs. But when his lease is over the keeper gets at
// the message, wherever in his call he stands: nobody waits for him to go on.
TEST_CASE("queue stop: what he who is stopped had in hand is with others when its lease is over",
          "[ipc][queue]") {
    struct Deed {
        const char* name;
        bool is_kept;  // where dead letters are
        Act act;
    };
    static constexpr auto get = [](Member& member, auto&& end) {
        Lease lease;
        if (member.try_get(lease) == Got::message) (void)end(lease);
    };
    const Deed deeds[] = {
        {"acks", false,
         [](Member& member) { get(member, [&](Lease& lease) { return member.ack(lease); }); }},
        {"nacks", false,
         [](Member& member) { get(member, [&](Lease& lease) { return member.nack(lease); }); }},
        {"nacks to the end", false,
         [](Member& member) {
             get(member, [&](Lease& lease) { return member.nack(lease, Turn::last); });
         }},
        {"nacks for later", false,
         [](Member& member) {
             get(member, [&](Lease& lease) { return member.nack_until(lease, 10); });
         }},
        {"untakes", false,
         [](Member& member) { get(member, [&](Lease& lease) { return member.untake(lease); }); }},
        {"rejects", false,
         [](Member& member) { get(member, [&](Lease& lease) { return member.reject(lease); }); }},
        {"rejects for good", true,
         [](Member& member) { get(member, [&](Lease& lease) { return member.reject(lease); }); }},
        {"puts", false, put_one},
    };
    unsigned stops = 0;
    const auto play = [&](const Deed& deed, CrashHook hook) {
        Moving moving{deed.is_kept};
        const Queue& queue = moving.queue;
        const unsigned& moved = moving.moved;
        const auto& witness = moving.witness;
        const bool is_put = deed.act == put_one;
        if (!is_put) send(*witness, stopped_id);
        const pid_t child = fork_child([&] {
            const auto member = queue.join(1);
            crash_hook = hook;
            deed.act(*member);
            crash_hook = nullptr;
        });
        if (hook == count) {
            REQUIRE(reap(child) == 0);
            return;
        }
        await_stop(child);
        // A put has no lease: it is looked for once in a while.
        const std::int64_t then = is_put ? 3 * late : late;
        (void)sweep_all(*queue.keeper, then, 3);
        const auto found = drain(*witness);
        const Status now = shm_test::status(queue.segment());
        CHECK(now.ready + now.leased + now.delayed + now.dead == 0);
        const bool is_taken = !found.empty() || moved > 0;
        REQUIRE(::kill(child, SIGCONT) == 0);
        REQUIRE(reap(child) == 0);
        (void)sweep_all(*queue.keeper, 6 * late);
        const auto rest = drain(*witness);
        CHECK(found.size() + rest.size() + moved <= 1);
        const bool may_end =
            std::string{deed.name} == "acks" || std::string{deed.name} == "rejects";
        if (!may_end) CHECK(found.size() + rest.size() + moved == 1);
        if (is_taken) CHECK(rest.empty());
        queue.keeper->repair(1);
        CHECK(is_sound(queue.segment()));
        ++stops;
    };
    for (const Deed& deed : deeds) {
        std::array<unsigned, crash_point_count> hits{};
        {
            Common<Report> fresh;
            report = &*fresh;
            play(deed, count);
            std::copy(std::begin(fresh->hits), std::end(fresh->hits), hits.begin());
        }
        for (std::size_t point = 0; point < crash_point_count; ++point) {
            for (unsigned nth = 1; nth <= hits[point]; ++nth) {
                INFO("one " << deed.name << " and is stopped at " << crash_point_names[point]
                            << ", time " << nth);
                target = static_cast<CrashPoint>(point);
                countdown = nth;
                play(deed, stop);
            }
        }
    }
    CHECK(stops > 60);
    WARN("stopped " << stops << " times");
}

// Taken away while he was writing down when it may be had again: what he writes does not count.
TEST_CASE("queue stop: a late nack for later does not change when another one's message comes",
          "[ipc][queue]") {
    const Queue queue;
    const auto witness = queue.join(2);
    send(*witness, stopped_id);
    target = GENERATE(CrashPoint::nack_returning, CrashPoint::nack_checked, CrashPoint::nack_timed);
    countdown = 1;
    // What stood there before may be the very time that the other one writes.
    if (GENERATE(false, true)) {
        Lease lease = receive(*witness);
        REQUIRE(witness->nack_until(lease, late + 10));
        (void)sweep_all(*queue.keeper, late + 10);
    }
    const pid_t child = fork_child([&] {
        const auto member = queue.join(1);
        crash_hook = stop;
        Lease lease;
        if (member->try_get(lease) != Got::message || member->nack_until(lease, 4 * late))
            ::_exit(7);
    });
    await_stop(child);
    (void)sweep_all(*queue.keeper, late + 10);
    Lease lease;
    REQUIRE(witness->try_get(lease, late) == Got::message);
    REQUIRE(witness->nack_until(lease, late + 10));
    REQUIRE(::kill(child, SIGCONT) == 0);
    REQUIRE(reap(child) == 0);
    (void)sweep_all(*queue.keeper, late + 10);
    CHECK(drain(*witness) == std::vector<std::uint64_t>{stopped_id});
    queue.keeper->repair(1);
    CHECK(is_sound(queue.segment()));
}

// The note of when to look is made last. Whoever is stopped before it is not dead, so nobody
// repairs; his lease is over, so nobody waits for him either.
TEST_CASE("queue stop: what was given back or rejected by one who is stopped then is found by time",
          "[ipc][queue]") {
    const bool is_rejected = GENERATE(false, true);
    Common<Report> fresh;
    report = &*fresh;
    target = is_rejected ? CrashPoint::reject_buried : CrashPoint::nack_delayed;
    countdown = 1;
    Moving moving{true};
    const Queue& queue = moving.queue;
    const unsigned& moved = moving.moved;
    const auto& witness = moving.witness;
    send(*witness, stopped_id);
    const pid_t child = fork_child([&] {
        const auto member = queue.join(1);
        crash_hook = stop;
        Lease lease;
        if (member->try_get(lease) != Got::message) return;
        (void)(is_rejected ? member->reject(lease) : member->nack_until(lease, 10));
    });
    await_stop(child);

    for (std::int64_t now = minute / 2; now < 2 * minute; now += minute / 2)
        (void)sweep_all(*queue.keeper, now);
    if (is_rejected)
        CHECK(moved == 1);
    else
        CHECK(drain(*witness) == std::vector<std::uint64_t>{stopped_id});
    REQUIRE(::kill(child, SIGCONT) == 0);
    REQUIRE(reap(child) == 0);
    (void)sweep_all(*queue.keeper, 2 * minute);
    CHECK(moved == (is_rejected ? 1 : 0));
    queue.keeper->repair(1);
    queue.keeper->repair(2);
    CHECK(is_sound(queue.segment()));
}

// A full queue, and the one who makes room in it is stopped before he tells anybody.
TEST_CASE("queue stop: a place that nobody was told of wakes a producer within two minutes",
          "[ipc][queue]") {
    static CrashPoint where{};
    struct Stopped {};
    where = GENERATE(CrashPoint::ack_slot_freed, CrashPoint::ring_filled, CrashPoint::wake_chosen);
    Config config = small_config();
    config.capacity = 2;
    const Queue queue{config};
    const auto acker = queue.join(1);
    const auto producer = queue.join(2);
    const auto holder = queue.join(3);
    for (std::uint64_t id = 1; id <= 2; ++id) send(*producer, id);
    Lease held;
    REQUIRE(holder->try_get(held, 100 * minute) == Got::message);
    Lease lease = receive(*acker);
    const int bell = producer->doorbell();
    producer->arm(Interest::slots);
    REQUIRE(try_send(*producer, 3) == Shortage::slots);
    crash_hook = [](CrashPoint point) {
        if (point == where) throw Stopped{};
    };
    CHECK_THROWS_AS((void)acker->ack(lease), Stopped);
    crash_hook = nullptr;
    for (std::int64_t now = minute + 1; now < 3 * minute; now += minute)
        (void)sweep_all(*queue.keeper, now);
    pollfd rung{bell, POLLIN, 0};
    CHECK(::poll(&rung, 1, 0) == 1);
    CHECK(try_send(*producer, 3) == Shortage::none);
}

// Between the keeper's two steps that end a lease its holder may still take one of his own.
TEST_CASE("queue stop: who is stopped while the keeper ends his lease hides no message either",
          "[ipc][queue]") {
    struct Stopped {};
    struct Deed {
        CrashPoint where;
        void (*act)(Member&, Lease&);
    };
    static const Deed deeds[] = {
        {CrashPoint::nack_returned, [](Member& m, Lease& lease) { (void)m.nack(lease); }},
        {CrashPoint::nack_returned, [](Member& m, Lease& lease) { (void)m.untake(lease); }},
        {CrashPoint::nack_delayed, [](Member& m, Lease& lease) { (void)m.nack_until(lease, 9); }},
        {CrashPoint::reject_buried, [](Member& m, Lease& lease) { (void)m.reject(lease); }},
    };
    static const Deed* deed = nullptr;
    static Member* holder = nullptr;
    static Lease lease;
    deed = &deeds[GENERATE(0, 1, 2, 3)];
    const Queue queue;
    Settings settings;
    settings.has_dead_letter = true;
    queue.keeper->configure(settings);
    std::size_t moved = 0;
    queue.keeper->set_mover([&](const Letter&, std::int64_t) {
        ++moved;
        return Kept::kept;
    });
    const auto member = queue.join(1);
    const auto witness = queue.join(2);
    holder = member.get();
    (void)sweep_all(*queue.keeper, 20'000'000'000);
    send(*witness, 1);
    lease = receive(*member);
    crash_hook = [](CrashPoint point) {
        if (point != CrashPoint::sweep_ended) return;
        crash_hook = [](CrashPoint inner) {
            if (inner == deed->where) throw Stopped{};
        };
        CHECK_THROWS_AS(deed->act(*holder, lease), Stopped);
        crash_hook = nullptr;
    };
    (void)sweep_all(*queue.keeper, late);
    crash_hook = nullptr;
    CHECK(drain(*witness).size() + moved == 1);
}

// In a queue where nothing else is due nobody comes by for a minute.
TEST_CASE("queue stop: of a get that is stopped the keeper is told, wherever it has its message",
          "[ipc][queue]") {
    static CrashPoint where{};
    struct Stopped {};
    where = GENERATE(CrashPoint::get_leased, CrashPoint::ring_claimed, CrashPoint::ring_cleared,
                     CrashPoint::get_done);
    const Queue queue;
    const auto member = queue.join(1);
    const auto witness = queue.join(2);
    send(*witness, 1);
    WaitTable table{queue.segment(), queue.keeper->doorbells()};
    const auto place = table.claim(small_config().members);
    REQUIRE(place);
    table.arm(*place, Interest::timers);
    REQUIRE(sweep_all(*queue.keeper, 1).due == 0);
    crash_hook = [](CrashPoint point) {
        if (point == where) throw Stopped{};
    };
    Lease lease;
    CHECK_THROWS_AS((void)member->try_get(lease), Stopped);
    crash_hook = nullptr;
    CHECK(is_rung(table.doorbell(*place)));
    const Sweep sweep = sweep_all(*queue.keeper, 2);
    CHECK(sweep.due == static_cast<std::int64_t>(Settings{}.lease));
    (void)sweep_all(*queue.keeper, sweep.due);
    CHECK(drain(*witness) == std::vector<std::uint64_t>{1});
}
