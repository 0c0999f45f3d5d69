// Random programs on a pool: spawns, calls and maps of every kind, with kills and time limits at
// any suspension point. Whatever happens, afterwards all room is free, nobody is a member, every
// element of every input has one fate, and nothing that was made is left.

#include <array>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "core/dice.hpp"
#include "core/nothing_left.hpp"
#include "support/run_green.hpp"
#include "support/schedules.hpp"

using namespace std::chrono_literals;

namespace {

enum Fate : std::size_t { done, failed, killed, dropped, fates };

/// What became of all elements.
struct Ledger {
    std::array<int, fates> ended{};
    int made = 0;
    int alive = 0;  // objects, moved-from ones too
    [[nodiscard]] int accounted() const { return std::accumulate(ended.begin(), ended.end(), 0); }
};

/// An element of an input. Meets its fate once: in its call, or when it is destroyed without one.
class Ticket {
 public:
    Ticket(Ledger& ledger, int number) : ledger_{&ledger}, owed_{true}, number_{number} {
        ++ledger.made;
        ++ledger.alive;
    }
    Ticket(Ticket&& other) noexcept
        : ledger_{other.ledger_}, owed_{std::exchange(other.owed_, false)}, number_{other.number_} {
        ++ledger_->alive;
    }
    Ticket& operator=(Ticket&&) = delete;
    ~Ticket() {
        meet(dropped);
        --ledger_->alive;
    }
    void meet(Fate fate) noexcept {
        if (std::exchange(owed_, false)) ++ledger_->ended[fate];
    }
    [[nodiscard]] int number() const noexcept { return number_; }

 private:
    Ledger* ledger_;
    bool owed_;
    int number_;
};

struct Boom : std::runtime_error {
    Boom() : std::runtime_error{"boom"} {}
};

class Schedule : tests::Dice {
 public:
    explicit Schedule(std::uint64_t seed) : Dice{seed} {}

    void run() {
        std::vector<green::AnyGreenlet> players;
        for (int i = 2 + below(4); i > 0; --i) players.push_back(crew_.spawn([this] { play(); }));
        for (int i = below(10); i > 0; --i) {
            meddle(players);
            pass_time();
        }
        crew_.kill();
        CHECK(pool_.kill().empty());
        check();
    }

 private:
    /// A range that makes its tickets as it goes, and waits or fails at some of its steps.
    struct Input {
        struct Iterator {
            using value_type = Ticket;
            using difference_type = std::ptrdiff_t;
            Ticket operator*() const {
                input->step();
                return Ticket{input->schedule->ledger_, at};
            }
            Iterator& operator++() {
                ++at;
                input->step();
                return *this;
            }
            void operator++(int) { ++*this; }
            bool operator==(std::default_sentinel_t) const {
                input->step();
                return at >= input->count;
            }
            const Input* input;
            int at = 0;
        };
        Iterator begin() const {
            step();
            return {this};
        }
        std::default_sentinel_t end() const { return {}; }
        void step() const {
            if (schedule->below(4) == 0) schedule->pass_time();
            if (schedule->below(60) == 0) throw Boom{};
        }

        Schedule* schedule;
        int count;
    };

    Input input() { return {this, below(6)}; }
    Ticket ticket() { return Ticket{ledger_, 0}; }

    /// The call that an element is made for.
    auto work() {
        return [this](Ticket own) {
            try {
                if (below(3) > 0) pass_time();
                if (below(8) == 0) nest();
                if (below(6) == 0) throw Boom{};
                own.meet(done);
            } catch (const green::Interrupt&) {
                own.meet(killed);
                if (below(3) == 0) {  // takes its time to die
                    const green::Shield shield;
                    pass_time();
                }
                throw;
            } catch (...) {
                own.meet(failed);
                throw;
            }
            return own.number();
        };
    }

    void nest();
    void act();
    void play();
    void read(green::ResultStream<int> results, bool ordered);
    void meddle(const std::vector<green::AnyGreenlet>& players);
    void check();

    Ledger ledger_;
    green::Pool pool_{static_cast<std::size_t>(1 + below(3))};
    green::Group crew_;
};

/// What a member does with its own pool.
void Schedule::nest() {
    switch (below(4)) {
        case 0:
            (void)pool_.apply(work(), ticket());
            break;
        case 1:
            (void)pool_.map(work(), input());
            break;
        case 2:
            pool_.apply_async(work(), ticket());
            break;
        default: {
            auto results = pool_.imap(work(), input());
            (void)green::with_timeout(some_time(), [&] { return results.next(); });
            break;
        }
    }
}

void Schedule::read(green::ResultStream<int> results, bool ordered) {
    int last = -1;
    for (int wanted = below(3) == 0 ? below(4) : 1000; wanted > 0; --wanted) {
        if (below(4) == 0) (void)green::wait({results}, {.deadline = some_time()});
        try {
            const auto number = results.next();
            if (!number) {
                CHECK_FALSE(results.next());
                return;
            }
            if (ordered) CHECK(*number > last);
            last = *number;
        } catch (const Boom&) {  // in its place; the results go on
        }
        if (below(4) == 0) pass_time();
    }
}

void Schedule::act() {
    switch (below(14)) {
        case 0:
            pool_.spawn(work(), ticket());
            break;
        case 1:
            (void)pool_.try_spawn(work(), ticket());
            break;
        case 2:
            (void)pool_.spawn_for(some_time(), work(), ticket());
            break;
        case 3:
            (void)pool_.apply(work(), ticket());
            break;
        case 4:
            pool_.apply_async(work(), ticket());
            break;
        case 5:
            pool_.apply_async_then([this](int) { pass_time(); }, work(), ticket());
            break;
        case 6: {
            auto inputs = input();
            const auto numbers = pool_.map(work(), inputs);
            CHECK(static_cast<int>(numbers.size()) == inputs.count);
            for (std::size_t i = 0; i < numbers.size(); ++i) {
                CHECK(numbers[i] == static_cast<int>(i));
            }
            break;
        }
        case 7: {
            auto handle = pool_.map_async(work(), input());
            if (below(2) == 0) (void)handle.join(some_time());
            if (below(2) == 0) handle.kill_soon();
            break;
        }
        case 8:
        case 9:
            read(below(2) == 0
                     ? pool_.imap(work(), input())
                     : pool_.imap(work(), input(), static_cast<std::size_t>(1 + below(3))),
                 true);
            break;
        case 10:
            read(below(2) == 0 ? pool_.imap_unordered(work(), input())
                               : pool_.imap_unordered(work(), input(),
                                                      static_cast<std::size_t>(1 + below(3))),
                 false);
            break;
        case 11: {
            auto stranger = green::deferred(work(), ticket());
            if (below(2) == 0) stranger.start();
            (void)pool_.start(stranger, some_time());
            if (below(3) == 0) pool_.discard(stranger);
            stranger.kill();
            break;
        }
        case 12:
            (void)pool_.wait_available(some_time());
            break;
        default:
            try {
                (void)pool_.join_or_raise(some_time());
            } catch (const Boom&) {
            }
            break;
    }
}

void Schedule::play() {
    for (int i = 1 + below(6); i > 0; --i) {
        try {
            once_or_twice([this] { act(); });
        } catch (const Boom&) {  // of a call or of an input
        } catch (const green::GreenletExit&) {
            if (below(2) == 0) throw;  // else it was a call that was killed, or we survive
        }
    }
}

void Schedule::meddle(const std::vector<green::AnyGreenlet>& players) {
    switch (below(8)) {
        case 0:
        case 1:
            players[static_cast<std::size_t>(below(static_cast<int>(players.size())))].kill_soon();
            break;
        case 2:
            pool_.kill_soon();
            break;
        case 3:
            (void)pool_.kill(some_time());
            break;
        case 4:
        case 5: {
            const auto members = pool_.members();
            if (members.empty()) break;
            const auto& member =
                members[static_cast<std::size_t>(below(static_cast<int>(members.size())))];
            (void)pool_.killone(member, some_time());
            break;
        }
        case 6:
            pool_.set_limit(static_cast<std::size_t>(1 + below(4)));
            break;
        default: {
            const auto members = pool_.members();
            // Those that stand in the line would never be started, nor end.
            if (!members.empty() && members.front().task().began) pool_.discard(members.front());
            break;
        }
    }
}

void Schedule::check() {
    tests::settle();
    green::sleep(1s);  // those that were discarded end by themselves
    CHECK(pool_.empty());
    CHECK(pool_.members().empty());
    CHECK(pool_.free_count() == pool_.limit());
    CHECK(crew_.empty());
    CHECK(ledger_.accounted() == ledger_.made);
    CHECK(ledger_.alive == 0);
}

void run_schedules(unsigned quarter) {
    tests::run_green([&] {
        const tests::Errors quiet;
        tests::for_each_schedule(tests::share::pools, {quarter, 4}, [](std::uint64_t seed) {
            Schedule{seed}.run();
            tests::require_nothing_left();
        });
    });
}

}  // namespace

// Four cases, so that they run beside each other.
TEST_CASE("pool schedules: no room and no element is lost, first quarter", "[core][schedules]") {
    run_schedules(0);
}
TEST_CASE("pool schedules: no room and no element is lost, second quarter", "[core][schedules]") {
    run_schedules(1);
}
TEST_CASE("pool schedules: no room and no element is lost, third quarter", "[core][schedules]") {
    run_schedules(2);
}
TEST_CASE("pool schedules: no room and no element is lost, last quarter", "[core][schedules]") {
    run_schedules(3);
}
