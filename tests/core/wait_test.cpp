#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/select.hpp>
#include <green/socket.hpp>
#include <green/thread_event.hpp>
#include <green/timeout.hpp>
#include <green/wait.hpp>
#include <green/watcher.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

using Indices = std::vector<std::size_t>;

TEST_CASE("wait: gives what is ready in the order in which it became so", "[core][wait]") {
    run_green([] {
        green::Event first;
        green::Event second;
        auto greenlet = green::spawn([&] {
            second.set();
            green::sleep(1ms);
            first.set();
        });
        CHECK(green::wait({first, second, greenlet, green::after(1h)}, {.count = 3}) ==
              Indices{1, 0, 2});
    });
}

TEST_CASE("wait: nothing to wait for, or no time, returns at once", "[core][wait]") {
    run_green([] {
        CHECK(green::wait({}).empty());
        green::Event never;
        const auto before = green::hub_figures().switches;
        CHECK(green::wait({never}, {.deadline = 0s}).empty());
        CHECK(green::wait({never}, {.count = 0}).empty());
        CHECK(green::hub_figures().switches == before);
        CHECK(never.waiting() == 0);
    });
}

TEST_CASE("wait: the same object may stand in it twice", "[core][wait]") {
    run_green([] {
        green::Event event;
        green::spawn([&] { event.set(); });
        CHECK(green::wait({event, event}) == Indices{0, 1});
    });
}

TEST_CASE("wait: a set hears what happens while nobody waits in it", "[core][wait]") {
    run_green([] {
        green::Event a;
        green::Event b;
        green::WaitSet set{a, b};
        b.set();
        b.clear();
        a.set();
        CHECK(set.next() == 1U);
        CHECK(set.add(b) == 2U);
        CHECK(set.next() == 0U);
        CHECK(set.remaining() == 1);
        CHECK_FALSE(set.next(5ms).has_value());
        b.set();
        CHECK(set.next() == 2U);
        CHECK_FALSE(set.next().has_value());
    });
}

TEST_CASE("wait: a kill in a set loses nothing and leaves nothing", "[core][wait]") {
    run_green([] {
        green::Event event;
        green::Event other;
        std::optional<green::WaitSet> set;
        set.emplace(std::initializer_list<green::AnyWaitable>{event, other});
        auto waiter = green::spawn([&] { (void)set->next(); });
        green::yield();
        event.set();
        waiter.kill();
        CHECK(set->next() == 0U);
        set.reset();
        CHECK(other.waiting() == 0);
    });
}

TEST_CASE("wait: a set that goes leaves no trace in the hub and in what it watched",
          "[core][wait]") {
    run_green([](tests::VirtualReactor& world) {
        const auto before = green::hub_figures();
        const auto watched = world.watched();
        green::Event event;
        green::ThreadEvent shared;
        const green::After late = green::after(1h);
        green::TimerWatcher timer{1h};
        green::IoWatcher io{0, green::IoEvents::read};
        auto greenlet = green::spawn([&] { event.wait(); });
        green::yield();
        {
            green::WaitSet set{event, shared, late, timer, io, greenlet};
            CHECK_FALSE(set.next(1ms));
            CHECK(green::hub_figures().timers > before.timers);
            CHECK(green::hub_figures().watchers == before.watchers + 2);
            CHECK(world.watched() > watched);
        }
        const auto after = green::hub_figures();
        CHECK(event.waiting() == 1);
        CHECK(after.timers == before.timers);
        CHECK(after.outside == before.outside);
        CHECK(after.watchers == before.watchers);
        CHECK_FALSE(timer.active());
        CHECK_FALSE(io.active());
        CHECK(world.watched() == watched);
        shared.set();
        event.set();
        CHECK(greenlet.join());
        const auto start = green::now();
        CHECK(green::hub_join(2h));
        CHECK(green::now() == start);  // nothing is left that would fire
    });
}

TEST_CASE("wait: a second greenlet in one set is refused", "[core][wait]") {
    run_green([] {
        green::Event event;
        green::WaitSet set{event};
        auto first = green::spawn([&] { return set.next(); });
        green::yield();
        CHECK_THROWS_AS(set.next(), green::ConcurrentUse);
        event.set();
        CHECK(first.get() == 0U);
    });
}

TEST_CASE("wait: descriptors, ready already and ready later", "[core][wait]") {
    tests::run_green_for_real([] {
        auto [a, b] = green::Stream::pair();
        CHECK(green::wait({green::readable(a.fd())}, {.deadline = 0s}).empty());
        CHECK(green::wait({green::writable(a.fd()), green::readable(a.fd())}, {.count = 1}) ==
              Indices{0});
        auto writer = green::spawn([&b = b] { b.write_all("x"); });
        CHECK(green::wait({green::readable(a.fd())}) == Indices{0});
        CHECK(green::wait({green::readable(a.fd())}) == Indices{0});  // nothing was taken
        char byte = 0;
        CHECK(a.read_some({&byte, 1}) == 1);
        CHECK(green::wait({green::readable(a.fd())}, {.deadline = 0s}).empty());
        a.close();
        CHECK_THROWS_AS(green::wait({green::readable(a.fd())}), std::system_error);
        writer.join();
    });
}

TEST_CASE("wait: a descriptor that is closed meanwhile is told as such", "[core][wait]") {
    tests::run_green_for_real([] {
        auto [a, b] = green::Stream::pair();
        auto closer = green::spawn([&a = a] { a.close(); });
        SECTION("to one that waits") {
            CHECK_THROWS_WITH(green::wait({green::readable(a.fd()), green::after(1h)}),
                              Catch::Contains("was closed by another greenlet"));
        }
        SECTION("to one that selects") {
            CHECK_THROWS_AS(green::select(green::after(1h), green::readable(a.fd())),
                            std::system_error);
        }
        SECTION("to a set, when it is asked") {
            green::WaitSet set{green::readable(a.fd()), green::readable(b.fd())};
            closer.join();
            CHECK_THROWS_AS(set.next(), std::system_error);
            CHECK(set.next() == 1);  // its peer has gone
        }
        closer.join();
    });
}

TEST_CASE("wait: links to anything run once, in order, and can be taken back", "[core][link]") {
    run_green([] {
        std::vector<int> order;
        green::Event event;
        const green::Link one = green::link(event, [&] { order.push_back(1); });
        {
            const green::Link gone = green::link(event, [&] { order.push_back(0); });
        }
        green::rawlink(event, [&] { order.push_back(2); }).detach();
        green::link(green::after(5ms), [&] { order.push_back(4); }).detach();
        CHECK(event.waiting() == 2);
        event.set();
        const green::Link late = green::link(event, [&] { order.push_back(3); });
        CHECK(order.empty());
        settle();
        event.clear();
        event.set();
        green::sleep(10ms);
        CHECK(order == std::vector{1, 2, 3, 4});
    });
}

TEST_CASE("wait: a link that outlives its hub does not count in the next one at the same address",
          "[core][wait][link]") {
    std::optional<green::detail::Hub> hub;
    hub.emplace(std::make_unique<tests::VirtualReactor>());
    std::optional<green::Link> late = green::link(green::after(1h), [] {});
    CHECK(green::hub_figures().outside == 1);
    hub.reset();
    hub.emplace(std::make_unique<tests::VirtualReactor>());
    late.reset();
    CHECK(green::hub_figures().outside == 0);
}

TEST_CASE("wait: a detached link whose time never comes goes with its hub, or its object",
          "[core][link]") {
    const auto token = std::make_shared<int>(0);
    green::Event never;
    {
        green::detail::Hub hub{std::make_unique<tests::VirtualReactor>()};
        const auto function = [token] { ++*token; };
        green::link(never, function).detach();
        green::link(green::after(1h), function).detach();
        {
            auto fresh = green::deferred([] {});
            fresh.link([token](const green::AnyGreenlet&) { ++*token; }).detach();
            const green::Link kept = fresh.link([](const green::AnyGreenlet&) {});
            CHECK(token.use_count() == 5);
        }
        CHECK(token.use_count() == 4);
        {
            green::Event brief;
            green::link(brief, function).detach();
        }
        green::yield();
    }
    CHECK(token.use_count() == 1);
    CHECK(*token == 0);
    CHECK(never.waiting() == 0);
}

TEST_CASE("wait: a link and a set may outlive the hub in which they watch a descriptor",
          "[core][wait][link]") {
    std::optional<std::pair<green::Stream, green::Stream>> ends;
    std::optional<green::Link> link;
    green::WaitSet set;
    bool called = false;
    std::thread{[&] {
        ends = green::Stream::pair();
        set.add(green::readable(ends->first.fd()));
        link = green::link(green::readable(ends->second.fd()), [&called] { called = true; });
    }}.join();
    CHECK_FALSE(called);
}

TEST_CASE("wait: a link and a limit may outlive the hub in which they wait for a time",
          "[core][wait][link]") {
    const auto limit = GENERATE(as<green::Duration>{}, 1us, 50ms, 1h);
    std::optional<green::Link> link;
    green::WaitSet set;
    std::thread{[&] {
        link = green::link(green::after(limit), [] {});
        set.add(green::after(limit));
    }}.join();
    link.reset();
    CHECK(set.remaining() == 1);
}

TEST_CASE("wait: whoever waits for the end of a greenlet that is dropped is told", "[core][wait]") {
    run_green([] {
        auto fresh = std::make_optional(green::deferred([] {}));
        green::WaitSet set{*fresh};
        const green::Link kept = fresh->link([](const green::AnyGreenlet&) {});
        fresh.reset();
        CHECK_THROWS_AS(set.next(), green::Closed);
    });
}

TEST_CASE("wait: a raw link must not wait", "[core][link]") {
    run_green([] {
        const tests::Errors errors;
        green::Event event;
        const green::Link link = green::rawlink(event, [] { green::sleep(1ms); });
        event.set();
        settle();
        REQUIRE(errors.count() == 1);
        CHECK(errors.all[0].find("BlockingInHub") != std::string::npos);
    });
}

TEST_CASE("wait: a link to the world outside keeps the hub alive", "[core][link]") {
    run_green([](tests::VirtualReactor& world) {
        green::ThreadEvent outside;
        green::Event inside;
        world.at(green::now() + 5ms, [&] { outside.set(); });
        const green::Link link = green::link(outside, [&] { inside.set(); });
        CHECK(green::hub_figures().outside == 1);
        CHECK(inside.wait());
        CHECK(green::hub_figures().outside == 0);

        green::ThreadEvent later;
        bool ran = false;
        world.at(green::now() + 5ms, [&] { later.set(); });
        green::link(later, [&] { ran = true; }).detach();
        CHECK(green::hub_join());
        CHECK(ran);

        green::ThreadEvent never;
        {
            const green::Link taken_back = green::link(never, [] {});
        }
        CHECK(green::hub_figures().outside == 0);
    });
}
