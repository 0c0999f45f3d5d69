// Walks through every interleaving of a small cast on the slots and one ring: producers publish and
// push, consumers pop, claim and ack, one of them may die between any two steps, and a keeper then
// repairs while the others go on.
//
// shm_stepped.hpp says how.

#include <array>
#include <unordered_set>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "queue/order_ring.hpp"
#include "queue/slot.hpp"
#include "shm_stepped.hpp"

using namespace green::ipc::shm;

namespace {

using shm_test::Answers;
using shm_test::interruption;
using shm_test::SteppedWord;
using shm_test::tape;

constexpr std::size_t slots = 2;
constexpr std::size_t cells = 4;
constexpr std::size_t cast = 5;
constexpr std::size_t keeper = 4;  // 0 and 1 produce, 2 and 3 consume

struct Memory {
    SteppedWord head, tail;
    std::array<SteppedWord, cells> ring;
    std::array<SteppedWord, slots> state;
};
Memory memory;

BasicRing<SteppedWord> ring() { return {memory.head, memory.tail, memory.ring, slots}; }
Owner owner_of(std::size_t actor) { return static_cast<Owner>(actor + 1); }

void produce(std::size_t actor) {
    const SlotWord mine{SlotState::reserved, owner_of(actor), 0, 5};
    if (!memory.state[actor].swap(mine.pack(), mine.published().pack())) return;
    (void)ring().push(actor, mine.generation);
}

/// Takes one message; keeps it, gives it back, or acks it.
void consume(std::size_t actor, bool shall_nack) {
    std::uint64_t slot = slots;
    SlotWord leased;
    const Ringed outcome = ring().pop([&](std::uint64_t index, std::uint64_t tag) {
        const std::uint64_t seen = memory.state[index].load();
        const SlotWord word = SlotWord::of(seen);
        if (word.state != SlotState::ready || tag_of(word.generation) != tag) return Claim::stale;
        if (!memory.state[index].swap(seen, word.leased_by(owner_of(actor)).pack()))
            return Claim::retry;
        slot = index;
        leased = word.leased_by(owner_of(actor));
        return Claim::taken;
    });
    if (outcome != Ringed::done) return;
    const SlotWord after =
        shall_nack ? leased.returned() : leased.acked_by(owner_of(actor)).freed();
    if (memory.state[slot].swap(leased.pack(), after.pack()) && shall_nack)
        (void)ring().push(slot, after.generation);
}

/// As Keeper::repair() does it: return, look at slots, look at cells, look again, fill.
void repair(std::size_t dead) {
    for (SteppedWord& state : memory.state) {
        const std::uint64_t seen = state.load();
        const SlotWord word = SlotWord::of(seen);
        if (word.owner != owner_of(dead)) continue;
        if (word.state == SlotState::reserved) state.store(word.abandoned().pack());
        if (word.state == SlotState::leased) (void)state.swap(seen, word.returned().pack());
    }
    std::array<std::uint64_t, slots> words{};
    std::array<bool, slots> has_cell{};
    for (std::size_t slot = 0; slot < slots; ++slot) words[slot] = memory.state[slot].load();
    ring().for_each([&](std::uint64_t slot, std::uint64_t tag) {
        const SlotWord word = SlotWord::of(words[slot]);
        has_cell[slot] =
            has_cell[slot] || (word.state == SlotState::ready && tag_of(word.generation) == tag);
    });
    for (std::size_t slot = 0; slot < slots; ++slot) {
        if (SlotWord::of(words[slot]).state != SlotState::ready || has_cell[slot]) continue;
        if (memory.state[slot].load() != words[slot]) continue;
        (void)ring().push(slot, SlotWord::of(words[slot]).generation);
    }
}

struct State {
    Memory memory;
    std::array<Answers, cast> answers;
    std::array<bool, cast> is_over{};
    int dead = -1;

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
        for (std::size_t actor = 0; actor < cast; ++actor) {
            add(answers[actor].size * 2 + (is_over[actor] ? 1 : 0));
            for (std::size_t i = 0; i < answers[actor].size; ++i) add(answers[actor].list[i]);
        }
        add(static_cast<std::uint64_t>(dead + 1));
        return {one, two};
    }
};

struct Play {
    std::vector<std::size_t> actors;
    bool first_consumer_nacks;
    bool may_kill;
};

class Explorer {
 public:
    /// What a missing producer would have put is there from the beginning.
    explicit Explorer(const Play& play)
        : first_nacks_{play.first_consumer_nacks}, may_kill_{play.may_kill} {
        State start;
        start.is_over.fill(true);
        for (const std::size_t actor : play.actors) start.is_over[actor] = false;
        start.is_over[keeper] = false;
        memory = {};
        for (std::size_t slot = 0; slot < slots; ++slot) {
            memory.state[slot].value = SlotWord{SlotState::reserved, owner_of(slot), 0, 5}.pack();
            if (start.is_over[slot]) produce(slot);
        }
        start.memory = memory;
        open_.push_back(start);
    }

    void run() {
        while (!open_.empty()) {
            const State state = std::move(open_.back());
            open_.pop_back();
            if (!seen_.insert(state.key()).second) continue;
            visit(state);
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
            open_.push_back(after_step(state, actor));
            if (!may_kill_ || actor == keeper || state.dead >= 0) continue;
            State killed = state;
            killed.dead = static_cast<int>(actor);
            killed.answers[actor].size = 0;
            open_.push_back(std::move(killed));
        }
        if (!has_next) judge(state);
    }

    State after_step(const State& before, std::size_t actor) {
        State next = before;
        memory = before.memory;
        tape = {&next.answers[actor], 0, false};
        if (setjmp(interruption) == 0) {
            act(actor, before.dead);
            next.is_over[actor] = true;
            next.answers[actor].size = 0;  // nothing hangs on them any more
        }
        tape = {};
        next.memory = memory;
        return next;
    }

    void act(std::size_t actor, int dead) const {
        if (actor == keeper) return repair(static_cast<std::size_t>(dead));
        if (actor < slots) return produce(actor);
        consume(actor, first_nacks_ && actor == slots);
    }

    /// All have come to their ends. What is READY must be found, once and only once; nothing is
    /// held by the dead.
    void judge(const State& state) {
        ++ends;
        memory = state.memory;
        std::array<int, slots> found{};
        const auto take = [&](std::uint64_t slot, std::uint64_t tag) {
            const SlotWord word = SlotWord::of(memory.state[slot].load());
            if (word.state != SlotState::ready || tag_of(word.generation) != tag)
                return Claim::stale;
            memory.state[slot].store(word.leased_by(9).acked_by(9).freed().pack());
            ++found[slot];
            return Claim::taken;
        };
        while (ring().pop(take) == Ringed::done) {
        }
        bool is_good = ring().push(0, 99) == Ringed::done;  // the ring still takes and gives
        is_good = is_good && ring().pop([](std::uint64_t, std::uint64_t) {
            return Claim::taken;
        }) == Ringed::done;
        for (std::size_t slot = 0; slot < slots; ++slot) {
            const SlotWord word = SlotWord::of(state.memory.state[slot].value);
            is_good = is_good && found[slot] == (word.state == SlotState::ready ? 1 : 0);
            is_good = is_good && (word.state == SlotState::ready || word.state == SlotState::free);
        }
        if (!is_good) ++bad_ends;
    }

    bool first_nacks_;
    bool may_kill_;
    struct Hash {
        std::size_t operator()(const std::pair<std::uint64_t, std::uint64_t>& key) const {
            return key.first;
        }
    };
    std::vector<State> open_;
    std::unordered_set<std::pair<std::uint64_t, std::uint64_t>, Hash> seen_;
};

}  // namespace

TEST_CASE(
    "queue explorer: in no interleaving is a message lost, doubled or stuck, though one may die "
    "anywhere",
    "[ipc][queue]") {
    const Play play =
        GENERATE(Play{{0, 1, 2, 3}, false, false},  // two producers, two consumers
                 Play{{1, 2, 3}, true, false},      // one of the consumers gives its message back
                 Play{{0, 1, 2}, false, true},      // with a death and a repair
                 Play{{1, 2, 3}, false, true},      //
                 Play{{2, 3}, true, true});
    Explorer explorer{play};
    explorer.run();
    WARN(play.actors.size() << " actors" << (play.first_consumer_nacks ? ", a nack" : "")
                            << (play.may_kill ? ", a death and a repair" : "") << ": "
                            << explorer.states() << " states, " << explorer.ends << " ends");
    CHECK(explorer.bad_ends == 0);
    CHECK(explorer.ends > 0);
}
