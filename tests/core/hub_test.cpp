#include <thread>

#include <catch2/catch.hpp>

#include <green/detail/fd_wait.hpp>
#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;
namespace gd = green::detail;

TEST_CASE("hub: two greenlets with two steps each give A1 A2 B1 B2", "[core][hub]") {
    run_green([] {
        std::string log;
        for (const char who : {'1', '2'}) {
            green::spawn([&log, who] {
                log += std::string("A") + who;
                green::yield();
                log += std::string("B") + who;
            });
        }
        settle();
        CHECK(log == "A1A2B1B2");
    });
}

TEST_CASE("hub: when nothing can wake anybody main gets LoopExit with who waits on what",
          "[core][hub]") {
    run_green([] {
        green::Event never;
        auto waiter = green::spawn([&] { never.wait(); });
        waiter.set_name("the other one");
        std::string text;
        try {
            waiter.join();
        } catch (const green::LoopExit& exit) {
            text = exit.what();
        }
        INFO(text);
        CHECK(text.find("main: waits on the end of the other one") != std::string::npos);
        CHECK(text.find("the other one: waits on an event") != std::string::npos);
        CHECK(text.find("spawned at") != std::string::npos);
        // The hub is as usable as before, and the greenlet still waits.
        green::sleep(1ms);
        never.set();
        CHECK(waiter.join());
    });
}

TEST_CASE("hub: in a virtual world waiting for a descriptor that nobody moves is a deadlock too",
          "[core][hub]") {
    run_green([](tests::VirtualReactor& world) {
        constexpr int fd = 100;
        gd::FdTable& table = gd::Hub::current().fds();
        table.open(fd);
        const auto wait = [] {
            gd::FdNode node{fd, gd::Direction::read};
            node.blocked();
            (void)gd::park(node, green::Deadline::never());
        };
        CHECK_THROWS_AS(wait(), green::LoopExit);
        // What is still to come is waited for, and time goes on until then.
        const green::TimePoint start = green::now();
        world.at(start + 1h, [&] { world.make_ready(fd, {true, false}); });
        wait();
        CHECK(green::now() == start + 1h);
        table.close(fd);
    });
}

TEST_CASE("hub: a callback that waits is told so and the hub goes on", "[core][hub]") {
    run_green([] {
        const tests::Errors errors;
        green::HubRef{}.post([] { green::sleep(1ms); });
        green::HubRef{}.post([] { throw std::runtime_error("boom"); });
        green::sleep(5ms);
        REQUIRE(errors.count() == 2);
        CHECK(errors.all[0].find("must not wait") != std::string::npos);
        CHECK(errors.all[1].find("boom") != std::string::npos);
    });
}

TEST_CASE("hub: waiting inside a NoSwitch fence is refused", "[core][hub]") {
    run_green([] {
        {
            const green::NoSwitch fence{"updating the roster"};
            CHECK_THROWS_WITH(green::yield(), Catch::Contains("updating the roster"));
            CHECK_THROWS_AS(green::sleep(1ms), green::BlockingInHub);
        }
        green::yield();
    });
}

TEST_CASE("hub: an error handler that throws loses nothing", "[core][hub]") {
    run_green([] {
        green::set_error_handler([](const green::ErrorReport&) { throw 1; });
        for (int i = 0; i < 100; ++i) {
            auto greenlet = green::spawn([] { throw std::runtime_error("boom"); });
            CHECK_THROWS_WITH(greenlet.get(), "boom");
        }
        green::set_error_handler({});
    });
}

TEST_CASE("hub: a thread wakes a sleeping hub", "[core][hub]") {
    tests::run_green_for_real([] {
        green::Event event;
        int calls = 0;
        const green::HubRef hub;
        std::thread thread;
        auto waiter = green::spawn([&] {
            // The sleep keeps the hub alive; what ends it is the post.
            while (!event.wait(1h)) {
            }
        });
        green::yield();
        thread = std::thread([&] {
            for (int i = 0; i < 10; ++i) {
                hub.post([&] {
                    if (++calls == 10) event.set();
                });
            }
        });
        CHECK(waiter.join());
        thread.join();
        CHECK(calls == 10);
    });
}

TEST_CASE("hub: a busy ring still looks outside", "[core][hub]") {
    run_green([] {
        bool posted = false;
        auto busy = green::spawn([&] {
            while (!posted) green::yield();
        });
        green::yield();
        green::HubRef{}.post([&] { posted = true; });
        CHECK(busy.join());
    });
}

TEST_CASE("hub: greenlets that are left when it goes are unwound", "[core][hub]") {
    auto token = std::make_shared<int>(1);
    {
        gd::Hub hub{std::make_unique<tests::VirtualReactor>()};
        green::Event never;
        green::spawn([&, token] { never.wait(); });
        green::spawn([token] { green::sleep(1h); });
        green::yield();
        green::spawn([token] {});
        CHECK(token.use_count() == 4);
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("hub: greenlets that others start while they die with it are unwound too",
          "[core][hub]") {
    auto token = std::make_shared<int>(1);
    {
        gd::Hub hub{std::make_unique<tests::VirtualReactor>()};
        struct StartsAnother {
            std::shared_ptr<int> held;
            ~StartsAnother() {
                green::spawn([held = held] { green::sleep(1h); });
            }
        };
        green::spawn([&] {
            const StartsAnother last_words{token};
            green::sleep(1h);
        });
        green::yield();
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("hub: a report of a descriptor's former life does not reach the next", "[core][hub]") {
    run_green([](tests::VirtualReactor& world) {
        constexpr int fd = 100;
        gd::FdTable& table = gd::Hub::current().fds();
        table.open(fd);
        auto wait = [] {
            gd::FdNode node{fd, gd::Direction::read};
            node.blocked();
            CHECK(gd::park(node, green::Deadline::never()));
            node.check_open();
        };
        const tests::Errors errors;
        auto first = green::spawn(wait);
        settle();
        const auto old_generation = table.entry(fd).generation;
        table.close(fd);
        settle();
        CHECK_FALSE(first.successful());
        CHECK(errors.all.at(0).find("closed by another greenlet") != std::string::npos);

        table.open(fd);
        auto second = green::spawn(wait);
        settle();
        world.report_stale(fd, old_generation);
        settle();
        CHECK_FALSE(second.ready());
        world.make_ready(fd, {true, false});
        settle();
        CHECK(second.successful());
        table.close(fd);
    });
}

TEST_CASE("hub: a second greenlet that waits for the same side is refused, the first undisturbed",
          "[core][hub]") {
    run_green([](tests::VirtualReactor& world) {
        constexpr int fd = 100;
        gd::FdTable& table = gd::Hub::current().fds();
        table.open(fd);
        auto wait = [](gd::Direction direction) {
            gd::FdNode node{fd, direction};
            node.blocked();
            return gd::park(node, green::Deadline::never());
        };
        auto reader = green::spawn(wait, gd::Direction::read);
        auto writer = green::spawn(wait, gd::Direction::write);
        settle();
        CHECK_THROWS_AS(wait(gd::Direction::read), green::ConcurrentUse);
        world.make_ready(fd, {true, false});
        settle();
        CHECK(reader.ready());
        CHECK_FALSE(writer.ready());
        writer.kill();
        table.close(fd);
    });
}
