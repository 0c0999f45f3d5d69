#include <algorithm>
#include <optional>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include <green/context.hpp>
#include <green/greenlet.hpp>
#include <green/group.hpp>
#include <green/hub.hpp>
#include <green/shield.hpp>

#include "support/run_green.hpp"
#include "support/schedules.hpp"

using namespace std::chrono_literals;
using green::Context;
using green::ContextVar;
using green::DeadlineScope;
using tests::run_green;
using tests::settle;

TEST_CASE("deadline: a scope limits its greenlet and knows its Timeout", "[core][context]") {
    run_green([] {
        CHECK(green::ambient_deadline().is_never());
        const auto start = green::now();
        {
            const DeadlineScope scope{20ms};
            CHECK(green::ambient_deadline() == green::Deadline::at(start + 20ms));
            bool mine = false;
            try {
                green::sleep(1h);
            } catch (const green::Timeout& timeout) {
                mine = scope.owns(timeout);
            }
            CHECK(mine);
        }
        CHECK(green::now() - start == 20ms);
        CHECK(green::ambient_deadline().is_never());
        green::sleep(1s);
    });
}

TEST_CASE("deadline: the earlier of two counts, whichever is inside", "[core][context]") {
    run_green([] {
        const auto start = green::now();
        const auto owner_of = [](const DeadlineScope& outer, const DeadlineScope& inner) {
            try {
                green::sleep(1h);
            } catch (const green::Timeout& timeout) {
                return outer.owns(timeout) ? 1 : inner.owns(timeout) ? 2 : 3;
            }
            return 0;
        };
        {
            const DeadlineScope outer{10ms};
            const DeadlineScope inner{20ms};
            CHECK(green::ambient_deadline() == green::Deadline::at(start + 10ms));
            CHECK(owner_of(outer, inner) == 1);
        }
        const auto second = green::now();
        {
            const DeadlineScope outer{20ms};
            const DeadlineScope inner{10ms};
            CHECK(green::ambient_deadline() == green::Deadline::at(second + 10ms));
            CHECK(owner_of(outer, inner) == 2);
            CHECK(owner_of(outer, inner) == 1);  // the outer one is still to come
            CHECK(green::now() - second == 20ms);
        }
        {
            const green::Deadline same{10ms};
            const DeadlineScope outer{same};
            const DeadlineScope inner{same};
            CHECK(owner_of(outer, inner) == 1);
            green::sleep(1s);  // and once only
        }
    });
}

TEST_CASE("deadline: children are limited too, and end with a Timeout of their own",
          "[core][context]") {
    run_green([] {
        const tests::Errors errors;
        const auto start = green::now();
        auto outside = green::spawn([] { green::sleep(1s); });
        std::optional<green::Greenlet<int>> child;
        std::optional<green::Timeout> in_grandchild;
        const DeadlineScope scope{20ms};
        child = green::spawn([&] {
            CHECK(green::ambient_deadline() == green::Deadline::at(start + 20ms));
            auto grandchild = green::spawn([&] {
                try {
                    green::sleep(1h);
                } catch (const green::Timeout& timeout) {
                    in_grandchild = timeout;
                    throw;
                }
            });
            green::sleep(1h);
            return 1;
        });
        bool mine = false;
        try {
            child->join();
        } catch (const green::Timeout& timeout) {
            mine = scope.owns(timeout);
        }
        CHECK(mine);
        settle();
        CHECK(green::now() - start == 20ms);
        REQUIRE(child->ready());
        CHECK_FALSE(child->successful());
        bool its_own = false;
        try {
            child->get();
        } catch (const green::Timeout& timeout) {
            its_own = !scope.owns(timeout) && timeout.identity() != 0;
        }
        CHECK(its_own);
        REQUIRE(in_grandchild.has_value());
        CHECK_FALSE(scope.owns(*in_grandchild));
        CHECK(errors.count() == 2);
        CHECK_FALSE(outside.ready());
        outside.join();
    });
}

TEST_CASE("deadline: a child outlives the scope but not the deadline", "[core][context]") {
    run_green([] {
        const tests::Errors errors;
        const auto start = green::now();
        auto child = [] {
            const DeadlineScope scope{20ms};
            return green::spawn([] { green::sleep(1h); });
        }();
        CHECK_FALSE(child.join(10ms));
        CHECK(child.join());
        CHECK(green::now() - start == 20ms);
        auto too_late = [] {
            const DeadlineScope scope{0s};
            return green::spawn([] {
                for (;;) green::yield();
            });
        }();
        CHECK(too_late.join());
        CHECK_FALSE(too_late.successful());
    });
}

TEST_CASE("deadline: a child that catches its Timeout goes on", "[core][context]") {
    run_green([] {
        auto child = [] {
            const DeadlineScope scope{20ms};
            return green::spawn([] {
                try {
                    green::sleep(1h);
                } catch (const green::Timeout&) {
                    green::sleep(1s);
                }
                return green::ambient_deadline().has_passed();
            });
        }();
        CHECK(child.get());
    });
}

TEST_CASE("deadline: a context that is entered brings its deadline, and one can be started without",
          "[core][context]") {
    run_green([] {
        const auto start = green::now();
        const ContextVar<int> trace{"trace"};
        Context taken;
        {
            const ContextVar<int>::Scope scope{trace, 4};
            const DeadlineScope limit{20ms};
            taken = Context::current();
            {
                const Context::Scope free{Context::current().without_deadline()};
                auto server = green::spawn([&] {
                    green::sleep(1s);
                    return trace.get();
                });
                CHECK(green::ambient_deadline().is_never());
                server.set_name("server");
                const green::Shield shield;  // the limit of this greenlet stays
                CHECK(server.get() == 4);
            }
        }
        CHECK(green::now() - start == 1s);
        {
            const Context::Scope late{taken};
            bool mine = false;
            try {
                green::sleep(1ms);
            } catch (const green::Timeout& timeout) {
                mine = late.owns(timeout);
            }
            CHECK(mine);
        }
        CHECK(taken.deadline() == green::Deadline::at(start + 20ms));
        CHECK(taken.with_deadline(1h).deadline() == taken.deadline());
    });
}

TEST_CASE("deadline: greenlets without one have no timer", "[core][context]") {
    run_green([] {
        const ContextVar<int> trace{"trace"};
        const ContextVar<int>::Scope scope{trace, 1};
        auto child = green::spawn([] { green::yield(); });
        green::yield();
        CHECK(green::hub_figures().timers == 0);
        child.join();
        const DeadlineScope limit{1h};
        const DeadlineScope within{2h};
        CHECK(green::hub_figures().timers == 1);
    });
}

// --- random trees ---

namespace {

struct Value {
    static inline int alive = 0;
    int number = 0;
    explicit Value(int its) noexcept : number{its} { ++alive; }
    Value(const Value& other) noexcept : number{other.number} { ++alive; }
    Value& operator=(const Value&) = default;
    ~Value() { --alive; }
};

/// A tree of greenlets, each of which knows what its context must say, and until when.
class Tree {
 public:
    explicit Tree(std::uint64_t seed) : random_{seed} {}

    void run() {
        {
            green::Group group;
            std::vector<green::AnyGreenlet> players;
            for (int i = 0; i < 4; ++i) {
                players.push_back(group.spawn([this] { grow(6, 0, green::Deadline::never()); }));
            }
            for (int i = 0; i < 8; ++i) {
                if (below(3) == 0) players[static_cast<std::size_t>(below(4))].kill_soon();
                green::sleep(std::chrono::milliseconds(below(3)));
            }
        }
        settle();
        CHECK(Value::alive == 2);  // what is initial
    }

 private:
    int below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }

    void check(int first, green::Deadline until) {
        CHECK(first_.get().number == first);
        CHECK(green::ambient_deadline() == until);
        // Nobody is let wait beyond it, and here nobody goes on after it.
        CHECK((until.is_never() || green::now() <= until.when()));
    }

    void grow(int depth, int first, green::Deadline until) {
        check(first, until);
        green::Group children;
        for (int i = below(5); i > 0 && depth > 0; --i) {
            const auto child = [&](int value, green::Deadline limit) {
                children.spawn([this, depth, value, limit] { grow(depth - 1, value, limit); });
            };
            switch (below(5)) {
                case 0: {
                    const ContextVar<Value>::Scope scope{first_, Value{++last_}};
                    child(last_, until);
                    pass_time();
                    break;
                }
                case 1: {
                    const green::Deadline limit{std::chrono::milliseconds(1 + below(5))};
                    const DeadlineScope scope{limit};
                    child(first, std::min(limit, until));
                    try {
                        pass_time();
                    } catch (const green::Timeout& timeout) {
                        if (!scope.owns(timeout)) throw;
                    }
                    break;
                }
                case 2: {
                    const Context::Scope scope{Context{}};
                    child(0, green::Deadline::never());
                    break;
                }
                case 3: {
                    const ContextVar<Value>::Scope other{second_, Value{1}};
                    child(first, until);
                    break;
                }
                default:
                    pass_time();
                    break;
            }
            check(first, until);
        }
        if (below(2) == 0) children.join();
    }

    void pass_time() {
        if (below(2) == 0) {
            green::yield();
        } else {
            green::sleep(std::chrono::milliseconds(below(3)));
        }
    }

    std::mt19937_64 random_;
    int last_ = 0;
    const ContextVar<Value> first_{"first", Value{0}};
    const ContextVar<Value> second_{"second", Value{0}};
};

}  // namespace

TEST_CASE("context: random trees inherit what they must, until when they must, and leave nothing",
          "[core][context][schedules]") {
    run_green([] {
        const tests::Errors errors;  // of those that end by their deadline
        const std::uint64_t trees = tests::for_each_schedule(
            tests::share::contexts, [](std::uint64_t seed) { Tree{seed}.run(); });
        if (trees >= 100) CHECK(errors.count() > trees / 20);
    });
}
