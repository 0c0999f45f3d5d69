// Walks through every interleaving of a small cast on the slots and one ring: producers publish and
// push, consumers pop, claim and ack, one of them gives its message back, or takes back that it
// took it, one may die between any two steps while a keeper repairs, or takes leases away, and the
// others go on. Or one is stopped between any two steps, of his and of a keeper's who sweeps, while
// the others go on, and goes on himself when they are through. The keeper sweeps once more then if
// he was in the middle of it.
//
// shm_stepped.hpp says how. Here what an actor does is cut into phases; between two of them all
// that it knows is in its locals, and its answers are those of its present phase.

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "queue/order_ring.hpp"
#include "queue/pins.hpp"
#include "queue/slot.hpp"
#include "shm_stepped.hpp"

using namespace green::ipc::shm;

namespace {

using shm_test::Answers;
using shm_test::interruption;
using shm_test::SteppedWord;
using shm_test::tape;
using shm_test::What;

constexpr std::size_t slots = 2;
constexpr std::size_t cells = 8;
constexpr std::size_t cast = 5;
constexpr std::size_t keeper = 4;  // 0 and 1 produce, 2 and 3 consume
constexpr Owner referee = 9;

struct Memory {
    SteppedWord head{What::index}, tail{What::index};
    std::array<SteppedWord, cells> ring{SteppedWord{What::cell}, SteppedWord{What::cell},
                                        SteppedWord{What::cell}, SteppedWord{What::cell},
                                        SteppedWord{What::cell}, SteppedWord{What::cell},
                                        SteppedWord{What::cell}, SteppedWord{What::cell}};
    std::array<SteppedWord, slots> state;
    std::array<SteppedWord, 2> pins;   // of the consumers; PinWord
    std::array<SteppedWord, 2> until;  // 1: a time that has come; or over
};
Memory memory;
std::size_t used_cells = 4;  // a small ring goes round; copies need a larger one
bool has_pins = false;       // a keeper looks at them

BasicRing<SteppedWord> ring() {
    return {memory.head, memory.tail, std::span{memory.ring}.first(used_cells), slots};
}
/// The two words of a consumer's pin.
struct Pin {
    SteppedWord& what;
    SteppedWord& until;
};
Pin pin_of(std::size_t actor) { return {memory.pins[actor - slots], memory.until[actor - slots]}; }
Owner owner_of(std::size_t actor) { return static_cast<Owner>(actor + 1); }

/// Where an actor stands.
struct Place {
    std::uint64_t phase = 0;
    std::array<std::uint64_t, 3> locals{};
    Answers answers;
    bool is_over = false;
};

/// What has become of the messages. Nobody in the play knows it.
struct Account {
    std::array<bool, slots> is_put{};
    std::array<std::uint64_t, slots> acks{};
};

struct State {
    Memory memory;
    std::array<Place, cast> places;
    Account account;
    int dead = -1;
    int stopped = -1;  // until all others are through
    bool has_keeper_died = false;
    bool is_swept_again = false;  // once the keeper is through

    /// Two hashes of all that matters; 128 bits, so that two states are hardly ever taken for one.
    [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> key() const {
        std::uint64_t one = 0x9e3779b97f4a7c15;
        std::uint64_t two = 0xcbf29ce484222325;
        const auto add = [&](std::uint64_t value) {
            one = (one ^ value) * 0xff51afd7ed558ccd;
            one ^= one >> 32;
            two = (two + value) * 0xc4ceb9fe1a85ec53;
            two ^= two >> 29;
        };
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
        return {one, two};
    }
};

/// One phase of an actor: `now` is where it began, `next` where it goes on.
struct Phase {
    const Place& now;
    Place& next;
    Account& account;

    void go_on(std::uint64_t phase) const { next.phase = phase; }
    void end() const { next.is_over = true; }
};

void produce(std::size_t actor, const Phase& phase) {
    const SlotWord mine{SlotState::reserved, owner_of(actor), 0, 5};
    if (phase.now.phase == 1) {
        (void)ring().push(actor, mine.generation);
        return phase.end();
    }
    if (!memory.state[actor].swap(mine.pack(), mine.published().pack())) return phase.end();
    phase.account.is_put[actor] = true;
    phase.go_on(1);
}

/// Pops and claims. Returns the slot, or none. With an account the message ends with that: this is
/// noted at the very step, and again each time that step is played again.
std::uint64_t claim_next(Owner owner, SlotWord& taken, Account* ends = nullptr,
                         const Pin* pin = nullptr) {
    std::uint64_t slot = slots;
    (void)ring().pop([&](std::uint64_t index, std::uint64_t tag) {
        const std::uint64_t seen = memory.state[index].load();
        const SlotWord word = SlotWord::of(seen);
        if (word.state != SlotState::ready || tag_of(word.generation) != tag) return Claim::stale;
        const SlotWord leased = word.leased_by(owner);
        const SlotWord after = ends != nullptr ? leased.acked_by(owner) : leased;
        if (pin != nullptr) {
            pin->until.store(1);
            pin->what.store(PinWord{static_cast<std::uint32_t>(index), word.generation}.pack());
        }
        if (!memory.state[index].swap(seen, after.pack())) {
            if (pin != nullptr) pin->what.store(0);
            return Claim::retry;
        }
        if (ends != nullptr) ends->acks[index] = 1;
        slot = index;
        taken = after;
        return Claim::taken;
    });
    return slot;
}

/// What a consumer does with the message that it takes. The last one is for a queue that hands each
/// out at most once: there the message ends when it is taken.
enum class Deed : std::uint8_t { acks, nacks, untakes, untakes_at_most_once };

const std::vector<Deed> deeds{Deed::acks, Deed::nacks, Deed::untakes, Deed::untakes_at_most_once};

SlotWord after_deed(Deed deed, SlotWord taken, Owner owner) {
    if (deed == Deed::acks) return taken.acked_by(owner).freed();
    return deed == Deed::nacks ? taken.returned() : taken.untaken();
}

/// Takes one message; acks it, or gives it back in one way or another.
void consume(std::size_t actor, Deed deed, const Phase& phase) {
    const std::uint64_t slot = phase.now.locals[0];
    SlotWord taken = SlotWord::of(phase.now.locals[1]);
    switch (phase.now.phase) {
        case 0: {
            Account* const ends = deed == Deed::untakes_at_most_once ? &phase.account : nullptr;
            const Pin pin = pin_of(actor);
            const std::uint64_t claimed =
                claim_next(owner_of(actor), taken, ends, has_pins ? &pin : nullptr);
            if (claimed == slots) return phase.end();
            phase.next.locals = {claimed, taken.pack()};
            return phase.go_on(1);
        }
        case 1: {
            const SlotWord after = after_deed(deed, taken, owner_of(actor));
            const bool is_ours = memory.state[slot].swap(taken.pack(), after.pack());
            if (is_ours && deed == Deed::acks) ++phase.account.acks[slot];
            if (is_ours && deed == Deed::untakes_at_most_once) phase.account.acks[slot] = 0;
            if (is_ours && deed != Deed::acks) return phase.go_on(2);
            return has_pins ? phase.go_on(3) : phase.end();
        }
        case 2:
            (void)ring().push(slot, after_deed(deed, taken, owner_of(actor)).generation);
            return has_pins ? phase.go_on(3) : phase.end();
        default:
            pin_of(actor).what.store(0);
            phase.end();
    }
}

/// As Keeper::take_back() does it, for one slot after the other.
void take_back(const Phase& phase) {
    const std::uint64_t slot = phase.now.phase / 2;
    if (slot == slots) return phase.end();
    if (phase.now.phase % 2 != 0) {
        (void)ring().push(slot, phase.now.locals[0]);
        return phase.go_on(2 * slot + 2);
    }
    const std::uint64_t seen = memory.state[slot].load();
    const SlotWord ready = SlotWord::of(seen).returned();
    const bool is_taken = SlotWord::of(seen).state == SlotState::leased &&
                          memory.state[slot].swap(seen, ready.pack());
    if (is_taken) phase.next.locals[0] = ready.generation;
    phase.go_on(2 * slot + (is_taken ? 1 : 2));
}

// As Keeper::repair() does it: return, look at slots, look at cells, look again, fill. The locals
// are the words of the slots, and a bit for each that has no cell.
void return_slot(std::size_t dead, std::size_t slot) {
    SteppedWord& state = memory.state[slot];
    const std::uint64_t seen = state.load();
    const SlotWord word = SlotWord::of(seen);
    if (word.owner != owner_of(dead)) return;
    if (word.state == SlotState::reserved) state.store(word.abandoned().pack());
    if (word.state == SlotState::leased) (void)state.swap(seen, word.returned().pack());
    if (word.state == SlotState::retiring) state.store(word.freed().pack());
}

std::uint64_t slots_without_cell(const Place& now) {
    std::uint64_t missing = 0;
    for (std::size_t slot = 0; slot < slots; ++slot) {
        if (SlotWord::of(now.locals[slot]).state == SlotState::ready)
            missing |= std::uint64_t{1} << slot;
    }
    ring().for_each([&](std::uint64_t slot, std::uint64_t tag) {
        if (tag_of(SlotWord::of(now.locals[slot]).generation) == tag)
            missing &= ~(std::uint64_t{1} << slot);
    });
    return missing;
}

void repair(std::size_t dead, const Phase& phase) {
    const std::uint64_t slot = phase.now.phase % slots;
    std::uint64_t& missing = phase.next.locals[slots];
    const bool is_missing = (phase.now.locals[slots] >> slot & 1) != 0;
    phase.go_on(phase.now.phase + 1);
    switch (phase.now.phase / slots) {
        case 0:
            return return_slot(dead, slot);
        case 1:
            phase.next.locals[slot] = memory.state[slot].load();
            return;
        case 2:
            missing = slots_without_cell(phase.now);
            return phase.go_on(3 * slots);
        case 3:
            if (is_missing && memory.state[slot].load() != phase.now.locals[slot])
                missing &= ~(std::uint64_t{1} << slot);
            return;
        case 4:
            if (is_missing)
                (void)ring().push(slot, SlotWord::of(phase.now.locals[slot]).generation);
            return;
        default:
            phase.end();
    }
}

/// As Keeper::sweep() does it when every lease is over: by the pins; and by the rings where a pin
/// says so, or where a producer may be stopped.
void sweep(bool is_producer_stopped, const Phase& phase) {
    constexpr std::uint64_t each = 3;
    constexpr std::uint64_t pins_end = 2 * each;
    const std::uint64_t at = phase.now.phase;
    if (at >= pins_end) {  // the locals are those of repair()
        Place now = phase.now;
        now.phase = at - pins_end + slots;
        const Phase refilling{now, phase.next, phase.account};
        repair(slots, refilling);
        phase.next.phase = phase.next.phase - slots + pins_end;
        return;
    }
    const std::uint64_t consumer = at / each;
    const auto next_pin = [&] {
        const bool is_last = consumer == 1;
        const bool wants_refill = phase.next.locals[slots] != 0 || is_producer_stopped;
        if (is_last && !wants_refill) return phase.end();
        phase.next.locals[0] = 0;
        if (is_last) phase.next.locals = {};
        phase.go_on((consumer + 1) * each);
    };
    if (at % each == 0) {
        phase.next.locals[0] = memory.pins[consumer].load();
        return phase.next.locals[0] == 0 ? next_pin() : phase.go_on(at + 1);
    }
    const PinWord pin = PinWord::of(phase.now.locals[0]);
    if (at % each == 2) {
        (void)ring().push(pin.slot, pin.generation + 1);
        return next_pin();
    }
    SteppedWord& until = memory.until[consumer];
    const bool was_over = until.load() == over;
    const std::uint64_t seen = memory.state[pin.slot].load();
    const SlotWord word = SlotWord::of(seen);
    const bool is_unlisted =
        word.state == SlotState::ready && word.generation == pin.generation + 1 && !was_over;
    const bool is_held = word.state == SlotState::leased && word.generation == pin.generation &&
                         word.owner == owner_of(slots + consumer);
    if (!is_unlisted && !is_held) return next_pin();
    if (!was_over) (void)until.swap(1, over);
    if (is_held && memory.state[pin.slot].swap(seen, word.returned().pack()))
        return phase.go_on(at + 1);
    phase.next.locals[slots] = 1;
    next_pin();
}

/// 128-bit keys, in one piece of memory that doubles.
class Seen {
 public:
    /// False: it was there.
    bool insert(std::pair<std::uint64_t, std::uint64_t> key) {
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
    using Key = std::pair<std::uint64_t, std::uint64_t>;
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
