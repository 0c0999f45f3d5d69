// Walks through every interleaving of a small cast on the slots and one ring: producers publish and
// push, consumers pop, claim and ack, one of them gives its message back, or takes back that it
// took it, one may die between any two steps while a keeper repairs, or takes leases away, and the
// others go on. Or one is stopped between any two steps, of his and of a keeper's who sweeps, while
// the others go on, and goes on himself when they are through. The keeper sweeps once more then if
// he was in the middle of it.
//
// shm_explorer_cast.hpp has what each of them does.

#include <array>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "shm_explorer_cast.hpp"

using namespace shm_test::explorer;

namespace {

using shm_test::interruption;
using shm_test::Key;
using shm_test::KeyBuilder;
using shm_test::SteppedWord;
using shm_test::tape;

constexpr Owner referee = 9;

struct State {
    Memory memory;
    std::array<Place, cast> places;
    Account account;
    int dead = -1;
    int stopped = -1;  // until all others are through
    bool has_keeper_died = false;
    bool is_swept_again = false;  // once the keeper is through

    /// Of all that matters.
    [[nodiscard]] Key key() const {
        KeyBuilder all;
        const auto add = [&all](std::uint64_t value) { all.add(value); };
        add(memory.head.value);
        add(memory.tail.value);
        for (const SteppedWord& word : memory.ring) add(word.value);
        for (const SteppedWord& word : memory.state) add(word.value);
        for (const SteppedWord& word : memory.pins) add(word.value);
        for (const SteppedWord& word : memory.until) add(word.value);
        for (const Place& place : places) {
            add(place.phase << 8 | place.answers.size << 1 | (place.is_over ? 1 : 0));
            for (const std::uint64_t local : place.locals) add(local);
            for (std::size_t i = 0; i < place.answers.size; ++i) add(place.answers.list[i]);
        }
        for (std::size_t slot = 0; slot < slots; ++slot)
            add(account.acks[slot] << 1 | (account.is_put[slot] ? 1 : 0));
        add(static_cast<std::uint64_t>(dead + 1) << 1 | (has_keeper_died ? 1 : 0));
        add(static_cast<std::uint64_t>(stopped + 1) << 1 | (is_swept_again ? 1 : 0));
        return all.key();
    }
};

/// 128-bit keys, in one piece of memory that doubles.
class Seen {
 public:
    /// False: it was there.
    bool insert(Key key) {
        if (key == nothing) key.first = 1;
        if (3 * ++count_ > 2 * keys_.size()) grow();
        auto& place = find(key);
        if (place == key) {
            --count_;
            return false;
        }
        place = key;
        return true;
    }
    [[nodiscard]] std::size_t size() const { return count_; }

 private:
    static constexpr Key nothing{0, 0};

    Key& find(const Key& key) {
        std::size_t at = key.first & (keys_.size() - 1);
        while (keys_[at] != nothing && keys_[at] != key) at = (at + 1) & (keys_.size() - 1);
        return keys_[at];
    }
    void grow() {
        std::vector<Key> old(2 * keys_.size(), nothing);
        keys_.swap(old);
        for (const Key& key : old) {
            if (key != nothing) find(key) = key;
        }
    }

    std::vector<Key> keys_ = std::vector<Key>(1u << 12, nothing);
    std::size_t count_ = 0;
};

/// What the keeper does. When it repairs one of the actors may die, anywhere; and if it may die
/// too, another keeper repairs once more, from the beginning.
/// When it sweeps one may be stopped before that, or in its middle too; then it sweeps again.
enum class Keeping : std::uint8_t {
    none,
    takes_back,
    sweeps,
    sweeps_again,
    repairs,
    repairs_and_dies
};

constexpr bool is_sweep(Keeping keeping) {
    return keeping == Keeping::sweeps || keeping == Keeping::sweeps_again;
}

struct Play {
    std::vector<std::size_t> actors;
    Deed first_consumers;
    Keeping keeping;
};

class Explorer {
 public:
    /// What a missing producer would have put is there from the beginning.
    explicit Explorer(const Play& play) : play_{play} {
        State start;
        for (Place& place : start.places) place.is_over = true;
        for (const std::size_t actor : play.actors) start.places[actor].is_over = false;
        start.places[keeper].is_over = play.keeping == Keeping::none;
        has_pins = is_sweep(play.keeping);
        used_cells = has_pins ? 8 : 4;
        memory = {};
        for (std::size_t slot = 0; slot < slots; ++slot) {
            memory.state[slot].value = SlotWord{SlotState::reserved, owner_of(slot), 0, 5}.pack();
            if (!start.places[slot].is_over) continue;
            Place place;
            for (Place next; !place.is_over; place = next)
                produce(slot, {place, next, start.account});
        }
        start.memory = memory;
        open_.push_back(start);
    }

    void run() {
        while (!open_.empty()) {
            const State state = open_.back();
            open_.pop_back();
            if (seen_.insert(state.key())) visit(state);
        }
    }

    [[nodiscard]] std::size_t states() const { return seen_.size(); }
    std::size_t steps = 0;
    std::size_t ends = 0;
    std::size_t bad_ends = 0;

 private:
    // Before a step of the keeper's, so that nothing is walked through twice: it makes no
    // difference which of the others' steps come in between. Who stops after the first one may
    // stand where the keeper has been already.
    void stop_one(const State& state) {
        const Place& sweeper = state.places[keeper];
        const bool has_begun = sweeper.phase != 0 || sweeper.answers.size != 0;
        if (has_begun && play_.keeping != Keeping::sweeps_again) return;
        for (std::size_t actor = 0; actor < keeper; ++actor) {
            if (state.places[actor].is_over) continue;
            State next = after_step(state, keeper, static_cast<int>(actor));
            next.stopped = static_cast<int>(actor);
            next.is_swept_again = has_begun;
            if (next.places[keeper].is_over) sweep_again(next);
            open_.push_back(next);
        }
    }

    static void sweep_again(State& state) {
        if (std::exchange(state.is_swept_again, false)) state.places[keeper] = {};
    }

    /// All but the one who is stopped are through: all that was put is to be had without him. He
    /// goes on then, with the messages there or gone.
    void release(State state) {
        ++ends;
        state.stopped = -1;
        open_.push_back(state);
        memory = state.memory;
        SlotWord leased;
        for (std::uint64_t slot = 0; (slot = claim_next(referee, leased)) != slots;) {
            memory.state[slot].store(leased.acked_by(referee).freed().pack());
            ++state.account.acks[slot];
        }
        for (std::size_t slot = 0; slot < slots; ++slot) {
            const std::uint64_t wanted = state.account.is_put[slot] ? 1 : 0;
            if (state.account.acks[slot] == wanted) continue;
            ++bad_ends;
            return;
        }
        state.memory = memory;
        open_.push_back(state);
    }

    void visit(const State& state) {
        const bool may_stop =
            is_sweep(play_.keeping) && state.stopped < 0 && !state.places[keeper].is_over;
        if (may_stop) stop_one(state);
        const bool may_kill = play_.keeping >= Keeping::repairs && state.dead < 0;
        bool has_next = false;
        for (std::size_t actor = 0; actor < cast; ++actor) {
            if (state.places[actor].is_over || state.dead == static_cast<int>(actor)) continue;
            if (state.stopped == static_cast<int>(actor)) continue;
            if (actor == keeper && may_kill) continue;  // nobody has died yet
            has_next = true;
            State after = after_step(state, actor);
            if (after.places[keeper].is_over) sweep_again(after);
            open_.push_back(after);
            ++steps;
            if (actor == keeper && play_.keeping == Keeping::repairs_and_dies &&
                !state.has_keeper_died && state.dead >= 0) {
                State again = state;
                again.has_keeper_died = true;
                again.places[keeper] = {};
                open_.push_back(again);
            }
            if (!may_kill) continue;
            State killed = state;
            killed.dead = static_cast<int>(actor);
            killed.places[actor] = {};  // nothing hangs on where it stood
            open_.push_back(killed);
        }
        if (has_next) return;
        if (state.stopped >= 0) return release(state);
        judge(state);
    }

    State after_step(const State& before, std::size_t actor) {
        return after_step(before, actor, before.stopped);
    }
    State after_step(const State& before, std::size_t actor, int stopped) {
        State after = before;
        Place next = before.places[actor];
        next.answers.size = 0;
        memory = before.memory;
        tape = {&after.places[actor].answers};
        if (setjmp(interruption) == 0) {
            const bool is_producer = stopped >= 0 && stopped < static_cast<int>(slots);
            act(actor, before.dead, is_producer, {before.places[actor], next, after.account});
            if (next.is_over) next.locals = {};
            after.places[actor] = next;
        }
        tape = {};
        after.memory = memory;
        return after;
    }

    void act(std::size_t actor, int dead, bool is_producer_stopped, const Phase& phase) const {
        if (actor < slots) return produce(actor, phase);
        if (actor < keeper)
            return consume(actor, actor == slots ? play_.first_consumers : Deed::acks, phase);
        if (play_.keeping == Keeping::takes_back) return take_back(phase);
        if (is_sweep(play_.keeping)) return sweep(is_producer_stopped, phase);
        repair(static_cast<std::size_t>(dead), phase);
    }

    /// All have come to their ends. What was put was acked once, or is found, and found once;
    /// nothing is held by the dead.
    void judge(const State& state) {
        ++ends;
        memory = state.memory;
        std::array<std::uint64_t, slots> found{};
        SlotWord leased;
        for (std::uint64_t slot = 0; (slot = claim_next(referee, leased)) != slots;) {
            memory.state[slot].store(leased.acked_by(referee).freed().pack());
            ++found[slot];
        }
        bool is_good = ring().push(0, 99) == Ringed::done;  // the ring still takes and gives
        is_good = is_good && ring().pop([](std::uint64_t, std::uint64_t) {
            return Claim::taken;
        }) == Ringed::done;
        for (std::size_t slot = 0; slot < slots; ++slot) {
            const std::uint64_t wanted = state.account.is_put[slot] ? 1 : 0;
            is_good = is_good && found[slot] + state.account.acks[slot] == wanted;
            is_good = is_good && SlotWord::of(memory.state[slot].value).state == SlotState::free;
        }
        if (!is_good) ++bad_ends;
    }

    Play play_;
    std::vector<State> open_;
    Seen seen_;
};

const char* name_of(Deed deed) {
    if (deed == Deed::acks) return "all acked";
    if (deed == Deed::nacks) return "with a nack";
    return deed == Deed::untakes ? "with one untaken" : "with one untaken, at most once";
}

const char* name_of(Keeping keeping) {
    if (keeping == Keeping::repairs_and_dies) return ", a death, a killed repair and a repair";
    if (keeping == Keeping::repairs) return ", a death and a repair";
    if (keeping == Keeping::sweeps) return ", one stopped and a sweep";
    if (keeping == Keeping::sweeps_again) return ", one stopped in a sweep and another one";
    return keeping == Keeping::takes_back ? ", leases taken away" : "";
}

void explore(const Play& play) {
    Explorer explorer{play};
    explorer.run();
    WARN(name_of(play.first_consumers)
         << name_of(play.keeping) << ": " << explorer.states() << " states, " << explorer.steps
         << " steps, " << explorer.ends << " ends");
    CHECK(explorer.bad_ends == 0);
    CHECK(explorer.ends > 0);
}

}  // namespace

TEST_CASE(
    "queue explorer: in no interleaving is a message lost, doubled or stuck, though one may die "
    "anywhere",
    "[ipc][queue]") {
    const Keeping keeping = GENERATE(Keeping::none, Keeping::takes_back, Keeping::repairs);
    explore({{0, 1, 2, 3}, GENERATE(from_range(deeds)), keeping});
}

TEST_CASE("queue explorer: nor when the repair is killed anywhere, and another one begins anew",
          "[ipc][queue]") {
    const std::vector<std::size_t> actors =
        GENERATE(std::vector<std::size_t>{0, 1, 2}, std::vector<std::size_t>{1, 2, 3});
    explore({actors, GENERATE(from_range(deeds)), Keeping::repairs_and_dies});
}

TEST_CASE("queue explorer: nor is one kept from others by him who is stopped anywhere",
          "[ipc][queue]") {
    const std::vector<std::size_t> actors =
        GENERATE(std::vector<std::size_t>{0, 1, 2}, std::vector<std::size_t>{1, 2, 3});
    explore({actors, GENERATE(from_range(deeds)), Keeping::sweeps});
}

TEST_CASE("queue explorer: nor by him who is stopped in the middle of a sweep", "[ipc][queue]") {
    explore({{1, 2}, GENERATE(from_range(deeds)), Keeping::sweeps_again});
}

TEST_CASE("queue explorer: nor in the middle of a sweep with more of the cast",
          "[.][queue][soak]") {
    const std::vector<std::size_t> actors =
        GENERATE(std::vector<std::size_t>{0, 1, 2}, std::vector<std::size_t>{1, 2, 3});
    explore({actors, GENERATE(from_range(deeds)), Keeping::sweeps_again});
}

TEST_CASE("queue explorer: nor with the whole cast and one who is stopped", "[.][queue][soak]") {
    explore({{0, 1, 2, 3}, GENERATE(from_range(deeds)), Keeping::sweeps});
}

// Takes a GiB and a minute.
TEST_CASE("queue explorer: nor with the whole cast and a repair that is killed",
          "[.][queue][soak]") {
    explore({{0, 1, 2, 3}, GENERATE(from_range(deeds)), Keeping::repairs_and_dies});
}
