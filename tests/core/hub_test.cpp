// What a hub promises of its turns: order, budget, deadlock, and what it tells of them.

#include <algorithm>
#include <random>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/detail/fd_wait.hpp>
#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/hub.hpp>
#include <green/joinall.hpp>
#include <green/shield.hpp>
#include <green/timeout.hpp>

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

TEST_CASE("hub: a budget without a limit of time is one of switches", "[core][hub]") {
    const auto body = [](tests::VirtualReactor& world) {
        auto busy = green::spawn([&] {
            for (int i = 0; i < 1000; ++i) {
                world.advance(1s);
                green::yield();
            }
        });
        auto other = green::spawn([&] {
            while (!busy.ready()) green::yield();
        });
        const std::uint64_t turns = green::hub_figures().turns;
        busy.join();
        CHECK(green::hub_figures().turns - turns < 10);
        other.join();
    };
    run_green(body, {.budget_time = green::Duration::max()});
}

TEST_CASE("hub: its figures say how long what is ready waits for its turn", "[core][hub]") {
    run_green([](tests::VirtualReactor& world) {
        green::sleep(1ms);
        CHECK(green::hub_figures().longest_lag == 0ms);
        const auto compute = [&world](green::Duration how_long) {
            green::sleep(1ms);
            world.advance(how_long);  // without giving way
        };
        auto first = green::spawn(compute, 30ms);
        auto second = green::spawn(compute, 12ms);
        green::joinall({first, second});
        green::sleep(1ms);
        CHECK(green::hub_figures().longest_lag == 42ms);
        green::spawn(compute, 5ms).join();
        green::sleep(1ms);
        CHECK(green::hub_figures().lag == 5ms);
        green::sleep(1ms);
        CHECK(green::hub_figures().lag == 0ms);
        CHECK(green::hub_figures().longest_lag == 42ms);
        // Time in which nobody is ready is none.
        green::sleep(1h);
        green::yield();
        CHECK(green::hub_figures().longest_lag == 42ms);
    });
}

TEST_CASE("hub: who waits longer than a turn lasts is seen at full length", "[core][hub]") {
    green::HubOptions config;
    config.budget_switches = 2;
    tests::run_green(
        [](tests::VirtualReactor& world) {
            std::vector<green::AnyGreenlet> crowd;
            for (int i = 0; i < 10; ++i) {
                crowd.push_back(green::spawn([&world] {
                    for (int step = 0; step < 3; ++step) {
                        green::yield();
                        world.advance(1ms);
                    }
                }));
            }
            green::joinall(crowd);
            CHECK(green::hub_figures().longest_lag >= 9ms);
            CHECK(green::hub_figures().longest_lag <= 11ms);
        },
        config);
}

TEST_CASE("hub: a crowd is woken in order, whoever of it and behind it is killed meanwhile",
          "[core][hub]") {
    // More than a turn has budget for, and than the scout needs to set out.
    static constexpr int many = 500;
    green::HubOptions config;
    config.budget_switches = 97;
    run_green(
        [](tests::VirtualReactor&) {
            std::mt19937_64 random{tests::seed()};
            const green::TimePoint morning = green::now() + 1s;
            std::vector<int> woken;
            std::vector<green::AnyGreenlet> unborn;
            std::vector<green::AnyGreenlet> crowd;
            int births = 0;
            for (int i = 0; i < many; ++i) {
                crowd.push_back(green::spawn([&, i] {
                    green::sleep_until(morning);
                    woken.push_back(i);
                    // Behind the crowd stand fresh ones; some die there before they have run.
                    unborn.push_back(green::spawn([&births] { ++births; }));
                    if (random() % 2 == 0) {
                        std::swap(unborn.back(), unborn[random() % unborn.size()]);
                        unborn.back().kill_soon();
                        unborn.pop_back();
                    }
                    if (random() % 8 == 0) crowd[random() % crowd.size()].kill_soon();
                    if (random() % 4 == 0) green::yield();
                }));
            }
            green::sleep_until(morning + 1ms);
            settle();
            CHECK(std::is_sorted(woken.begin(), woken.end()));
            CHECK(woken.size() > many / 2);
            CHECK(woken.size() < many);
            CHECK(births >= static_cast<int>(unborn.size()));
            for (const auto& greenlet : crowd) CHECK(greenlet.ready());
        },
        config);
}

TEST_CASE("hub: a limit that had passed lets nobody run, one that passes now lets all run once",
          "[core][hub]") {
    run_green([](tests::VirtualReactor& world) {
        green::Event never;
        int ran = 0;
        auto other = green::spawn([&] {
            for (;;) {
                ++ran;
                green::yield();
            }
        });
        CHECK_FALSE(never.wait(green::Deadline::at(green::now())));
        CHECK(ran == 0);
        world.advance(5ms);
        CHECK_FALSE(never.wait(green::Deadline::at(green::now() - 1ms)));
        CHECK(ran > 0);
        ran = 0;
        CHECK_FALSE(never.wait(green::Deadline::at(green::now() - 1ms)));  // it has looked since
        CHECK(ran == 0);
        other.kill();
    });
}

TEST_CASE("hub: of a sleep and a limit that pass in one turn, the one that was due first counts",
          "[core][hub]") {
    for (const auto limit : {4ms, 6ms}) {
        run_green([&](tests::VirtualReactor& world) {
            auto sleeper = green::spawn([&] {
                green::TimeoutScope scope{limit};
                green::sleep(5ms);
            });
            settle();
            world.advance(10ms);
            settle();
            CHECK(sleeper.ready());
            CHECK(sleeper.successful() == (limit > 5ms));
            if (!sleeper.successful()) CHECK_THROWS_AS(sleeper.get(), green::Timeout);
        });
    }
}
