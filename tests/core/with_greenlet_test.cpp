#include <stdexcept>

#include <catch2/catch.hpp>

#include <green/timeout.hpp>
#include <green/with_greenlet.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;

TEST_CASE("with_greenlet: a body that returns waits for the greenlet", "[core][with_greenlet]") {
    run_green([] {
        auto greenlet = green::spawn([] {
            green::sleep(10ms);
            return 1;
        });
        CHECK(green::with_greenlet(greenlet, [] { return 2; }) == 2);
        CHECK(greenlet.ready());
        CHECK(greenlet.successful());
        green::with_greenlet(greenlet, [] {});
    });
}

TEST_CASE("with_greenlet: the greenlet ends with the body's exception", "[core][with_greenlet]") {
    run_green([] {
        const tests::Errors errors;
        auto greenlet = green::spawn([] { green::sleep(1h); });
        CHECK_THROWS_WITH(green::with_greenlet(greenlet,
                                               [] {
                                                   green::yield();
                                                   throw std::runtime_error("body");
                                               }),
                          "body");
        CHECK(greenlet.ready());
        CHECK_THROWS_WITH(greenlet.get(), "body");
    });
}

TEST_CASE("with_greenlet: an interrupted wait kills the greenlet", "[core][with_greenlet]") {
    run_green([] {
        const tests::Errors errors;
        auto greenlet = green::spawn([] { green::sleep(1h); });
        CHECK_FALSE(green::with_timeout(10ms, [&] { green::with_greenlet(greenlet, [] {}); }));
        CHECK(greenlet.ready());
        CHECK_THROWS_AS(greenlet.get(), green::Timeout);
    });
}

TEST_CASE("with_greenlet: a second interrupt waits until the greenlet has ended",
          "[core][with_greenlet]") {
    run_green([] {
        bool cleaned_up = false;
        auto greenlet = green::spawn([&] {
            try {
                green::sleep(1h);
            } catch (const green::GreenletExit&) {
                green::sleep(10ms);
                cleaned_up = true;
                throw;
            }
        });
        bool cleaned_up_first = false;
        auto owner = green::spawn([&] {
            try {
                green::with_greenlet(greenlet, [] { green::sleep(1h); });
            } catch (const green::GreenletExit&) {
                cleaned_up_first = cleaned_up;
                throw;
            }
        });
        green::yield();
        owner.kill_soon();
        green::sleep(5ms);
        owner.kill_soon();
        CHECK(owner.join());
        CHECK(cleaned_up_first);
    });
}

TEST_CASE("with_greenlet: an error of the greenlet stays in it", "[core][with_greenlet]") {
    run_green([] {
        const tests::Errors errors;
        auto greenlet = green::spawn([] { throw std::runtime_error("its own"); });
        green::with_greenlet(greenlet, [] {});
        CHECK_THROWS_WITH(greenlet.get(), "its own");
    });
}
