#include "sched/context.hpp"

#include <cfenv>
#include <memory>
#include <vector>

#include <catch2/catch.hpp>

#include <green/greenlet.hpp>

#include "sched/sanitizer.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
namespace gd = green::detail;

namespace {

// One loop on a stack of its own that adds up what it is given.
template <class Switch>
struct Adder {
    static inline void* outside = nullptr;
    static inline void* inside = nullptr;
    static inline long given = 0;
    static inline long sum = 0;
    static constexpr long last = 1000;

    static void* body() noexcept {
        for (;;) {
            sum += given;
            if (given == last) return outside;
            Switch::jump(inside, outside);
        }
    }
};

template <class Switch>
void check_switch() {
    using Test = Adder<Switch>;
    std::vector<char> stack(256 * 1024);
    Test::sum = 0;
    for (long i = 1; i <= Test::last; ++i) {
        Test::given = i;
        // Registers that a switch must keep are in use here: the compiler keeps i and the bound in
        // them.
        if (i == 1) {
            Switch::begin(Test::outside, stack.data() + stack.size(), stack.size(), &Test::body);
        } else {
            Switch::jump(Test::outside, Test::inside);
        }
    }
    CHECK(Test::sum == 500'500);  // it has ended by itself, with the last one
}

template <class Switch>
struct Rounding {
    static inline void* outside = nullptr;
    static inline void* inside = nullptr;
    static inline int at_first = -1;
    static inline int seen = -1;
    static void* body() noexcept {
        at_first = std::fegetround();
        std::fesetround(FE_UPWARD);
        Switch::jump(inside, outside);
        seen = std::fegetround();
        return outside;
    }
};

template <class Switch>
void check_rounding() {
    using Test = Rounding<Switch>;
    std::vector<char> stack(256 * 1024);
    std::fesetround(FE_DOWNWARD);
    Switch::begin(Test::outside, stack.data() + stack.size(), stack.size(), &Test::body);
    CHECK(Test::at_first == FE_DOWNWARD);  // as a thread begins: as whoever started it
    CHECK(std::fegetround() == FE_DOWNWARD);
    Switch::jump(Test::outside, Test::inside);
    CHECK(Test::seen == FE_UPWARD);
    CHECK(std::fegetround() == FE_DOWNWARD);
    std::fesetround(FE_TONEAREST);
}

}  // namespace

#if !GREEN_ADDRESS_SANITIZER  // a bare jump, of which the sanitizer is not told, is what these try
TEST_CASE("context: the portable switch goes there and back", "[core][context]") {
    check_switch<gd::BoostSwitch>();
}
TEST_CASE("context: the portable switch keeps each side's rounding mode", "[core][context]") {
    check_rounding<gd::BoostSwitch>();
}
#if defined(__x86_64__)
TEST_CASE("context: the native switch goes there and back", "[core][context]") {
    check_switch<gd::NativeSwitch>();
}
TEST_CASE("context: the native switch keeps each side's rounding mode", "[core][context]") {
    check_rounding<gd::NativeSwitch>();
}
#endif
#endif

TEST_CASE("context: two greenlets that sleep inside catch each rethrow their own",
          "[core][context]") {
    tests::run_green([] {
        auto body = [](int mine) {
            int rethrown = 0;
            try {
                throw mine;
            } catch (...) {
                green::sleep(10ms);
                try {
                    throw;
                } catch (int caught) {
                    rethrown = caught;
                }
            }
            return rethrown;
        };
        auto one = green::spawn(body, 1);
        auto two = green::spawn(body, 2);
        CHECK(one.get() == 1);
        CHECK(two.get() == 2);
    });
}

TEST_CASE(
    "context: a wait inside a destructor during unwinding leaves other greenlets' exceptions alone",
    "[core][context]") {
    tests::run_green([] {
        struct Waits {
            ~Waits() { green::sleep(5ms); }
        };
        auto unwinding = green::spawn([] {
            try {
                const Waits waits;
                throw std::runtime_error("first");
            } catch (const std::runtime_error& error) {
                return std::string(error.what());
            }
        });
        auto other = green::spawn([] {
            green::yield();
            CHECK(std::uncaught_exceptions() == 0);
            CHECK(std::current_exception() == nullptr);
            try {
                throw std::runtime_error("second");
            } catch (const std::runtime_error& error) {
                return std::string(error.what());
            }
        });
        CHECK(other.get() == "second");
        CHECK(unwinding.get() == "first");
    });
}
