// Puts that carry an id: one of them is delivered, whoever dies or stands still on the way.

#include <csignal>
#include <unordered_set>

#include <green/errors.hpp>

#include "queue/dedup.hpp"
#include "shm_children.hpp"
#include "shm_stepped.hpp"
#include "shm_support.hpp"

using namespace shm_test;
using green::ipc::MessageId;

namespace {

constexpr MessageId some_id{1, 2};

std::optional<Entered> put_once(Member& member, MessageId id, std::uint64_t text,
                                std::int64_t now = 0) {
    Reservation reservation;
    if (member.try_reserve(100, reservation) != Shortage::none) return {};
    write_message(reservation.memory.first(100), text);
    return member.put_once(reservation, 100, id, now);
}

Config remembering(std::uint64_t ids) {
    Config config = small_config();
    config.dedup_ids = ids;
    return config;
}

// --- every interleaving ---

constexpr std::size_t putters = 2;
constexpr std::size_t keeper = putters;
constexpr std::size_t cast = putters + 1;
constexpr std::size_t cells = 3;

struct Scene {
    std::array<DedupCell<SteppedWord>, cells> bucket;
    std::array<SteppedWord, cast> slots;  // the last one is for who comes when all is over
};
Scene scene;

Owner owner_of(std::size_t actor) { return static_cast<Owner>(actor + 1); }
SlotWord reserved(std::size_t actor) { return {SlotState::reserved, owner_of(actor), 0, 5}; }

auto bucket_of(std::size_t actor) {
    const auto state_of = [](std::uint32_t slot) -> SteppedWord& { return scene.slots[slot]; };
    return BasicBucket<SteppedWord, decltype(state_of)>{scene.bucket, state_of, owner_of(actor)};
}

Entered put(std::size_t actor) {
    auto bucket = bucket_of(actor);
    const auto slot = static_cast<std::uint32_t>(actor);
    const Entered entered = bucket.enter(some_id, slot, reserved(actor), {100, 1000});
    if (entered == Entered::duplicate) scene.slots[actor].store(reserved(actor).abandoned().pack());
    return entered;
}

/// As Keeper::repair() does it.
void repair(std::size_t dead) {
    if (SlotWord::of(scene.slots[dead].load()).is_draft()) {
        bucket_of(keeper).forget(static_cast<std::uint32_t>(dead), 5);
        scene.slots[dead].store(reserved(dead).abandoned().pack());
    }
    for (auto& cell : scene.bucket)
        cell.claim.swap(ClaimWord{ClaimKind::writing, owner_of(dead), 0}.pack(), 0);
}

struct State {
    Scene scene;
    std::array<Answers, cast> answers;
    std::array<bool, cast> is_over{};
    std::array<int, putters> outcome{-1, -1};
    int dead = -1;

    [[nodiscard]] Key key() const {
        KeyBuilder all;
        for (const auto& cell : scene.bucket) {
            for (const SteppedWord* word : {&cell.claim, &cell.id[0], &cell.id[1], &cell.time})
                all.add(word->value);
        }
        for (const SteppedWord& slot : scene.slots) all.add(slot.value);
        for (std::size_t actor = 0; actor < cast; ++actor) {
            all.add(answers[actor].size * 2 + (is_over[actor] ? 1 : 0));
            for (std::size_t i = 0; i < answers[actor].size; ++i) all.add(answers[actor].list[i]);
        }
        for (const int outcome_of : outcome) all.add(static_cast<std::uint64_t>(outcome_of + 1));
        all.add(static_cast<std::uint64_t>(dead + 1));
        return all.key();
    }
};

struct Hash {
    std::size_t operator()(const Key& key) const { return key.first; }
};

class Explorer {
 public:
    Explorer(std::size_t players, std::size_t limit, bool may_kill)
        : limit_{limit}, may_kill_{may_kill} {
        State start;
        for (std::size_t actor = 0; actor < putters; ++actor) {
            start.is_over[actor] = actor >= players;
            start.scene.slots[actor].value =
                actor < players ? reserved(actor).pack() : SlotWord{}.pack();
        }
        start.scene.slots[putters].value = reserved(putters).pack();
        open_.push_back(start);
    }

    void run() {
        while (!open_.empty()) {
            const State state = std::move(open_.back());
            open_.pop_back();
            if (seen_.insert(state.key()).second) visit(state);
        }
    }
    [[nodiscard]] std::size_t states() const { return seen_.size(); }
    std::size_t ends = 0;
    std::size_t bad_ends = 0;

 private:
    void visit(const State& state) {
        bool has_next = false;
        for (std::size_t actor = 0; actor < cast; ++actor) {
            const bool is_here =
                actor == keeper ? state.dead >= 0 : state.dead != static_cast<int>(actor);
            if (!is_here || state.is_over[actor]) continue;
            has_next = true;
            step(state, actor);
            if (!may_kill_ || actor == keeper || state.dead >= 0) continue;
            State killed = state;
            killed.dead = static_cast<int>(actor);
            killed.answers[actor].size = 0;
            open_.push_back(std::move(killed));
        }
        if (!has_next) judge(state);
    }

    void step(const State& before, std::size_t actor) {
        State next = before;
        scene = before.scene;
        tape = {&next.answers[actor], 0, false, limit_};
        const How how = act(next, actor);
        tape = {};
        next.scene = scene;
        if (how != How::too_long) open_.push_back(std::move(next));
    }

    enum class How : std::uint8_t { stepped, over, too_long };
    static How act(State& state, std::size_t actor) {
        switch (setjmp(interruption)) {
            case 0:
                if (actor == keeper)
                    repair(static_cast<std::size_t>(state.dead));
                else
                    state.outcome[actor] = put(actor) == Entered::published ? 1 : 0;
                state.is_over[actor] = true;
                state.answers[actor].size = 0;
                return How::over;
            case 1:
                return How::stepped;
            default:
                return How::too_long;
        }
    }

    /// At most one was published; one was if anybody lived to say so; the next put knows it.
    void judge(const State& state) {
        ++ends;
        std::size_t published = 0;
        bool is_good = true;
        bool has_said_so = false;
        for (std::size_t actor = 0; actor < putters; ++actor) {
            const SlotWord word = SlotWord::of(state.scene.slots[actor].value);
            if (word.state == SlotState::ready) ++published;
            is_good = is_good && !word.is_draft();
            if (state.outcome[actor] < 0) continue;
            has_said_so = true;
            is_good = is_good && (state.outcome[actor] == 1) == (word.state == SlotState::ready);
        }
        is_good = is_good && published <= 1 && (published == 1 || !has_said_so);
        scene = state.scene;
        for (const auto& cell : scene.bucket)
            is_good = is_good && ClaimWord::of(cell.claim.value).kind != ClaimKind::writing;
        is_good = is_good && (put(putters) == Entered::duplicate) == (published == 1);
        if (!is_good) ++bad_ends;
    }

    std::size_t limit_;
    bool may_kill_;
    std::vector<State> open_;
    std::unordered_set<Key, Hash> seen_;
};

}  // namespace

TEST_CASE("queue dedup: in no interleaving do two puts of one id both count, or neither",
          "[ipc][queue]") {
    struct Play {
        std::size_t players, limit;
        bool may_kill;
    };
    // The limit ends those who revoke each other again and again.
    const Play play = GENERATE(Play{2, 60, false}, Play{2, 60, true});
    Explorer explorer{play.players, play.limit, play.may_kill};
    explorer.run();
    WARN(play.players << " puts" << (play.may_kill ? ", a death and a repair" : "") << ": "
                      << explorer.states() << " states, " << explorer.ends << " ends");
    CHECK(explorer.bad_ends == 0);
    CHECK(explorer.ends > 0);
}

TEST_CASE("queue dedup: an id counts from its put until its time is over, whatever becomes of it",
          "[ipc][queue]") {
    const Queue queue;
    queue.keeper->configure({.dedup_window = 1000});
    const auto one = queue.join(1);
    const auto two = queue.join(2);
    CHECK(put_once(*one, some_id, 1, 10) == Entered::published);
    CHECK(put_once(*two, some_id, 2, 20) == Entered::duplicate);
    CHECK(put_once(*two, {1, 3}, 3, 20) == Entered::published);
    CHECK(put_once(*two, {2, 2}, 4, 20) == Entered::published);
    CHECK(drain(*two) == std::vector<std::uint64_t>{1, 3, 4});
    CHECK(put_once(*one, some_id, 5, 1009) == Entered::duplicate);
    CHECK(put_once(*one, some_id, 6, 1010) == Entered::published);
    CHECK(put_once(*two, some_id, 7, 1500) == Entered::duplicate);
    CHECK(drain(*two) == std::vector<std::uint64_t>{6});
    CHECK(status(queue.segment()).duplicates == 3);
    CHECK(status(queue.segment()).put == 4);
    CHECK(status(queue.segment()).free == 8);
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue dedup: more ids than there is room for push out the oldest", "[ipc][queue]") {
    const Queue queue{remembering(8)};
    const auto member = queue.join(1);
    for (std::uint64_t i = 1; i <= 9; ++i) {
        CHECK(put_once(*member, {i, 0}, i, static_cast<std::int64_t>(10 * i)) ==
              Entered::published);
        (void)drain(*member);
    }
    for (std::uint64_t i = 9; i > 1; --i)
        CHECK(put_once(*member, {i, 0}, i, 100) == Entered::duplicate);
    CHECK(put_once(*member, {1, 0}, 1, 100) == Entered::published);
}

TEST_CASE("queue dedup: no id is pushed out while there is room, at whatever time it was put",
          "[ipc][queue]") {
    const Queue queue{remembering(8)};
    const auto member = queue.join(1);
    const std::int64_t time = GENERATE(0, 1, 1'000'000);
    for (std::uint64_t i = 1; i <= 8; ++i) {
        CHECK(put_once(*member, {i, 0}, i, time) == Entered::published);
        (void)drain(*member);
    }
    for (std::uint64_t i = 1; i <= 8; ++i)
        CHECK(put_once(*member, {i, 0}, i, time) == Entered::duplicate);
}

TEST_CASE("queue dedup: a queue that remembers no ids says so", "[ipc][queue]") {
    const Queue queue{remembering(0)};
    const auto member = queue.join(1);
    CHECK_THROWS_AS(put_once(*member, some_id, 1), green::UsageError);
    send(*member, 1);
}

TEST_CASE("queue dedup: ids are known again after everybody has died", "[ipc][queue]") {
    Queue queue;
    CHECK(put_once(*queue.join(1), some_id, 1, 10) == Entered::published);
    queue.keeper = std::make_unique<Keeper>(Segment::open(queue.directory.file()));
    queue.keeper->recover();
    const auto member = queue.join(1);
    CHECK(put_once(*member, some_id, 2, 20) == Entered::duplicate);
    CHECK(drain(*member) == std::vector<std::uint64_t>{1});
}

TEST_CASE("queue dedup: the put of one who died within is forgotten, and can be repeated",
          "[ipc][queue]") {
    Queue queue;
    const pid_t child = fork_child([&] {
        crash_hook = [](CrashPoint point) {
            if (point == CrashPoint::dedup_claimed) ::raise(SIGKILL);
        };
        const auto member = queue.join(1);
        (void)put_once(*member, some_id, 1);
    });
    REQUIRE(reap(child) == SIGKILL);
    SECTION("after a repair") { queue.keeper->repair(1); }
    SECTION("after a recovery") { queue.keeper->recover(); }
    const auto other = queue.join(2);
    CHECK(put_once(*other, some_id, 2) == Entered::published);
    CHECK(drain(*other) == std::vector<std::uint64_t>{2});
    CHECK(is_sound(queue.segment()));
}

TEST_CASE("queue dedup: who dies or stands still within a put swallows nothing", "[ipc][queue]") {
    const Queue queue;
    static CrashPoint where;
    static int signal;
    where = GENERATE(CrashPoint::dedup_taken, CrashPoint::dedup_claimed, CrashPoint::put_published);
    signal = GENERATE(SIGKILL, SIGSTOP);
    const pid_t child = fork_child([&] {
        crash_hook = [](CrashPoint point) {
            if (point == where) ::raise(signal);
        };
        const auto member = queue.join(1);
        ::_exit(put_once(*member, some_id, 1) == Entered::duplicate ? 0 : 10);
    });
    int how = 0;
    REQUIRE(::waitpid(child, &how, WUNTRACED) == child);
    const auto other = queue.join(2);
    const bool is_in = where == CrashPoint::put_published;
    CHECK(put_once(*other, some_id, 2) == (is_in ? Entered::duplicate : Entered::published));
    if (signal == SIGSTOP) {
        ::kill(child, SIGCONT);
        CHECK(reap(child) == (is_in ? 1010 : 0));
    }
    queue.keeper->repair(1);
    CHECK(put_once(*other, some_id, 3) == Entered::duplicate);
    CHECK(drain(*other) == std::vector<std::uint64_t>{is_in ? 1u : 2u});
    CHECK(is_sound(queue.segment()));
}
