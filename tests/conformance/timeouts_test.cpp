// Group C: timeouts.

#include <optional>
#include <stdexcept>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/queue.hpp>
#include <green/timeout.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;

namespace {

struct Own : std::runtime_error {
    Own() : std::runtime_error{"own"} {}
};

/// What the call throws, if it is a Timeout.
template <class Call>
std::optional<green::Timeout> timeout_of(Call call) {
    try {
        call();
    } catch (const green::Timeout& timeout) {
        return timeout;
    }
    return std::nullopt;
}

}  // namespace

TEST_CASE("C035: fires, restarts, cancels", "[conformance]") {
    run_green([] {
        green::TimeoutScope scope{10ms};
        const green::TimeoutScope other{1h};
        for (int i = 0; i < 2; ++i) {
            CHECK(scope.pending());
            const auto start = green::now();
            const auto caught = timeout_of([] { green::sleep(1min); });
            REQUIRE(caught.has_value());
            CHECK(scope.owns(*caught));
            CHECK_FALSE(other.owns(*caught));
            CHECK(green::now() - start == 10ms);
            CHECK_FALSE(scope.pending());
            scope.restart(10ms);
        }
        scope.cancel();
        CHECK_FALSE(scope.pending());
        green::sleep(50ms);
    });
}

TEST_CASE("C036: the silent variant swallows only itself", "[conformance]") {
    run_green([] {
        CHECK_FALSE(green::with_timeout(10ms, [] { green::sleep(1h); }));

        std::optional<bool> inner_owns;
        CHECK_THROWS_AS(green::with_timeout(10ms,
                                            [&] {
                                                green::TimeoutScope inner{5ms};
                                                try {
                                                    green::sleep(1h);
                                                } catch (const green::Timeout& timeout) {
                                                    inner_owns = inner.owns(timeout);
                                                    throw;
                                                }
                                            }),
                        green::Timeout);
        CHECK(inner_owns == true);
    });
}

TEST_CASE("C037: run-with-timeout values", "[conformance]") {
    run_green([] {
        const auto slow = [] {
            green::sleep(1h);
            return 1;
        };
        const auto quick = [] {
            green::sleep(1ms);
            return 2;
        };
        CHECK_FALSE(green::with_timeout(10ms, slow).has_value());
        CHECK(green::with_timeout(10ms, slow).value_or(7) == 7);
        CHECK(green::with_timeout(100ms, quick).value_or(7) == 2);
        CHECK_THROWS_AS(
            [&] {
                const green::TimeoutScope scope{10ms};
                slow();
            }(),
            green::Timeout);
    });
}

TEST_CASE("C041: a timeout object as argument", "[conformance]") {
    run_green([] {
        green::AsyncResult<int> result;
        green::Queue<int> queue;
        const auto own = std::make_exception_ptr(Own{});
        const auto check = [&](auto call) {
            {
                const green::TimeoutScope custom{50ms, own};
                std::exception_ptr caught;
                const auto start = green::now();
                try {
                    call(custom);
                } catch (...) {
                    caught = std::current_exception();
                }
                CHECK(caught == own);
                CHECK(green::now() - start == 50ms);
            }
            const green::TimeoutScope plain{50ms};
            const auto caught = timeout_of([&] { call(plain); });
            REQUIRE(caught.has_value());
            CHECK(plain.owns(*caught));
        };
        check([&](const green::TimeoutScope& limit) { (void)result.get(limit); });
        check([&](const green::TimeoutScope& limit) { (void)queue.get(limit); });
    });
}
