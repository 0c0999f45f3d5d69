// Two producers and two consumers are killed and stopped at random, from outside and at their own
// crash points, while a keeper takes leases away and repairs, and is killed in that too. After each
// round every message is accounted for: accepted = acked + queued + leased + dead, one by one.
// GREENSUP_SEED repeats the choices (not the timing); GREENSUP_KILLS sets how many kills from
// outside there are. `scripts/test --soak` makes it a long run.

#include <array>
#include <csignal>
#include <map>
#include <sched.h>
#include <set>

#include "kills.hpp"
#include "shm_children.hpp"
#include "shm_support.hpp"

using namespace shm_test;

namespace {

constexpr std::size_t producers = 2;
constexpr std::size_t workers = 4;  // producers first, then consumers
constexpr std::size_t ids_each = 1u << 20;

#if defined(__SANITIZE_ADDRESS__)
constexpr unsigned default_kills = 400;
#else
constexpr unsigned default_kills = 3000;
#endif

constexpr std::int64_t lease_time = 1000;

enum Mark : std::uint8_t { accepted = 1, acked = 2 };

/// A put or an ack that may be the last thing its worker does. What became of it the slot's state
/// word tells: it is one swap, and nobody but its worker, or the keeper after its death, changes a
/// word that is RESERVED or RETIRING by it.
struct Attempt {
    std::atomic<std::uint64_t> id;  // of the message, + 1; 0: none
    std::atomic<std::uint64_t> slot, word;
    std::atomic<bool> is_committed;  // an ack that has gone on since

    void begin(std::uint64_t message, std::uint32_t in, std::uint64_t seen) {
        slot = in;
        word = seen;
        is_committed = false;
        id = message + 1;
    }
};

struct Ground {
    std::atomic<bool> shall_stop;
    std::atomic<std::int64_t> time;
    std::atomic<std::uint64_t> steps[workers];
    std::atomic<std::uint64_t> next[producers];
    std::atomic<std::uint64_t> once[producers];  // id + 1 of a put that may be repeated
    Attempt putting[workers], acking[workers];
    std::atomic<std::uint64_t> torn, acked_twice, after_ack, refused;
    std::atomic<std::uint8_t> marks[producers * ids_each];
};

Ground* ground = nullptr;
std::mt19937_64 dice;

std::size_t self = 0;  // the worker that this process is

void perhaps_die(CrashPoint point) {
    if (point == CrashPoint::ack_committed) ground->acking[self].is_committed = true;
    if (dice() % 3000 == 0) ::raise(SIGKILL);
}

Config arena() {
    Config config = small_config();
    config.capacity = 16;
    config.payload_bytes = 64 * 4096;
    return config;
}

/// For dead letters: so few places that it is full now and then, and those who die have to wait.
Config letter_box(std::uint64_t start) {
    Config config = small_config();
    config.capacity = static_cast<std::uint32_t>(2 + start % 7);
    return config;
}

std::size_t random_size() { return dice() % 16 == 0 ? 8 + dice() % 20'000 : 8 + dice() % 1500; }

bool produce_one(Member& member, std::size_t worker, std::uint64_t id, bool is_once) {
    const std::size_t size = random_size();
    Reservation reservation;
    if (member.try_reserve(dice() % 8 == 0 ? 64 : size, reservation) != Shortage::none)
        return false;
    if (reservation.memory.size() < size) {
        member.release_extent(reservation, 0);
        if (member.try_extent(reservation, size) != Shortage::none) {
            member.abandon(reservation);
            return false;
        }
    }
    if (!is_zero(reservation.memory)) ++ground->torn;
    write_message(reservation.memory.first(size), id);
    Attempt& attempt = ground->putting[worker];
    attempt.begin(id, reservation.slot, reservation.word);
    if (is_once)
        (void)member.put_once(reservation, size, {id, 1}, ground->time);
    else
        member.put(reservation, size);
    ground->marks[id] |= accepted;
    attempt.id = 0;
    return true;
}

void produce(Member& member, std::size_t worker) {
    while (!ground->shall_stop) {
        // What was put with an id by one who may not have lived to see it is put again.
        std::uint64_t id = ground->once[worker];
        const bool is_once = id != 0 || dice() % 2 == 0;
        if (id == 0) {
            const std::uint64_t number = ground->next[worker]++;
            if (number >= ids_each) return;
            id = worker * ids_each + number + 1;
            if (is_once) ground->once[worker] = id;
        }
        while (!produce_one(member, worker, id - 1, is_once)) {
            if (ground->shall_stop) return;
            ::sched_yield();
        }
        if (dice() % 4 != 0) ground->once[worker] = 0;
        ++ground->steps[worker];
    }
}

void finish_one(Member& member, std::size_t worker, Lease& lease) {
    // Somebody else may have the message by now; what we see must stand all the same.
    if (!is_whole(lease.message)) ++ground->torn;
    const std::uint64_t id = id_of(lease.message);
    if (dice() % 64 == 0) {
        (void)member.reject(lease);
        return;
    }
    if (dice() % 8 == 0) {
        if (dice() % 2 == 0)
            (void)member.nack_until(lease, ground->time + static_cast<std::int64_t>(dice() % 500));
        else
            (void)member.nack(lease, dice() % 2 == 0 ? Turn::first : Turn::last);
        return;
    }
    if (dice() % 8 == 0) (void)member.extend(lease, ground->time + lease_time);
    Attempt& attempt = ground->acking[worker];
    attempt.begin(id, lease.slot, lease.word);
    if (member.ack(lease)) {
        if ((ground->marks[id].fetch_or(acked) & acked) != 0) ++ground->acked_twice;
    } else {
        ++ground->refused;
    }
    attempt.id = 0;
}

void consume(Member& member, std::size_t worker) {
    std::array<Lease, 3> leases;
    while (!ground->shall_stop) {
        Lease& lease = leases[dice() % leases.size()];
        if (lease) {
            finish_one(member, worker, lease);
        } else if (member.try_get(lease, ground->time) == Got::message) {
            if (dice() % 16 == 0) {  // as for a greenlet that was interrupted meanwhile
                (void)member.untake(lease);
                continue;
            }
            if (!is_whole(lease.message)) ++ground->torn;
            const bool is_acked = (ground->marks[id_of(lease.message)] & acked) != 0;
            if (is_acked && member.holds(lease))
                ++ground->after_ack;  // else it was taken away since, and acked then
        } else {
            ::sched_yield();
        }
        ++ground->steps[worker];
    }
}

/// Where all messages are that were ever put. Leases may be those of the dead.
struct Account {
    std::uint64_t accepted = 0, acked = 0, queued = 0, leased = 0, dead = 0;
    std::uint64_t wrong = 0;  // that are not in exactly one place

    [[nodiscard]] bool is_exact() const {
        return wrong == 0 && accepted == acked + queued + leased + dead;
    }
    void add(const Account& other) {
        accepted += other.accepted;
        acked += other.acked;
        queued += other.queued;
        leased += other.leased;
        dead += other.dead;
        wrong += other.wrong;
    }
};

std::ostream& operator<<(std::ostream& out, const Account& account) {
    return out << account.accepted << " accepted = " << account.acked << " acked + "
               << account.queued << " queued + " << account.leased << " leased + " << account.dead
               << " dead, " << account.wrong << " elsewhere";
}

class Arena {
 public:
    explicit Arena(std::uint64_t start)
        : queue_{arena()}, letters_{letter_box(start)}, random_{start} {
        queue_.keeper->configure(
            {.lease = lease_time, .max_deliveries = 12, .has_dead_letter = true});
        queue_.keeper->set_mover([this](const Letter& letter, std::int64_t now) {
            return box_->keep(letter, queue_.segment().identity(), now);
        });
        for (std::size_t worker = 0; worker < workers; ++worker) begin(worker);
    }

    void kill_one() {
        const std::size_t victim = random_() % workers;
        if (random_() % 4 == 0) {
            stop_for_a_while(victim);
        } else {
            let_work(workers, random_() % 100);
        }
        if (random_() % 3 == 0) take_leases_away();
        ::kill(pids_[victim], SIGKILL);
        replace(victim);
    }

    /// Ends everybody, makes the account and empties the queue.
    Account close() {
        ground->shall_stop = true;
        for (std::size_t worker = 0; worker < workers; ++worker) {
            const int end = reap(pids_[worker]);
            CHECK((end == 0 || end == SIGKILL));
            settle_attempts(worker);
        }
        std::multiset<std::uint64_t> standing;
        const Account account = make_account(standing);
        for (std::size_t worker = 0; worker < workers; ++worker) mend(worker);
        std::int64_t now = late;
        unsigned rounds = 0;
        do {
            REQUIRE(++rounds <= 1000);
            // What finds no room among the letters is tried again later.
            now = std::max(now, queue_.keeper->sweep(now).due);
            fetch_letters();
        } while (status(queue_.segment()).dead + status(queue_.segment()).delayed > 0);
        CHECK(is_sound(queue_.segment()));
        CHECK(is_sound(letters_.segment()));
        const Status end = status(queue_.segment());
        // Exact but for those who were killed between a step and its count.
        const std::uint64_t ended = end.acked + end.moved + end.ready + end.leased;
        CHECK(std::max(ended, end.put) - std::min(ended, end.put) <= 200 + suicides);
        const auto member = queue_.join(5);
        std::multiset<std::uint64_t> left = letters_read_;
        for (const std::uint64_t id : drain(*member)) left.insert(id);
        CHECK(left == standing);
        return account;
    }

    [[nodiscard]] const Segment& segment() const { return queue_.segment(); }
    void leave() { queue_.keeper->repair(5); }
    unsigned suicides = 0;
    unsigned killed_repairs = 0;

 private:
    static Owner owner_of(std::size_t worker) { return static_cast<Owner>(worker + 1); }

    void begin(std::size_t worker) {
        const std::uint64_t start = random_();
        pids_[worker] = fork_child([&] {
            dice.seed(start);
            self = worker;
            crash_hook = perhaps_die;
            const auto member = queue_.join(owner_of(worker));
            worker < producers ? produce(*member, worker) : consume(*member, worker);
        });
    }

    std::uint64_t steps_without(std::size_t worker) const {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < workers; ++i) sum += i == worker ? 0 : ground->steps[i].load();
        return sum;
    }

    /// Until the others have made so many steps. Those who die meanwhile are replaced.
    void let_work(std::size_t except, std::uint64_t steps) {
        const std::uint64_t until = steps_without(except) + steps;
        while (steps_without(except) < until) {
            for (std::size_t worker = 0; worker < workers; ++worker) {
                siginfo_t info{};
                if (worker == except) continue;
                if (::waitid(P_PID, static_cast<id_t>(pids_[worker]), &info,
                             WEXITED | WNOHANG | WNOWAIT) != 0)
                    continue;
                if (info.si_pid == 0) continue;
                ++suicides;
                replace(worker);
            }
            ::sched_yield();
        }
    }

    void stop_for_a_while(std::size_t victim) {
        ::kill(pids_[victim], SIGSTOP);
        let_work(victim, random_() % 60);  // nobody is held up by the one who stands
        if (random_() % 2 == 0) take_leases_away();
        let_work(victim, random_() % 60);
        ::kill(pids_[victim], SIGCONT);
        if (random_() % 2 == 0) let_work(workers, random_() % 60);
    }

    void take_leases_away() {
        if (random_() % 2 == 0) {
            ground->time += static_cast<std::int64_t>(random_() % (2 * lease_time));
            (void)queue_.keeper->sweep(ground->time, 1 + random_() % 40);
            fetch_letters();
            return;
        }
        for (std::uint32_t slot = 0; slot < arena().capacity; ++slot) {
            const std::uint64_t word = segment().slot(slot).state.load();
            if (random_() % 2 == 0) (void)queue_.keeper->take_back(slot, word);
        }
    }

    void fetch_letters() {
        const auto member = letters_.join(1);
        for (const std::uint64_t id : drain(*member)) letters_read_.insert(id);
        letters_.keeper->repair(1);
    }

    void replace(std::size_t worker) {
        REQUIRE(reap(pids_[worker]) == SIGKILL);
        settle_attempts(worker);
        mend(worker);
        begin(worker);
    }

    /// After a death, and before its repair: was the last put, the last ack done?
    void settle_attempts(std::size_t worker) {
        const auto word_now = [&](const Attempt& attempt) {
            return segment().slot(attempt.slot).state.load();
        };
        const Attempt& putting = ground->putting[worker];
        if (putting.id != 0 && word_now(putting) != putting.word)
            ground->marks[putting.id - 1] |= accepted;
        const Attempt& acking = ground->acking[worker];
        const SlotWord done = SlotWord::of(acking.word).acked_by(owner_of(worker));
        if (acking.id != 0 && (acking.is_committed || word_now(acking) == done.pack()))
            ground->marks[acking.id - 1] |= acked;
        ground->putting[worker].id = ground->acking[worker].id = 0;
    }

    Account make_account(std::multiset<std::uint64_t>& standing) const {
        Account account;
        standing = letters_read_;
        account.dead = standing.size();
        const Chunks chunks{segment()};
        for (std::uint32_t slot = 0; slot < arena().capacity; ++slot) {
            const SlotState state = slot_of(segment(), slot).state;
            const bool is_leased = state == SlotState::leased;
            const bool is_dead = state == SlotState::dead;
            if (!is_dead && !slot_of(segment(), slot).has_message()) continue;
            ++(is_dead ? account.dead : is_leased ? account.leased : account.queued);
            const SlotRecord& record = segment().slot(slot);
            const auto memory = chunks.find(record.extent.load(), slot);
            REQUIRE(memory);
            const auto message = memory->first(record.size.peek());
            if (!is_whole(message)) ++ground->torn;
            standing.insert(id_of(message));
        }
        for (std::uint64_t id = 0; id < producers * ids_each; ++id) {
            const unsigned marks = ground->marks[id];
            if (marks == 0 && standing.empty()) continue;
            const std::size_t places = standing.count(id) + ((marks & acked) != 0 ? 1 : 0);
            if ((marks & accepted) != 0) ++account.accepted;
            if ((marks & acked) != 0) ++account.acked;
            if (places != ((marks & accepted) != 0 ? 1u : 0u)) ++account.wrong;
        }
        return account;
    }

    void mend(std::size_t worker) {
        if (random_() % 4 == 0) {  // a keeper that may not live to its end
            const std::uint64_t start = random_();
            const int end = reap(fork_child([&] {
                dice.seed(start);
                crash_hook = [](CrashPoint) {
                    if (dice() % 60 == 0) ::raise(SIGKILL);
                };
                queue_.keeper->repair(owner_of(worker));
            }));
            if (end == SIGKILL) ++killed_repairs;
        }
        queue_.keeper->repair(owner_of(worker));
    }

    Queue queue_;
    Queue letters_;
    std::unique_ptr<Member> box_ = letters_.join(6);
    std::multiset<std::uint64_t> letters_read_;  // the dead, once they were moved
    std::mt19937_64 random_;
    std::array<pid_t, workers> pids_{};
};

}  // namespace

TEST_CASE("queue kills: no confirmed message is lost, torn or doubled, and all space comes back",
          "[ipc][queue][soak]") {
    const unsigned wanted = tests::kills_wanted(default_kills);
    const std::uint64_t start = seed();
    INFO("GREENSUP_SEED=" << start);
    std::mt19937_64 random{start};
    const tests::Pace pace;
    unsigned kills = 0;
    unsigned suicides = 0;
    unsigned killed_repairs = 0;
    std::uint64_t refused = 0;
    Account all;
    while (kills < wanted) {
        Common<Ground> fresh;
        ground = &*fresh;
        Arena arena{random()};
        for (unsigned i = 0; i < 100; ++i, ++kills) arena.kill_one();
        const Account account = arena.close();
        INFO(account);
        REQUIRE(account.is_exact());
        arena.leave();
        REQUIRE(is_like_new(arena.segment()));
        REQUIRE(ground->torn == 0);
        REQUIRE(ground->acked_twice == 0);
        REQUIRE(ground->after_ack == 0);
        suicides += arena.suicides;
        killed_repairs += arena.killed_repairs;
        refused += ground->refused;
        all.add(account);
    }
    CHECK(all.accepted > kills);
    WARN("GREENSUP_SEED=" << start << ": " << kills << " kills from outside, " << suicides
                          << " at crash points, " << killed_repairs << " repairs killed; "
                          << pace.of(kills + suicides + killed_repairs) << "\n"
                          << all << "; " << refused << " late acks refused");
}
