#include <exception>
#include <stdexcept>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("C044: set then clear", "[conformance]") {
    const std::size_t waiters = GENERATE(1u, 100u, 1000u);
    run_green([&] {
        green::Event event;
        std::size_t told = 0;
        std::size_t ended = 0;
        for (std::size_t i = 0; i < waiters; ++i) {
            green::spawn([&] {
                if (event.wait()) ++told;
                ++ended;
            });
        }
        green::yield();
        event.set();
        event.clear();
        CHECK(ended == 0);
        settle();
        CHECK(told == waiters);
        CHECK(ended == waiters);

        CHECK_FALSE(event.wait(10ms));
        event.set();
        const auto switches = green::hub_figures().switches;
        CHECK(event.wait());
        CHECK(green::hub_figures().switches == switches);
    });
}

TEST_CASE("C047: one-shot result", "[conformance]") {
    run_green([] {
        green::AsyncResult<int> result;
        green::AsyncResult<int> empty;
        const std::exception* caught = nullptr;
        const auto get = [&] {
            try {
                result.get();
            } catch (const std::exception& error) {
                caught = &error;
            }
        };
        auto waiter = green::spawn(get);
        green::yield();

        const auto error = std::make_exception_ptr(std::runtime_error("boom"));
        const std::exception* object = nullptr;
        try {
            std::rethrow_exception(error);
        } catch (const std::exception& same) {
            object = &same;
        }
        CHECK(result.set_exception(error));
        green::yield();
        CHECK(waiter.ready());
        CHECK(caught == object);
        caught = nullptr;
        get();
        CHECK(caught == object);
        CHECK(result.wait());

        const auto switches = green::hub_figures().switches;
        CHECK_THROWS_AS(empty.get(green::Deadline::passed()), green::Timeout);
        CHECK(green::hub_figures().switches == switches);
        CHECK(empty.get_for(10ms).value_or(25) == 25);
    });
}
