// A process is killed at every named point of every operation, at each time it comes by, and the
// account is made afterwards. The points are found by running each role once; none can be
// forgotten, since a last test asks for those that no role has hit.
//
// Longer than most files: the roles, and the account that is made after a death, are the same for
// all cases, and the last case needs all of the roles.

#include <algorithm>
#include <csignal>
#include <set>

#include "queue/repair.hpp"
#include "shm_children.hpp"
#include "shm_support.hpp"

using namespace shm_test;

namespace {

constexpr std::size_t ids = 64;
constexpr std::uint64_t visitor_id = 63;  // what the witness puts between death and repair

/// What the child has begun and done, as far as it could say so before it died.
struct Ledger {
    std::atomic<unsigned> hits[crash_point_count];
    std::atomic<bool> has_struck;
    std::atomic<bool> put_begun[ids], put_done[ids], ack_begun[ids], ack_done[ids];
    std::atomic<bool> reject_begun[ids];
};

Ledger* ledger = nullptr;
CrashPoint target{};
unsigned countdown = 0;

void note(CrashPoint point) { ++ledger->hits[static_cast<std::size_t>(point)]; }

void strike(CrashPoint point) {
    if (point != target || --countdown != 0) return;
    ledger->has_struck = true;
    ::raise(SIGKILL);
}

void put_as(Member& member, std::uint64_t id, std::size_t size) {
    ledger->put_begun[id] = true;
    if (try_send(member, id, size) == Shortage::none) ledger->put_done[id] = true;
}

void put_once_as(Member& member, std::uint64_t id) {
    ledger->put_begun[id] = true;
    Reservation reservation;
    if (member.try_reserve(200, reservation) != Shortage::none) return;
    write_message(reservation.memory.first(200), id);
    (void)member.put_once(reservation, 200, {id, id});
    ledger->put_done[id] = true;
}

/// As another put of the same id would do to ours, just before we publish.
CrashHook hook_behind = nullptr;
const Segment* revoked_in = nullptr;
void revoke_once(CrashPoint point) {
    hook_behind(point);
    if (point != CrashPoint::dedup_claimed || revoked_in == nullptr) return;
    for (std::uint32_t slot = 0; slot < revoked_in->config().capacity; ++slot) {
        Word& state = revoked_in->slot(slot).state;
        const SlotWord word = SlotWord::of(state.load());
        if (word.state == SlotState::reserved) state.swap(word.pack(), word.revoked().pack());
    }
    revoked_in = nullptr;
}

void ack_as(Member& member, Lease& lease) {
    const std::uint64_t id = id_of(lease.message);
    ledger->ack_begun[id] = true;
    if (member.ack(lease)) ledger->ack_done[id] = true;
}

void reject_as(Member& member, Lease& lease) {
    const std::uint64_t id = id_of(lease.message);
    ledger->reject_begun[id] = true;
    (void)member.reject(lease);
}

void get_and_ack(Member& member) {
    Lease lease;
    if (member.try_get(lease) == Got::message) ack_as(member, lease);
}

/// Ends what is dead; returns the ids.
std::vector<std::uint64_t> bury_the_dead(Keeper& keeper) {
    std::vector<std::uint64_t> found;
    for (std::uint32_t slot = 0; slot < keeper.segment().config().capacity; ++slot) {
        const std::uint64_t word = keeper.segment().slot(slot).state.load();
        if (SlotWord::of(word).state != SlotState::dead) continue;
        found.push_back(id_of(keeper.dead_message(slot)));
        ledger->reject_begun[found.back()] = true;
        CHECK(keeper.bury_dead(slot, word));
    }
    return found;
}

struct World;
struct Role {
    const char* name;
    std::function<void(World&)> prepare;       // in the parent
    std::function<void(World&, Member&)> act;  // in the child, as owner 1
};

/// A queue with a witness (owner 2) that lives on.
struct World {
    World() : witness{queue.join(2)} {
        for (std::uint64_t id = 40; id < 43; ++id) put_as(*witness, id, 100);
    }
    Queue queue;
    std::unique_ptr<Member> witness;
    Lease stale;
};

void nothing(World&) {}

void keep_dead_letters(World& world) {
    world.queue.keeper->configure({.max_deliveries = 2, .has_dead_letter = true});
}

/// A put of message 1 that stands in its way, by owner 3 who was killed.
void leave_a_put_on_its_way(World& world) {
    REQUIRE(reap(fork_child([&] {
                crash_hook = [](CrashPoint point) {
                    if (point == CrashPoint::dedup_claimed) ::raise(SIGKILL);
                };
                const auto member = world.queue.join(3);
                Reservation reservation;
                (void)member->try_reserve(200, reservation);
                (void)member->put_once(reservation, 200, {1, 1});
            })) == SIGKILL);
}

/// What is put from now on lives for an instant.
void age(World& world) {
    world.queue.keeper->configure({.time_to_live = 1});
    for (const std::uint64_t id :
         {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}, std::uint64_t{4}, visitor_id})
        ledger->reject_begun[id] = true;
}

void haunt(World& world) {
    world.stale = receive(*world.witness);
    REQUIRE(world.queue.keeper->take_back(world.stale.slot, world.stale.word));
}

// A table, so its length is no burden.
const std::vector<Role>& roles() {
    static const std::vector<Role> all{
        {"producer", nothing,
         [](World&, Member& member) {
             put_as(member, 1, 100);
             put_as(member, 2, 2000);
             Reservation reservation;
             if (member.try_reserve(300, reservation) == Shortage::none)
                 member.abandon(reservation);
             put_as(member, 3, 8);
         }},
        {"producer through many chunks", nothing,
         [](World&, Member& member) {
             for (std::uint64_t id = 1; id <= 12; ++id) {
                 put_as(member, id, 1500);
                 if (id > 3) get_and_ack(member);
             }
         }},
        {"producer of large messages", nothing,
         [](World&, Member& member) {
             put_as(member, 1, 9000);
             put_as(member, 2, 5 * 4096);
             for (int i = 0; i < 5; ++i) get_and_ack(member);
         }},
        {"producer whose message grows", nothing,
         [](World&, Member& member) {
             Reservation reservation;
             ledger->put_begun[1] = true;
             if (member.try_reserve(100, reservation) != Shortage::none) return;
             std::memset(reservation.memory.data(), 1, 50);
             member.release_extent(reservation, 50);
             if (member.try_extent(reservation, 9000) != Shortage::none) return;
             write_message(reservation.memory.first(9000), 1);
             member.put(reservation, 9000);
             ledger->put_done[1] = true;
         }},
        {"producer of what must come once", nothing,
         [](World&, Member& member) {
             put_once_as(member, 1);
             put_once_as(member, 1);
             put_once_as(member, 2);
         }},
        {"producer in whose way another put stands", leave_a_put_on_its_way,
         [](World&, Member& member) { put_once_as(member, 1); }},
        {"producer whose put is revoked", nothing,
         [](World& world, Member& member) {
             revoked_in = &world.queue.segment();
             hook_behind = crash_hook;
             crash_hook = revoke_once;
             put_once_as(member, 1);
         }},
        {"producer of a duplicate that notices late", nothing,
         [](World& world, Member& member) {
             static World* other;
             other = &world;
             hook_behind = crash_hook;
             crash_hook = [](CrashPoint point) {
                 hook_behind(point);
                 if (point != CrashPoint::dedup_claimed || other == nullptr) return;
                 World& them = *std::exchange(other, nullptr);
                 const CrashHook hook = crash_hook.exchange(nullptr);
                 const auto twin = them.queue.join(3);
                 put_once_as(*twin, 1);
                 crash_hook = hook;
             };
             put_once_as(member, 1);
         }},
        {"consumer", nothing,
         [](World&, Member& member) {
             for (int i = 0; i < 4; ++i) get_and_ack(member);
         }},
        {"consumer that nacks", nothing,
         [](World&, Member& member) {
             Lease lease;
             if (member.try_get(lease) == Got::message) (void)member.nack(lease, Turn::first);
             if (member.try_get(lease) == Got::message) (void)member.nack(lease, Turn::last);
             get_and_ack(member);
         }},
        {"consumer that nacks for later", nothing,
         [](World& world, Member& member) {
             for (int i = 0; i < 2; ++i) {
                 Lease lease;
                 if (member.try_get(lease) == Got::message) (void)member.nack_until(lease, 10);
             }
             Keeper keeper{Segment::open(world.queue.directory.file())};
             (void)sweep_all(keeper, 10, 3);
             get_and_ack(member);
         }},
        {"consumer that takes nothing after all", nothing,
         [](World&, Member& member) {
             Lease lease;
             if (member.try_get(lease) == Got::message) (void)member.untake(lease);
             get_and_ack(member);
         }},
        {"consumer that rejects", nothing,
         [](World&, Member& member) {
             Lease lease;
             if (member.try_get(lease) == Got::message) reject_as(member, lease);
             get_and_ack(member);
         }},
        {"consumer that makes dead letters", keep_dead_letters,
         [](World& world, Member& member) {
             Lease lease;
             if (member.try_get(lease) == Got::message) reject_as(member, lease);
             if (member.try_get(lease) == Got::message) (void)member.nack(lease, Turn::first);
             if (member.try_get(lease) == Got::message) (void)member.nack(lease, Turn::first);
             if (member.try_get(lease) == Got::message) (void)member.nack_until(lease, 10);
             Keeper keeper{Segment::open(world.queue.directory.file())};
             (void)sweep_all(keeper, 10, 3);
             (void)bury_the_dead(keeper);
         }},
        {"keeper that moves the dead", keep_dead_letters,
         [](World& world, Member& member) {
             Lease lease;
             if (member.try_get(lease) == Got::message) reject_as(member, lease);
             Keeper office{Segment::create(world.queue.directory.file("other"), small_config())};
             office.recover();
             Member box{Segment::open(world.queue.directory.file("other")), 6, office.doorbells()};
             Keeper keeper{Segment::open(world.queue.directory.file())};
             keeper.set_mover([&](const Letter& letter, std::int64_t now) {
                 return box.keep(letter, keeper.segment().identity(), now);
             });
             (void)sweep_all(keeper, 10, 3);
         }},
        {"producer who drops the oldest", nothing,
         [](World&, Member& member) {
             for (const std::uint64_t id : {std::uint64_t{40}, std::uint64_t{41}}) {
                 ledger->reject_begun[id] = true;
                 (void)member.drop_oldest();
             }
             put_as(member, 1, 100);
         }},
        {"consumer and keeper of what ages", age,
         [](World& world, Member& member) {
             put_as(member, 1, 100);
             put_as(member, 2, 100);
             for (int i = 0; i < 4; ++i) {
                 Lease lease;
                 if (member.try_get(lease, 2) == Got::message) ack_as(member, lease);
             }
             put_as(member, 3, 100);
             put_as(member, 4, 100);
             Keeper keeper{Segment::open(world.queue.directory.file())};
             (void)sweep_all(keeper, 2, 2);
         }},
        {"consumer of what comes at most once",
         [](World& world) {
             world.queue.keeper->configure({.at_most_once = true});
             for (std::uint64_t id = 40; id < 43; ++id) ledger->ack_begun[id] = true;
             ledger->ack_begun[visitor_id] = true;
         },
         [](World&, Member& member) {
             Lease lease;
             if (member.try_get(lease) == Got::message) (void)member.nack(lease);
             if (member.try_get(lease) == Got::message) (void)member.untake(lease);
             get_and_ack(member);
         }},
        {"consumer behind a stale reader", haunt,
         [](World&, Member& member) {
             get_and_ack(member);
             get_and_ack(member);
         }},
        {"stale reader", nothing,
         [](World& world, Member& member) {
             Keeper keeper{Segment::open(world.queue.directory.file())};
             Lease lost;
             if (member.try_get(lost) != Got::message) return;
             keeper.take_back(lost.slot, lost.word);
             get_and_ack(member);
             ack_as(member, lost);
         }},
        {"consumer that extends", nothing,
         [](World&, Member& member) {
             Lease lease;
             if (member.try_get(lease) != Got::message) return;
             (void)member.extend(lease, late);
             ack_as(member, lease);
         }},
        {"keeper whose time has come", nothing,
         [](World& world, Member& member) {
             Lease first;
             Lease second;
             (void)member.try_get(first);
             (void)member.try_get(second);
             Keeper keeper{Segment::open(world.queue.directory.file())};
             (void)sweep_all(keeper, late, 1);
             ack_as(member, first);
             get_and_ack(member);
         }},
        {"sleeper", nothing,
         [](World&, Member& member) {
             (void)member.doorbell();
             member.arm(Interest::items);
             (void)member.disarm(Interest::items);
             member.arm(Interest::slots);
         }},
        {"waker",
         [](World& world) {
             (void)world.witness->doorbell();
             world.witness->arm(Interest::items);
             world.witness->arm(Interest::slots);
         },
         [](World&, Member& member) {
             put_as(member, 1, 100);
             get_and_ack(member);
         }},
    };
    return all;
}

/// Plays a role in a child that leaves in order, or dies at the nth time it comes by `point`.
int play(World& world, const Role& role, std::optional<CrashPoint> point, unsigned nth) {
    role.prepare(world);
    return reap(fork_child([&] {
        target = point.value_or(CrashPoint{});
        countdown = nth;
        crash_hook = point ? strike : note;
        const auto member = world.queue.join(1);
        role.act(world, *member);
    }));
}

/// Others are not held up by the dead one, even before the repair.
void visit(World& world) {
    Lease lease;
    if (world.witness->try_get(lease) == Got::message) {
        REQUIRE(is_whole(lease.message));
        ack_as(*world.witness, lease);
    }
    put_as(*world.witness, visitor_id, 100);
}

/// Published ⊆ delivered ∪ pending, nothing comes twice or from nowhere, and all space is back.
void settle_account(World& world) {
    if (world.stale) CHECK_FALSE(world.witness->ack(world.stale));
    CHECK(is_sound(world.queue.segment()));
    // What was given back for later is there again, and what is dead is found once.
    (void)sweep_all(*world.queue.keeper, late);
    std::vector<std::uint64_t> pending = drain(*world.witness);
    std::vector<bool> rejected(std::begin(ledger->reject_begun), std::end(ledger->reject_begun));
    const std::vector<std::uint64_t> dead = bury_the_dead(*world.queue.keeper);
    pending.insert(pending.end(), dead.begin(), dead.end());
    for (std::uint64_t id = 0; id < ids; ++id) {
        INFO("message " << id);
        const auto times = std::count(pending.begin(), pending.end(), id);
        CHECK(times <= 1);
        if (!ledger->put_begun[id]) CHECK(times == 0);
        if (ledger->ack_done[id]) CHECK(times == 0);
        const bool may_have_ended = ledger->ack_begun[id] || rejected[id];
        if (ledger->put_done[id] && !may_have_ended) CHECK(times == 1);
    }
    world.witness.reset();
    world.queue.keeper->repair(2);
    world.queue.keeper->repair(3);
    CHECK(is_like_new(world.queue.segment()));
}

struct Place {
    const Role* role;
    CrashPoint point;
    unsigned times;
};

/// Where each role comes by, found by playing it.
std::vector<Place> places() {
    std::vector<Place> found;
    for (const Role& role : roles()) {
        Common<Ledger> fresh;
        ledger = &*fresh;
        World world;
        REQUIRE(play(world, role, {}, 0) == 0);
        for (std::size_t point = 0; point < crash_point_count; ++point) {
            const unsigned times = fresh->hits[point];
            if (times != 0) found.push_back({&role, static_cast<CrashPoint>(point), times});
        }
    }
    return found;
}

using Mend = void (*)(Keeper&);

/// Runs `mend` in a child that dies at the nth time it comes by `point`, or counts where it comes
/// by.
int mend_in_child(World& world, std::optional<CrashPoint> point, unsigned nth, Mend mend) {
    return reap(fork_child([&] {
        target = point.value_or(CrashPoint{});
        countdown = nth;
        crash_hook = point ? strike : note;
        mend(*world.queue.keeper);
    }));
}

std::string name_of(CrashPoint point) { return crash_point_names[static_cast<std::size_t>(point)]; }

/// Points at which a member leaves something behind for the keeper; for killing the keeper over it.
std::vector<Place> messes() {
    std::vector<Place> chosen;
    std::set<CrashPoint> seen;
    for (const Place& place : places()) {
        if (seen.insert(place.point).second) chosen.push_back(place);
    }
    return chosen;
}

/// One mess, one mender that is killed (or only watched), a second one that finishes.
class Mending {
 public:
    Mending(const Place& mess, Mend mend, bool is_everybody_dead)
        : mess_{mess}, mend_{mend}, is_everybody_dead_{is_everybody_dead} {}

    void run(std::optional<CrashPoint> point, unsigned nth) {
        Common<Ledger> fresh;
        ledger = &*fresh;
        World world;
        REQUIRE(play(world, *mess_.role, mess_.point, 1) == SIGKILL);
        fresh->has_struck = false;
        const int end = mend_in_child(world, point, nth, mend_);
        REQUIRE(end == (point ? SIGKILL : 0));
        REQUIRE(fresh->has_struck == point.has_value());
        if (!point) std::copy(std::begin(fresh->hits), std::end(fresh->hits), hits);
        if (is_everybody_dead_) {
            world.stale = {};
            world.witness.reset();
            mend_(*world.queue.keeper);
            world.witness = world.queue.join(2);
        } else {
            mend_(*world.queue.keeper);
        }
        settle_account(world);
    }

    unsigned hits[crash_point_count] = {};

 private:
    const Place& mess_;
    Mend mend_;
    bool is_everybody_dead_;
};

/// Kills the mender at every point of its own, first and last time, over each mess.
unsigned kill_menders(std::size_t stride, Mend mend, bool is_everybody_dead) {
    unsigned kills = 0;
    const std::vector<Place> chosen = messes();
    for (std::size_t mess = 0; mess < chosen.size(); mess += stride) {
        const Place& place = chosen[mess];
        Mending mending{place, mend, is_everybody_dead};
        mending.run({}, 0);
        for (std::size_t point = 0; point < crash_point_count; ++point) {
            const unsigned times = mending.hits[point];
            INFO("mess: " << place.role->name << " killed at " << name_of(place.point)
                          << "; mender killed at " << crash_point_names[point] << ", passed "
                          << times << " times");
            for (const unsigned nth : std::set<unsigned>{std::min(times, 1u), times}) {
                if (nth == 0) continue;
                mending.run(static_cast<CrashPoint>(point), nth);
                ++kills;
            }
        }
    }
    return kills;
}

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t mess_stride = 5;  // a fork costs several times as much
#else
constexpr std::size_t mess_stride = 1;
#endif

}  // namespace

TEST_CASE("queue crash: whoever is killed at whichever point, repair leaves an exact account",
          "[ipc][queue]") {
    unsigned kills = 0;
    for (const Place& place : places()) {
        for (unsigned nth = 1; nth <= place.times; ++nth) {
            INFO(place.role->name << " killed at " << name_of(place.point) << ", time " << nth);
            Common<Ledger> fresh;
            ledger = &*fresh;
            World world;
            REQUIRE(play(world, *place.role, place.point, nth) == SIGKILL);
            REQUIRE(fresh->has_struck);
            ++kills;
            visit(world);
            world.queue.keeper->repair(1);
            settle_account(world);
        }
    }
    CHECK(kills > 300);
    WARN("killed " << kills << " members at named points");
}

// Between two slices others go on, and so does the keeper. What one of them makes half way through
// is neither lost nor counted twice.
TEST_CASE(
    "queue crash: a repair in slices, with others and sweeps between, leaves an exact account",
    "[ipc][queue]") {
    const std::size_t budget = GENERATE(1u, 3u, 17u);
    const bool is_begun_anew = GENERATE(false, true);
    unsigned slices = 0;
    for (const Place& place : messes()) {
        INFO(place.role->name << " killed at " << name_of(place.point) << ", " << budget
                              << " places in a slice");
        Common<Ledger> fresh;
        ledger = &*fresh;
        World world;
        REQUIRE(play(world, *place.role, place.point, 1) == SIGKILL);
        if (is_begun_anew) {
            Keeper::Repair half{*world.queue.keeper, 1};
            for (int i = 0; i < 20; ++i) (void)half.go_on(budget);
        }
        Keeper::Repair repair{*world.queue.keeper, 1};
        const Control& control = world.queue.segment().control();
        const bool ages = control.time_to_live.peek() != 0;
        const bool is_once = control.at_most_once.peek() != 0;
        std::uint64_t id = 20;
        while (!repair.go_on(budget)) {
            if (++slices % 5 != 0) continue;
            ledger->reject_begun[id] = ages;
            if (id < 30) put_as(*world.witness, id++, 300);
            Lease lease;
            if (slices % 2 == 0 && world.witness->try_get(lease) == Got::message) {
                REQUIRE(is_whole(lease.message));
                if (slices % 3 == 0 || is_once)
                    ack_as(*world.witness, lease);
                else
                    (void)world.witness->nack(lease);
            }
            (void)world.queue.keeper->sweep(1, 4);
        }
        settle_account(world);
    }
    WARN(slices << " slices");
}

TEST_CASE("queue crash: of many slots a slice of a repair looks at a few", "[ipc][queue]") {
    Config config = small_config();
    config.capacity = 1u << 16;
    const Queue queue{config};
    REQUIRE(reap(fork_child([&] {
                const auto member = queue.join(1);
                (void)try_send(*member, 1);
                Lease lease;
                (void)member->try_get(lease);
                ::raise(SIGKILL);
            })) == SIGKILL);
    Keeper::Repair repair{*queue.keeper, 1};
    unsigned slices = 0;
    while (!repair.go_on()) ++slices;
    // The slots three times, and the cells of those that are free.
    CHECK(slices >= 4 * config.capacity / 4096);
    const auto witness = queue.join(2);
    CHECK(drain(*witness) == std::vector<std::uint64_t>{1});
}

TEST_CASE("queue crash: a repair that is killed at whichever point is finished by the next one",
          "[ipc][queue]") {
    const unsigned kills = kill_menders(
        mess_stride, [](Keeper& keeper) { keeper.repair(1); }, false);
    WARN("killed " << kills << " repairs at named points");
}

TEST_CASE("queue crash: a recovery that is killed at whichever point is finished by the next one",
          "[ipc][queue]") {
    const unsigned kills = kill_menders(
        mess_stride, [](Keeper& keeper) { keeper.recover(); }, true);
    WARN("killed " << kills << " recoveries at named points");
}

TEST_CASE("queue crash: every named point is come by in some role, or by repair, or by recovery",
          "[ipc][queue]") {
    std::set<std::string> missing{std::begin(crash_point_names), std::end(crash_point_names)};
    for (const Place& place : places()) missing.erase(name_of(place.point));
    struct Mess {
        const char* role;
        CrashPoint point;
    };
    for (const Mess mess :
         {Mess{"producer", CrashPoint::reserve_done}, Mess{"producer", CrashPoint::put_published},
          Mess{"consumer", CrashPoint::get_done}}) {
        const auto role = std::find_if(roles().begin(), roles().end(), [&](const Role& one) {
            return std::string(one.name) == mess.role;
        });
        for (const auto mend : {+[](Keeper& keeper) { keeper.repair(1); },
                                +[](Keeper& keeper) { keeper.recover(); }}) {
            Common<Ledger> fresh;
            ledger = &*fresh;
            World world;
            REQUIRE(play(world, *role, mess.point, 1) == SIGKILL);
            REQUIRE(mend_in_child(world, {}, 0, mend) == 0);
            for (std::size_t point = 0; point < crash_point_count; ++point) {
                if (fresh->hits[point] != 0) missing.erase(crash_point_names[point]);
            }
        }
    }
    CHECK(missing == std::set<std::string>{});
}
