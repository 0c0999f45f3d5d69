// Group A: greenlets.

#include <stdexcept>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/joinall.hpp>
#include <green/queue.hpp>
#include <green/trace.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using green::Outcome;
using tests::run_green;
using tests::settle;

namespace {

struct Boom : std::runtime_error {
    Boom() : std::runtime_error{"boom"} {}
};
std::exception_ptr boom() { return std::make_exception_ptr(Boom{}); }

void counting_link(const green::AnyGreenlet& greenlet, int& count) {
    greenlet.link([&count](const green::AnyGreenlet&) { ++count; }).detach();
}

}  // namespace

TEST_CASE("C001: spawn does not run", "[conformance]") {
    run_green([] {
        std::vector<int> order;
        for (int i = 1; i <= 3; ++i) green::spawn([&order, i] { order.push_back(i); });
        CHECK(order.empty());
        green::yield();
        CHECK(order == std::vector{1, 2, 3});
    });
}

TEST_CASE("C003: start is idempotent", "[conformance]") {
    run_green([] {
        int runs = 0;
        auto greenlet = green::spawn([&] {
            ++runs;
            green::sleep(10ms);
        });
        greenlet.start();
        green::yield();
        greenlet.start();
        greenlet.start_later(1ms);
        greenlet.join();
        greenlet.start();
        greenlet.start_later(1ms);
        green::sleep(20ms);
        CHECK(runs == 1);
        CHECK(greenlet.ready());
    });
}

TEST_CASE("C004: kill before any start", "[conformance]") {
    run_green([] {
        bool ran = false;
        int links = 0;
        const auto body = [&ran] { ran = true; };
        for (const bool is_delayed : {false, true}) {
            const green::AnyGreenlet greenlet =
                is_delayed ? green::spawn_later(100ms, body) : green::deferred(body);
            links = 0;
            counting_link(greenlet, links);
            CHECK(greenlet.kill());
            CHECK(greenlet.kill());
            green::sleep(200ms);
            CHECK_FALSE(ran);
            CHECK(greenlet.ready());
            CHECK_FALSE(greenlet.started());
            CHECK(greenlet.successful());
            CHECK(greenlet.outcome() == Outcome::exited);
            CHECK(greenlet.exception() == nullptr);
            CHECK(links == 1);
        }
    });
}

TEST_CASE("C006: kill while sleeping", "[conformance]") {
    run_green([] {
        bool flag = false;
        const auto body = [&flag] {
            green::sleep(10s);
            flag = true;
        };
        auto first = green::spawn(body);
        auto second = green::spawn(body);
        const tests::Errors errors;
        green::yield();
        first.kill_soon();
        CHECK_FALSE(first.ready());
        green::yield();
        CHECK(first.ready());
        CHECK(first.successful());
        CHECK(first.outcome() == Outcome::exited);
        second.kill(boom());
        CHECK_FALSE(second.successful());
        CHECK(second.outcome() == Outcome::failed);
        CHECK_THROWS_AS(second.get(), Boom);
        CHECK_FALSE(flag);
        CHECK(errors.count() == 1);
    });
}

TEST_CASE("C008: links keep order", "[conformance]") {
    run_green([] {
        std::vector<int> order;
        auto greenlet = green::spawn([&] { order.push_back(-1); });
        for (int i = 0; i < 1000; ++i)
            greenlet.link([&order, i](const green::AnyGreenlet&) { order.push_back(i); }).detach();
        greenlet.join();
        settle();
        REQUIRE(order.size() == 1001);
        for (int i = 0; i <= 1000; ++i) CHECK(order[static_cast<std::size_t>(i)] == i - 1);
    });
}

namespace {

/// Two listeners that each take the other one back, and throw; returns how many of them ran. The
/// third, which nobody takes back, must run.
template <class LinkTo>
int mutual_unlinking(LinkTo link_to, const std::function<void()>& finish) {
    int entries = 0;
    bool third_ran = false;
    std::optional<green::Link> a;
    std::optional<green::Link> b;
    a.emplace(link_to([&] {
        ++entries;
        b.reset();
        throw Boom{};
    }));
    b.emplace(link_to([&] {
        ++entries;
        a.reset();
        throw Boom{};
    }));
    const green::Link third = link_to([&] { third_ran = true; });
    finish();
    settle();
    CHECK(third_ran);
    return entries;
}

}  // namespace

TEST_CASE("C010: a link may remove another one of the same pass", "[conformance]") {
    run_green([] {
        const tests::Errors errors;
        auto source = green::deferred([] {});
        CHECK(mutual_unlinking([&](auto f) { return green::link(source, f); },
                               [&] { source.start(); }) == 1);
        auto other = green::deferred([] {});
        CHECK(mutual_unlinking([&](auto f) { return green::rawlink(other, f); },
                               [&] { other.start(); }) == 1);
        green::AsyncResult<int> result;
        CHECK(mutual_unlinking([&](auto f) { return green::rawlink(result, f); },
                               [&] { result.set(1); }) == 1);
        CHECK(errors.count() == 3);
    });
}

TEST_CASE("C011: late link", "[conformance]") {
    run_green([] {
        const tests::Errors errors;
        auto value = green::spawn([] { return 1; });
        auto error = green::spawn([] { throw Boom{}; });
        green::joinall({value, error});
        for (const auto& greenlet : {green::AnyGreenlet{value}, green::AnyGreenlet{error}}) {
            for (int i = 0; i < 3; ++i) {
                int calls = 0;
                counting_link(greenlet, calls);
                CHECK(calls == 0);
                green::yield();
                CHECK(calls == 1);
                settle();
                CHECK(calls == 1);
            }
        }
    });
}

TEST_CASE("C012: filtered links and link targets", "[conformance]") {
    run_green([] {
        const tests::Errors errors;
        auto returns = green::spawn([] { return 25; });
        auto fails = green::spawn([]() -> int { throw Boom{}; });
        auto killed = green::spawn([] {
            green::sleep(1h);
            return 0;
        });
        std::vector<int> values;
        std::vector<int> failures;
        green::AsyncResult<int> results[3];
        green::Queue<green::Greenlet<int>> queue;
        std::vector<green::Link> links;
        int index = 0;
        for (const auto& greenlet : {returns, fails, killed}) {
            const int i = index++;
            links.push_back(
                greenlet.link_value([&, i](const green::AnyGreenlet&) { values.push_back(i); }));
            links.push_back(greenlet.link_exception(
                [&, i](const green::AnyGreenlet&) { failures.push_back(i); }));
            links.push_back(greenlet.link(results[i]));
            links.push_back(greenlet.link(queue));
        }
        green::yield();
        killed.kill();
        settle();
        CHECK(values == std::vector{0, 2});
        CHECK(failures == std::vector{1});
        CHECK(results[0].get() == 25);
        CHECK_THROWS_AS(results[1].get(), Boom);
        CHECK_THROWS_AS(results[2].get(), green::GreenletExit);
        CHECK(queue.get() == returns);
        CHECK(queue.get() == fails);
        CHECK(queue.get() == killed);
    });
}

TEST_CASE("C013: first failure in time", "[conformance]") {
    run_green([] {
        const tests::Errors errors;
        auto a = green::spawn([] {
            green::sleep(100ms);
            throw std::runtime_error("first");
        });
        auto b = green::spawn([] { throw std::runtime_error("second"); });
        const auto start = green::now();
        CHECK_THROWS_WITH(green::joinall({a, b}, green::JoinOptions{.raise_error = true}),
                          "second");
        CHECK(green::now() == start);
        CHECK(green::joinall({a, b, a}).size() == 3);
    });
}

TEST_CASE("C014: count with errors ignored", "[conformance]") {
    run_green([] {
        const tests::Errors errors;
        auto endless = green::spawn([] { green::sleep(1h); });
        auto failer = green::spawn([] { throw Boom{}; });
        const auto ended = green::joinall({endless, failer}, green::JoinOptions{.count = 1});
        REQUIRE(ended.size() == 1);
        CHECK(ended[0] == failer);
        CHECK(endless.started());
        CHECK(endless.kill());
    });
}

TEST_CASE("C015: get and join rules", "[conformance]") {
    run_green([] {
        auto greenlet = green::spawn([] {
            green::sleep(1h);
            return 1;
        });
        CHECK_FALSE(greenlet.try_get().has_value());
        const auto start = green::now();
        CHECK_THROWS_AS(greenlet.get(20ms), green::Timeout);
        CHECK(green::now() - start == 20ms);
        CHECK_FALSE(greenlet.join(20ms));
        CHECK(green::now() - start == 40ms);
        greenlet.kill();
        CHECK_THROWS_AS(greenlet.get(), green::GreenletExit);

        const tests::Errors errors;
        auto failed = green::spawn([]() -> int { throw Boom{}; });
        const Boom* first = nullptr;
        for (int i = 0; i < 2; ++i) {
            try {
                (void)failed.get();
            } catch (const Boom& error) {
                if (first == nullptr) first = &error;
                CHECK(&error == first);
            }
        }
        CHECK(first != nullptr);
    });
}

TEST_CASE("C017: never dead while running", "[conformance]") {
    run_green([] {
        int samples = 0;
        int dead = 0;
        bool body_ended = false;
        bool link_after_body = false;
        green::set_trace_hook([&](green::TraceEvent event, const green::AnyGreenlet& greenlet) {
            if (event != green::TraceEvent::entered) return;
            ++samples;
            dead += greenlet.ready();
        });
        auto greenlet = green::spawn([&] {
            green::yield();
            body_ended = true;
        });
        const green::Link link =
            greenlet.link([&](const green::AnyGreenlet&) { link_after_body = body_ended; });
        greenlet.join();
        settle();
        green::set_trace_hook({});
        CHECK(samples >= 4);
        CHECK(dead == 0);
        CHECK(link_after_body);
    });
}
