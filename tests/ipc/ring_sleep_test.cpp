// Walks through every interleaving of a ring's two sides when both sleep over and over, on a
// machine whose stores wait in a buffer of each processor before the other sees them (x86). Rule R4
// of ring/ring_layout.hpp: nobody sleeps over a record, or over room. The writer's end may travel
// to another process meanwhile.

#include <array>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

namespace {

/// The shared words.
enum Place : std::uint8_t { tail, head, reader_sleeps, writer_sleeps, places };

/// How the ring is built: as it is, or with a part left out.
struct Rules {
    unsigned capacity;  // records
    unsigned step;      // records after which the reader tells of room
    // The fences of the writer and the reader: between the flag and the second look, and between a
    // move and the look at the other's flag.
    std::array<bool, 2> fences_asleep{true, true};
    std::array<bool, 2> fences_awake{true, true};
    bool second_look = true;
    bool numbers = true;        // only that sleep's is taken back which was seen
    bool travels = false;       // the writer's end, once, at any time
    bool numbers_go_on = true;  // where it goes to
    bool tells_before_sleep = true;
};
constexpr unsigned records = 5;

struct Side {
    std::uint8_t at = 0;    // the next step, see below
    std::uint8_t done = 0;  // records published, or taken
    std::uint8_t told = 0;  // of them, as the other side knows
    std::uint8_t bell = 0;
    std::uint8_t was_rung = 0;
    std::uint8_t has_travelled = 0;
    std::uint8_t sleeps = 0;   // the number of the last one
    std::uint8_t sleeper = 0;  // the other's, as it was seen
    std::uint8_t stored = 0;   // stores that are on their way, the oldest first
    std::array<std::uint8_t, 6> where{};
    std::array<std::uint8_t, 6> what{};
};

struct State {
    std::array<std::uint8_t, places> memory{};
    std::array<Side, 2> sides{};  // the writer and the reader

    friend bool operator<(const State& a, const State& b) noexcept {
        return std::memcmp(&a, &b, sizeof(State)) < 0;
    }
};

class Walk {
 public:
    explicit Walk(const Rules& rules) : rules_{rules} { visit({}); }

    /// Whether both always come to the end.
    [[nodiscard]] bool all() {
        while (!open_.empty()) {
            const State state = open_.back();
            open_.pop_back();
            bool moved = false;
            for (std::size_t side = 0; side < 2; ++side) {
                moved |= flush(state, side);
                moved |= step(state, side);
            }
            moved |= travel(state);
            const bool at_end = state.sides[0].done == records && state.sides[1].done == records;
            if (!moved && !at_end) return false;
        }
        return true;
    }
    [[nodiscard]] std::size_t states() const noexcept { return seen_.size(); }

 private:
    enum Step : std::uint8_t {
        look,
        raise,
        fence_raised,
        look_again,
        sleep,
        move,
        tell,
        fence_moved,
        look_at_flag,
        ring,
        take_back
    };

    /// Another process goes on as the writer. What the first one has stored it sees, and so does
    /// everybody: the end came by the system.
    bool travel(State state) {
        Side& me = state.sides[0];
        if (!rules_.travels || me.has_travelled != 0 || me.at != look || me.done == records)
            return false;
        while (me.stored > 0) drain_one(state, 0);
        me.has_travelled = 1;
        if (!rules_.numbers_go_on) me.sleeps = 0;
        me.bell = me.was_rung;  // nobody takes that back: who watches the bell anew hears of it
        visit(state);
        return true;
    }

    void visit(const State& state) {
        if (seen_.insert(state).second) open_.push_back(state);
    }
    static std::uint8_t load(const State& state, std::size_t side, Place place) {
        const Side& me = state.sides[side];
        for (unsigned i = me.stored; i-- > 0;) {
            if (me.where[i] == place) return me.what[i];
        }
        return state.memory[place];
    }
    static void store(Side& me, Place place, std::uint8_t value) {
        REQUIRE(me.stored < me.where.size());
        me.where[me.stored] = place;
        me.what[me.stored++] = value;
    }
    static void drain_one(State& state, std::size_t side) {
        Side& me = state.sides[side];
        state.memory[me.where[0]] = me.what[0];
        --me.stored;
        for (unsigned i = 0; i < me.stored; ++i) {
            me.where[i] = me.where[i + 1];
            me.what[i] = me.what[i + 1];
        }
        me.where[me.stored] = me.what[me.stored] = 0;
    }
    /// The oldest store of a side becomes visible.
    bool flush(State state, std::size_t side) {
        if (state.sides[side].stored == 0) return false;
        drain_one(state, side);
        visit(state);
        return true;
    }

    static void wake(Side& me, Place flag) {
        me.bell = 0;
        store(me, flag, 0);
        me.at = look;
    }
    [[nodiscard]] bool can_go_on(const State& state, std::size_t side) const {
        const Side& me = state.sides[side];
        return side == 0 ? me.done - load(state, side, head) < static_cast<int>(rules_.capacity)
                         : load(state, side, tail) > me.done;
    }
    bool step(State state, std::size_t side) {
        Side& me = state.sides[side];
        const bool writes = side == 0;
        const Place my_flag = writes ? writer_sleeps : reader_sleeps;
        const Place their_flag = writes ? reader_sleeps : writer_sleeps;
        const auto move_on = [&] {
            ++me.done;
            me.at = move;
        };
        switch (me.at) {
            case look:
                if (me.done == records && (writes || me.told == records)) return false;
                if (me.done < records && can_go_on(state, side)) {
                    move_on();
                } else if (!writes && me.told != me.done && rules_.tells_before_sleep) {
                    me.at = tell;
                } else if (me.done == records) {
                    return false;
                } else {
                    me.at = raise;
                }
                break;
            case raise:
                REQUIRE(me.sleeps < 200);
                store(me, my_flag, ++me.sleeps);
                me.at = fence_raised;
                break;
            case fence_raised:
                while (rules_.fences_asleep[side] && me.stored > 0) drain_one(state, side);
                me.at = rules_.second_look ? look_again : sleep;
                break;
            case look_again:
                if (can_go_on(state, side)) {
                    store(me, my_flag, 0);
                    move_on();
                } else {
                    me.at = sleep;
                }
                break;
            case sleep:
                if (me.bell == 0) return false;
                wake(me, my_flag);
                break;
            case move:
                if (!writes && me.done - me.told < static_cast<int>(rules_.step)) {
                    me.at = look;  // later, together with others
                    break;
                }
                [[fallthrough]];
            case tell:
                store(me, writes ? tail : head, me.done);
                me.told = me.done;
                me.at = fence_moved;
                break;
            case fence_moved:
                while (rules_.fences_awake[side] && me.stored > 0) drain_one(state, side);
                me.at = look_at_flag;
                break;
            case look_at_flag:
                me.sleeper = load(state, side, their_flag);
                me.at = me.sleeper != 0 ? ring : look;
                break;
            case ring:
                state.sides[1 - side].bell = state.sides[1 - side].was_rung = 1;
                me.at = take_back;
                break;
            case take_back:
                while (me.stored > 0) drain_one(state, side);
                if (!rules_.numbers || state.memory[their_flag] == me.sleeper)
                    state.memory[their_flag] = 0;
                me.sleeper = 0;
                me.at = look;
                break;
            default:
                FAIL("no such step");
        }
        visit(state);
        return true;
    }

    Rules rules_;
    std::set<State> seen_;
    std::vector<State> open_;
};

}  // namespace

TEST_CASE("ring sleeping: in no interleaving does a side sleep over what the other has done",
          "[ipc][ring]") {
    const bool travels = GENERATE(false, true);
    for (Rules rules : {Rules{1, 1}, Rules{2, 1}, Rules{2, 2}, Rules{4, 2}, Rules{4, 3}}) {
        rules.travels = travels;
        CAPTURE(travels, rules.capacity, rules.step);
        Walk walk{rules};
        CHECK(walk.all());
        CHECK(walk.states() > 100);
    }
}

TEST_CASE("ring sleeping: each of its rules is needed", "[ipc][ring]") {
    for (const unsigned capacity : {1U, 2U, 4U}) {
        for (std::size_t side = 0; side < 2; ++side) {
            CAPTURE(capacity, side);
            Rules asleep{.capacity = capacity, .step = 1};
            asleep.fences_asleep[side] = false;
            CHECK_FALSE(Walk{asleep}.all());
            Rules awake{.capacity = capacity, .step = 1};
            awake.fences_awake[side] = false;
            CHECK_FALSE(Walk{awake}.all());
        }
    }
    CHECK_FALSE(Walk{Rules{.capacity = 2, .step = 1, .second_look = false}}.all());
    CHECK_FALSE(Walk{Rules{.capacity = 2, .step = 1, .numbers = false}}.all());
    CHECK_FALSE(
        Walk{Rules{.capacity = 1, .step = 1, .travels = true, .numbers_go_on = false}}.all());
    CHECK_FALSE(Walk{Rules{.capacity = 2, .step = 3, .tells_before_sleep = false}}.all());
}
