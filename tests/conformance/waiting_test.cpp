// Group B: which errors reach whom, and waiting for several objects.

#include <optional>
#include <stdexcept>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/green.hpp>

#include "sched/hub.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

namespace {

struct Boom : std::runtime_error {
    Boom() : std::runtime_error{"boom"} {}
};
struct Terminate : green::FatalError {
    Terminate() : FatalError{"the end"} {}
};

}  // namespace

TEST_CASE("C020: deadlock error", "[conformance]") {
    run_green([] {
        green::Queue<int> queue;
        CHECK_THROWS_AS(queue.get(), green::LoopExit);
        green::sleep(1ms);
        CHECK(green::spawn([] { return 3; }).get() == 3);
        queue.put(1);
        CHECK(queue.get() == 1);
    });
}

TEST_CASE("C021: which errors reach main", "[conformance]") {
    run_green([] {
        const tests::Errors errors;
        const auto in_callback = [](auto error) { green::HubRef{}.post([error] { throw error; }); };
        const auto in_greenlet = [](auto error) { green::spawn([error] { throw error; }); };

        in_callback(Boom{});
        green::sleep(1ms);
        CHECK(errors.count() == 1);
        in_greenlet(Boom{});
        green::sleep(1ms);
        CHECK(errors.count() == 2);

        in_callback(Terminate{});
        CHECK_THROWS_WITH(green::sleep(1ms), "the end");
        in_greenlet(Terminate{});
        CHECK_THROWS_AS(green::sleep(1ms), Terminate);
        CHECK(errors.count() == 2);
        green::sleep(1ms);
        CHECK(green::spawn([] { return 1; }).get() == 1);
    });
}

TEST_CASE("C023: an error handler that throws", "[conformance]") {
    run_green([] {
        green::set_error_handler([](const green::ErrorReport&) { throw 1; });
        for (int i = 0; i < 100; ++i) {
            const auto greenlet = green::spawn([] { throw Boom{}; });
            CHECK_THROWS_AS(greenlet.get(), Boom);
        }
        green::set_error_handler({});
    });
}

TEST_CASE("C024: wait for objects", "[conformance]") {
    const auto run = [](std::optional<green::Duration> limit, std::size_t count,
                        std::size_t expected, bool setter_lives) {
        run_green([&] {
            green::WaitOptions options{.count = count};
            if (limit) options.deadline = *limit;
            green::Event events[5];
            green::AsyncResult<int> results[5];
            std::vector<green::AnyWaitable> objects;
            for (auto& event : events) objects.emplace_back(event);
            for (auto& result : results) objects.emplace_back(result);
            auto setter = green::spawn([&] {
                for (int i = 0; i < 5; ++i) {
                    green::sleep(10ms);
                    events[i].set();
                    green::sleep(10ms);
                    results[i].set(i);
                }
            });
            const auto ready = green::wait(objects, options);
            REQUIRE(ready.size() == expected);
            for (std::size_t i = 0; i < ready.size(); ++i)
                CHECK(ready[i] == (i % 2 == 0 ? i / 2 : 5 + i / 2));
            CHECK(setter.started() == setter_lives);
            setter.kill();
        });
    };
    run(1s, 100, 10, false);  // it has set the last one and ended
    run({}, 1, 1, true);
    run({}, 2, 2, true);
    run({}, 100, 10, false);
    run(45ms, 100, 4, true);
}

TEST_CASE("C025: the early end of an iterated wait leaves nothing behind", "[conformance]") {
    run_green([] {
        green::Semaphore s1{0};
        green::Semaphore s2{0};
        green::spawn([&] { s1.release(); });
        {
            green::WaitSet set{s1, s2};
            CHECK(set.next() == 0U);
            CHECK(s2.waiting() == 1);
            CHECK(s1.waiting() == 0);
        }
        CHECK(s2.waiting() == 0);
        CHECK(s1.permits() == 1);
    });
}

TEST_CASE("C026: the consumer may suspend between items", "[conformance]") {
    run_green([] {
        const tests::Errors errors;
        auto finished = green::spawn([] {});
        finished.join();
        auto a = green::spawn([] { green::sleep(1ms); });
        auto fails = green::spawn([] { throw Boom{}; });
        auto b = green::spawn([] { green::sleep(15ms); });
        green::WaitSet set{finished, a, fails, b};
        std::vector<std::size_t> order;
        for (const std::size_t index : set) {
            order.push_back(index);
            green::sleep(10ms);
        }
        CHECK(order == std::vector<std::size_t>{0, 2, 1, 3});
    });
}

TEST_CASE("C027: waiting on things already ready", "[conformance]") {
    run_green([] {
        green::Event event;
        event.set();
        green::Semaphore semaphore{1};
        for (int i = 0; i < 2; ++i) CHECK(green::wait({event}).size() == 1);
        CHECK(green::wait({semaphore}).size() == 1);
        CHECK(semaphore.permits() == 1);
    });
}
