// One member is stopped at a named point, each point in turn and each time it comes by; another
// one, or the keeper, does something whole; then the first goes on. In one process and without
// threads: the crash hook is where the other one acts. Nobody dies here, so every message must end
// exactly once.

#include <algorithm>
#include <map>

#include "shm_support.hpp"

using namespace shm_test;

namespace {

CrashPoint target{};
unsigned countdown = 0;
std::function<void()> interlude;
std::map<CrashPoint, unsigned> passed;

void count(CrashPoint point) { ++passed[point]; }

void interrupt(CrashPoint point) {
    if (point != target || --countdown != 0) return;
    crash_hook = nullptr;
    interlude();
}

Config tight() {
    Config config = small_config();
    config.capacity = 6;
    config.payload_bytes = 8 * 4096;
    config.max_message = 6 * 4096;
    return config;
}

struct World {
    World() : queue{tight()}, one{queue.join(1)}, two{queue.join(2)} {
        for (int i = 0; i < 3; ++i) put(*two, 600);
        Lease lease = receive(*two);
        REQUIRE(two->nack(lease));
    }

    void put(Member& member, std::size_t size) {
        const std::uint64_t id = next_id++;
        ends[id] = 0;  // before the put: the other one may ack it within
        if (try_send(member, id, size) != Shortage::none) ends.erase(id);
    }
    bool ack(Member& member, Lease& lease) {
        if (!lease) return false;
        REQUIRE(is_whole(lease.message));
        const std::uint64_t id = id_of(lease.message);
        const bool is_acked = member.ack(lease);
        if (is_acked) ++ends[id];
        return is_acked;
    }
    void get_and_ack(Member& member) {
        Lease lease;
        if (member.try_get(lease) == Got::message) ack(member, lease);
    }
    /// Two puts of one id have one message: whichever of the two it is, it ends once.
    void put_once(Member& member, std::uint64_t number) {
        Reservation reservation;
        if (member.try_reserve(700, reservation) != Shortage::none) return;
        const std::uint64_t id = 1000 + number;
        write_message(reservation.memory.first(700), id);
        ends.try_emplace(id, 0);
        (void)member.put_once(reservation, 700, {number, number}, 1);
    }
    /// What is put from now on lives for an instant.
    void let_age() const { queue.keeper->configure({.time_to_live = 1}); }
    void drop_oldest(Member& member) {
        if (member.drop_oldest()) ++dropped;
    }
    void take_leases_away() const {
        has_taken_away = true;
        for (std::uint32_t slot = 0; slot < tight().capacity; ++slot) {
            (void)queue.keeper->take_back(slot, queue.segment().slot(slot).state.load());
        }
    }

    /// Every message that was put has ended once, and nothing is left anywhere.
    void settle() {
        (void)sweep_all(*queue.keeper, 10);  // what was given back for later
        CHECK(is_sound(queue.segment()));
        for (Lease& lease : held) {
            const bool is_granted =
                std::find(granted.begin(), granted.end(), lease.word) != granted.end();
            const bool is_acked = ack(*two, lease);
            CHECK((is_acked || !is_granted));
        }
        Lease lease;
        while (two->try_get(lease) == Got::message) ack(*two, lease);
        int missing = 0;
        for (const auto& [id, times] : ends) {
            INFO("message " << id);
            CHECK(times <= 1);
            if (times == 0) ++missing;
        }
        CHECK(missing == dropped + static_cast<int>(status(queue.segment()).died));
        CHECK(is_sound(queue.segment()));
        CHECK(status(queue.segment()).free == tight().capacity);
        one.reset();
        two.reset();
        queue.keeper->repair(1);
        queue.keeper->repair(2);
        CHECK(is_like_new(queue.segment()));
    }

    Queue queue;
    std::unique_ptr<Member> one;
    std::unique_ptr<Member> two;
    std::vector<Lease> held;
    std::vector<std::uint64_t> granted;  // of those, the ones whose extension was granted
    std::map<std::uint64_t, int> ends;
    std::uint64_t next_id = 1;
    mutable bool has_taken_away = false;
    int dropped = 0;
};

struct Act {
    const char* name;
    void (*run)(World&);
};

const Act first_acts[] = {
    {"puts small ones",
     [](World& world) {
         for (int i = 0; i < 4; ++i) world.put(*world.one, 1800);
     }},
    {"puts, gets and acks",
     [](World& world) {
         for (int i = 0; i < 6; ++i) {
             world.put(*world.one, 1500);
             world.get_and_ack(*world.one);
         }
     }},
    {"puts large ones, gets and acks",
     [](World& world) {
         for (int i = 0; i < 4; ++i) world.get_and_ack(*world.one);
         for (int i = 0; i < 2; ++i) {
             world.put(*world.one, 3 * 4096);
             world.get_and_ack(*world.one);
         }
     }},
    {"grows",
     [](World& world) {
         Reservation reservation;
         if (world.one->try_reserve(100, reservation) != Shortage::none) return;
         world.one->release_extent(reservation, 64);
         if (world.one->try_extent(reservation, 5000) != Shortage::none)
             return world.one->abandon(reservation);
         write_message(reservation.memory.first(5000), world.next_id);
         world.ends[world.next_id++] = 0;
         world.one->put(reservation, 5000);
     }},
    {"gets and acks",
     [](World& world) {
         for (int i = 0; i < 4; ++i) world.get_and_ack(*world.one);
     }},
    {"repairs after one who was killed with all kinds of things in hand",
     [](World& world) {
         const auto dead = world.queue.join(3);
         world.put(*dead, 1900);
         world.put(*dead, 5000);
         for (int i = 0; i < 4; ++i) world.get_and_ack(*world.one);
         Reservation lost;
         (void)dead->try_reserve(6000, lost);
         Lease lease;
         (void)dead->try_get(lease);
         world.queue.keeper->repair(3);
     }},
    {"gets, extends and acks",
     [](World& world) {
         Lease lease;
         if (world.one->try_get(lease) != Got::message) return;
         // An extension that was granted holds: the keeper has seen it, or sees it.
         const bool is_extended = world.one->extend(lease, 2 * late);
         const bool is_acked = world.ack(*world.one, lease);
         CHECK((is_acked == is_extended || world.has_taken_away));
     }},
    {"sweeps when every lease is over",
     [](World& world) {
         for (int i = 0; i < 2; ++i) {
             Lease lease;
             if (world.two->try_get(lease) == Got::message) world.held.push_back(lease);
         }
         (void)sweep_all(*world.queue.keeper, late);
     }},
    {"drops the oldest for its own",
     [](World& world) {
         for (int i = 0; i < 2; ++i) {
             world.drop_oldest(*world.one);
             world.put(*world.one, 900);
         }
     }},
    {"puts what ages, and gets when it is too old",
     [](World& world) {
         world.let_age();
         for (int i = 0; i < 2; ++i) world.put(*world.one, 900);
         for (int i = 0; i < 4; ++i) {
             Lease lease;
             if (world.one->try_get(lease, 5) == Got::message) world.ack(*world.one, lease);
         }
     }},
    {"ends what is too old",
     [](World& world) {
         world.let_age();
         for (int i = 0; i < 2; ++i) world.put(*world.one, 900);
         (void)sweep_all(*world.queue.keeper, 5, 2);
     }},
    {"puts what must come once",
     [](World& world) {
         world.put_once(*world.one, 7);
         world.put_once(*world.one, 8);
     }},
    {"nacks for later, and the time comes",
     [](World& world) {
         for (int i = 0; i < 2; ++i) {
             Lease lease;
             if (world.one->try_get(lease) == Got::message) (void)world.one->nack_until(lease, 10);
         }
         (void)sweep_all(*world.queue.keeper, 10, 2);
         world.get_and_ack(*world.one);
     }},
    {"rejects",
     [](World& world) {
         Lease lease;
         if (world.one->try_get(lease) != Got::message) return;
         const std::uint64_t id = id_of(lease.message);
         if (world.one->reject(lease)) ++world.ends[id];
     }},
    {"nacks",
     [](World& world) {
         for (const Turn turn : {Turn::first, Turn::last}) {
             Lease lease;
             if (world.one->try_get(lease) == Got::message) (void)world.one->nack(lease, turn);
         }
     }},
};

const Act other_acts[] = {
    {"puts a small one", [](World& world) { world.put(*world.two, 100); }},
    {"puts one that takes a chunk", [](World& world) { world.put(*world.two, 2048); }},
    {"puts a large one", [](World& world) { world.put(*world.two, 3 * 4096); }},
    {"puts what there is room for",
     [](World& world) {
         for (std::size_t size = 6 * 4096; size >= 64; size /= 2) world.put(*world.two, size);
     }},
    {"gets and acks",
     [](World& world) {
         for (int i = 0; i < 2; ++i) world.get_and_ack(*world.two);
     }},
    {"gets and acks all",
     [](World& world) {
         for (int i = 0; i < 8; ++i) world.get_and_ack(*world.two);
     }},
    {"gets, acks and puts a large one",
     [](World& world) {
         for (int i = 0; i < 8; ++i) world.get_and_ack(*world.two);
         world.put(*world.two, 3 * 4096);
         world.put(*world.two, 3 * 4096);
     }},
    {"gets and gives back for later",
     [](World& world) {
         Lease lease;
         if (world.two->try_get(lease) == Got::message) (void)world.two->nack_until(lease, 10);
     }},
    {"gets and keeps",
     [](World& world) {
         Lease lease;
         if (world.two->try_get(lease) == Got::message) world.held.push_back(lease);
     }},
    {"drops the oldest", [](World& world) { world.drop_oldest(*world.two); }},
    {"ends what is too old", [](World& world) { (void)sweep_all(*world.queue.keeper, 5); }},
    {"gets when it is too old",
     [](World& world) {
         for (int i = 0; i < 6; ++i) {
             Lease lease;
             if (world.two->try_get(lease, 5) == Got::message) world.ack(*world.two, lease);
         }
     }},
    {"puts the same once",
     [](World& world) {
         world.put_once(*world.two, 7);
         world.put_once(*world.two, 8);
     }},
    {"puts the same once, gets and acks",
     [](World& world) {
         world.put_once(*world.two, 7);
         for (int i = 0; i < 8; ++i) world.get_and_ack(*world.two);
     }},
    {"takes leases away", [](World& world) { world.take_leases_away(); }},
    {"sweeps when every lease is over",
     [](World& world) { (void)sweep_all(*world.queue.keeper, late); }},
    {"sweeps when every lease is over, gets and acks",
     [](World& world) {
         (void)sweep_all(*world.queue.keeper, late);
         for (int i = 0; i < 8; ++i) world.get_and_ack(*world.two);
     }},
    {"extends",
     [](World& world) {
         for (const Lease& lease : world.held) {
             if (world.two->extend(lease, 2 * late)) world.granted.push_back(lease.word);
         }
     }},
    {"takes leases away, gets and acks",
     [](World& world) {
         world.take_leases_away();
         for (int i = 0; i < 8; ++i) world.get_and_ack(*world.two);
     }},
    {"takes leases away, gets, acks and puts",
     [](World& world) {
         world.take_leases_away();
         for (int i = 0; i < 8; ++i) world.get_and_ack(*world.two);
         for (int i = 0; i < 6; ++i) world.put(*world.two, 4000);
     }},
    {"repairs after somebody else", [](World& world) { world.queue.keeper->repair(5); }},
    {"repairs after one who was killed in a put",
     [](World& world) {
         const auto dead = world.queue.join(4);
         Reservation lost;
         (void)dead->try_reserve(700, lost);
         world.queue.keeper->repair(4);
     }},
};

}  // namespace

TEST_CASE(
    "queue interleaving: whoever stands at whichever point, another one's whole act does no harm",
    "[ipc][queue]") {
    unsigned runs = 0;
    for (const Act& first : first_acts) {
        passed.clear();
        {
            World world;
            crash_hook = count;
            first.run(world);
            crash_hook = nullptr;
            world.settle();
        }
        const auto points = passed;
        for (const auto& [point, times] : points) {
            for (unsigned nth = 1; nth <= times; ++nth) {
                for (const Act& other : other_acts) {
                    INFO("one " << first.name << " and stands at "
                                << crash_point_names[static_cast<std::size_t>(point)] << ", time "
                                << nth << "; the other one " << other.name);
                    World world;
                    target = point;
                    countdown = nth;
                    interlude = [&] { other.run(world); };
                    crash_hook = interrupt;
                    first.run(world);
                    REQUIRE(countdown == 0);
                    world.settle();
                    ++runs;
                }
            }
        }
    }
    WARN(runs << " pairs");
}

TEST_CASE(
    "queue interleaving: chunks that are free but not yet marked so are found by who needs them",
    "[ipc][queue]") {
    World world;
    for (int i = 0; i < 3; ++i) world.get_and_ack(*world.one);
    world.put(*world.one, 6 * 4096);
    const CrashPoint point = GENERATE(CrashPoint::run_part_freed, CrashPoint::run_head_freed);
    target = point;
    countdown = 1;
    interlude = [&] {
        Reservation all;
        REQUIRE(world.two->try_reserve(6 * 4096, all) == Shortage::none);
        world.two->abandon(all);
    };
    crash_hook = interrupt;
    world.get_and_ack(*world.one);
    REQUIRE(countdown == 0);
    world.settle();
}

TEST_CASE(
    "queue interleaving: who stopped while freeing a run does not touch the next one in its place",
    "[ipc][queue]") {
    World world;
    for (int i = 0; i < 3; ++i) world.get_and_ack(*world.one);
    world.put(*world.one, 6 * 4096);
    target = CrashPoint::run_part_freed;
    countdown = GENERATE(1u, 2u, 4u);
    interlude = [&] { world.put(*world.two, 6 * 4096); };
    crash_hook = interrupt;
    world.get_and_ack(*world.one);
    REQUIRE(countdown == 0);
    CHECK(world.ends.size() == 5);
    world.settle();
}

TEST_CASE("queue interleaving: who held chunks in vain wakes those who may have missed them",
          "[ipc][queue]") {
    World world;
    for (int i = 0; i < 3; ++i) world.get_and_ack(*world.one);
    const auto sleeper = world.queue.join(3);
    const int bell = sleeper->doorbell();
    sleeper->arm(Interest::memory, 5 * 4096);
    Reservation mine;
    Reservation theirs;
    target = CrashPoint::run_head_taken;
    countdown = 1;
    interlude = [&] { REQUIRE(world.two->try_reserve(4 * 4096, theirs) == Shortage::none); };
    crash_hook = interrupt;
    CHECK(world.one->try_reserve(6 * 4096, mine) == Shortage::memory);
    REQUIRE(countdown == 0);
    CHECK(is_rung(bell));
    CHECK(sleeper->disarm(Interest::memory));
    CHECK_FALSE(sleeper->disarm(Interest::memory));
    world.two->abandon(theirs);
    world.settle();
}
