#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/joinall.hpp>
#include <green/shield.hpp>
#include <green/timeout.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("greenlet: spawn runs nothing before the caller waits, then in order",
          "[core][greenlet]") {
    run_green([] {
        std::vector<int> log;
        for (int i = 1; i <= 3; ++i) green::spawn([&log, i] { log.push_back(i); });
        CHECK(log.empty());
        green::yield();
        CHECK(log == std::vector{1, 2, 3});
    });
}

TEST_CASE("greenlet: start is silent the second time, and after the end", "[core][greenlet]") {
    run_green([] {
        int runs = 0;
        auto greenlet = green::deferred([&] {
            ++runs;
            green::sleep(1ms);
        });
        settle();
        CHECK_FALSE(greenlet.started());
        greenlet.start();
        greenlet.start();
        green::yield();
        CHECK(greenlet.started());
        greenlet.start();
        greenlet.join();
        greenlet.start();
        settle();
        CHECK(runs == 1);
        CHECK(greenlet.ready());
    });
}

TEST_CASE("greenlet: get gives the value, and to all who ask", "[core][greenlet]") {
    run_green([] {
        auto greenlet = green::spawn(
            [](std::string text, int times) { return text + std::to_string(times); }, "x", 3);
        auto asker = green::spawn([&] { return greenlet.get(); });
        CHECK(greenlet.get() == "x3");
        CHECK(asker.get() == "x3");
        CHECK(greenlet.try_get() == "x3");
        CHECK(greenlet.take() == "x3");
    });
}

TEST_CASE("greenlet: a move-only value can be taken", "[core][greenlet]") {
    run_green([] {
        auto greenlet = green::spawn([] { return std::make_unique<int>(7); });
        CHECK(*greenlet.take() == 7);
    });
}

TEST_CASE("greenlet: get rethrows the same error object each time and it is reported once",
          "[core][greenlet]") {
    run_green([] {
        const tests::Errors errors;
        auto greenlet = green::spawn([] { throw std::runtime_error("boom"); });
        const std::exception* seen[2] = {};
        for (auto& error : seen) {
            try {
                greenlet.get();
            } catch (const std::runtime_error& e) {
                error = &e;
            }
        }
        CHECK(seen[0] != nullptr);
        CHECK(seen[0] == seen[1]);
        CHECK_FALSE(greenlet.successful());
        REQUIRE(errors.count() == 1);
        CHECK(errors.all[0].find("boom") != std::string::npos);
    });
}

TEST_CASE("greenlet: join waits no longer than told and says which it was", "[core][greenlet]") {
    run_green([] {
        auto greenlet = green::spawn([] { green::sleep(100ms); });
        const auto start = green::now();
        CHECK_FALSE(greenlet.join(20ms));
        CHECK(green::now() - start == 20ms);
        CHECK_FALSE(greenlet.join(10ms));
        CHECK_THROWS_AS(greenlet.get(green::Deadline{10ms}), green::Timeout);
        CHECK(greenlet.join(60ms));
        CHECK(green::now() - start == 100ms);
        CHECK(greenlet.join());
    });
}

TEST_CASE("greenlet: one that is killed before it ran never runs and frees what it captured",
          "[core][greenlet]") {
    run_green([] {
        auto token = std::make_shared<int>(1);
        bool ran = false;
        auto greenlet = green::spawn([&ran, token] { ran = true; });
        auto never = green::deferred([&ran, token] { ran = true; });
        CHECK(token.use_count() == 3);
        CHECK(greenlet.kill());
        CHECK(never.kill());
        CHECK(token.use_count() == 1);
        CHECK(greenlet.ready());
        CHECK(greenlet.successful());
        CHECK_THROWS_AS(greenlet.get(), green::GreenletExit);
        settle();
        CHECK_FALSE(ran);
    });
}

TEST_CASE("greenlet: a kill appears at the suspension point and runs destructors",
          "[core][greenlet]") {
    run_green([] {
        auto token = std::make_shared<int>(1);
        bool passed = false;
        auto greenlet = green::spawn([&, token] {
            const auto copy = token;
            green::sleep(10s);
            passed = true;
        });
        green::yield();
        greenlet.kill_soon();
        CHECK_FALSE(greenlet.ready());
        green::yield();
        CHECK(greenlet.ready());
        CHECK(greenlet.successful());
        CHECK(token.use_count() == 1);
        CHECK_FALSE(passed);
    });
}

TEST_CASE("greenlet: a kill with a reason of one's own makes that its failure",
          "[core][greenlet]") {
    run_green([] {
        const tests::Errors errors;
        auto greenlet = green::spawn([] { green::sleep(10s); });
        green::yield();
        greenlet.kill(std::make_exception_ptr(std::runtime_error("boom")));
        CHECK_FALSE(greenlet.successful());
        CHECK_THROWS_WITH(greenlet.get(), "boom");
    });
}

TEST_CASE("greenlet: killall with a reason of one's own makes that the failure of each",
          "[core][greenlet]") {
    run_green([] {
        const tests::Errors errors;
        const auto reason = std::make_exception_ptr(std::runtime_error("enough"));
        auto sleeps = green::spawn([] { green::sleep(1h); });
        auto survives = green::spawn([] {
            try {
                green::sleep(1h);
            } catch (const std::runtime_error&) {
                green::sleep(1h);
            }
        });
        green::yield();
        auto never_ran = green::spawn([] { return 1; });
        const auto left = green::killall({sleeps, survives, never_ran}, reason, 10ms);
        CHECK(left == std::vector<green::AnyGreenlet>{survives});
        CHECK_THROWS_WITH(sleeps.get(), "enough");
        CHECK_THROWS_WITH(never_ran.get(), "enough");
        CHECK(green::killall({survives}, nullptr).empty());
        CHECK(survives.outcome() == green::Outcome::exited);

        auto suicide = green::spawn([&] { green::killall({green::current()}, reason); });
        CHECK_THROWS_WITH(suicide.get(), "enough");
    });
}

TEST_CASE("greenlet: a kill appears in the sleep that is over at the same time",
          "[core][greenlet]") {
    run_green([] {
        bool passed = false;
        auto greenlet = green::spawn([&] {
            green::yield();
            passed = true;
        });
        green::yield();  // it stands in the ring now, ahead of any kill
        greenlet.kill_soon();
        settle();
        CHECK(greenlet.ready());
        CHECK_FALSE(passed);
    });
}

TEST_CASE("greenlet: who catches a kill lives on and kill says so", "[core][greenlet]") {
    run_green([] {
        auto diehard = green::spawn([] {
            try {
                green::sleep(10s);
            } catch (const green::GreenletExit&) {
                green::sleep(50ms);
            }
            return 5;
        });
        green::yield();
        CHECK_FALSE(diehard.kill(10ms));
        CHECK(diehard.get() == 5);
    });
}

TEST_CASE("greenlet: killing oneself throws at once", "[core][greenlet]") {
    run_green([] {
        bool passed = false;
        auto greenlet = green::spawn([&] {
            green::current().kill();
            passed = true;
        });
        CHECK(greenlet.join());
        CHECK(greenlet.successful());
        CHECK_FALSE(passed);
    });
}

TEST_CASE("greenlet: a shield holds a kill off until the next wait after it", "[core][greenlet]") {
    run_green([] {
        std::vector<std::string> log;
        auto greenlet = green::spawn([&] {
            {
                const green::Shield shield;
                green::sleep(20ms);
                log.emplace_back("cleaned up");
            }
            log.emplace_back("still here");
            green::sleep(1ms);
            log.emplace_back("not reached");
        });
        green::yield();
        CHECK(greenlet.kill());
        CHECK(log == std::vector<std::string>{"cleaned up", "still here"});
    });
}

TEST_CASE("greenlet: no kill appears while its target unwinds", "[core][greenlet]") {
    run_green([] {
        bool destroyed = false;
        struct Waits {
            bool* done;
            ~Waits() {
                green::sleep(20ms);
                *done = true;
            }
        };
        auto greenlet = green::spawn([&] {
            try {
                const Waits waits{&destroyed};
                throw std::runtime_error("unwinds");
            } catch (const std::runtime_error&) {
            }
        });
        green::yield();
        CHECK(greenlet.kill());
        CHECK(destroyed);
        CHECK(greenlet.successful());
    });
}

TEST_CASE("greenlet: arguments and callable are freed when the run ends, not with the handle",
          "[core][greenlet]") {
    run_green([] {
        auto token = std::make_shared<int>(1);
        auto greenlet = green::spawn([](const std::shared_ptr<int>& held) { return *held; }, token);
        CHECK(greenlet.get() == 1);
        CHECK(token.use_count() == 1);
    });
}

TEST_CASE("greenlet: joinall takes any mix of types and a limit", "[core][greenlet]") {
    run_green([] {
        auto number = green::spawn([] { return 1; });
        auto text = green::spawn([] { return std::string("x"); });
        auto sleeper = green::spawn([] { green::sleep(1s); });
        CHECK(green::joinall({number, text, sleeper}, 10ms).size() == 2);
        CHECK(green::killall({number, text, sleeper}).empty());
    });
}

TEST_CASE("greenlet: dropping the handle lets it run on", "[core][greenlet]") {
    run_green([] {
        bool ran = false;
        {
            auto greenlet = green::spawn([&] {
                green::sleep(1ms);
                ran = true;
            });
        }
        green::sleep(2ms);
        CHECK(ran);
    });
}

TEST_CASE("greenlet: sleeping until a moment that has passed is a yield", "[core][greenlet]") {
    run_green([] {
        int rounds = 0;
        bool stop = false;
        auto other = green::spawn([&] {
            while (!stop) {
                ++rounds;
                green::yield();
            }
        });
        green::yield();
        for (const green::Duration ago : {1s, 0s}) {
            rounds = 0;
            green::sleep_until(green::now() - ago);
            CHECK(rounds == 1);
        }
        stop = true;
        other.join();
    });
}

TEST_CASE("greenlet: ten thousand come and go on few stacks", "[core][greenlet]") {
    run_green([] {
        int sum = 0;
        for (int i = 0; i < 10'000; ++i) {
            green::spawn([&sum] { ++sum; });
            if (i % 100 == 99) green::yield();
        }
        settle();
        CHECK(sum == 10'000);
    });
}

TEST_CASE(
    "greenlet: links run in order, each in a greenlet of its own, with the greenlet that ended",
    "[core][greenlet]") {
    run_green([] {
        const tests::Errors errors;
        std::vector<int> order;
        auto source = green::spawn([] { return 25; });
        std::vector<green::Link> links;
        for (int i = 0; i < 1000; ++i) {
            links.push_back(source.link([&order, i, &source](const green::AnyGreenlet& ended) {
                CHECK(ended == source);
                green::yield();
                order.push_back(i);
                if (i == 3) throw std::runtime_error("boom");
            }));
        }
        source.join();
        CHECK(order.empty());
        settle();
        CHECK(order.size() == 1000);
        CHECK(std::is_sorted(order.begin(), order.end()));
        CHECK(errors.count() == 1);
    });
}

TEST_CASE("greenlet: a late link fires too, not inside the call", "[core][greenlet]") {
    run_green([] {
        auto killed = green::spawn([] { green::sleep(1h); });
        killed.kill();
        int fired = 0;
        for (int i = 1; i <= 3; ++i) {
            const auto link =
                killed.link([&](const green::AnyGreenlet& ended) { fired += ended.successful(); });
            CHECK(fired == i - 1);
            settle();
            CHECK(fired == i);
        }
    });
}

TEST_CASE("greenlet: a link that is taken back does not run, also by another one of the same end",
          "[core][greenlet]") {
    run_green([] {
        int runs = 0;
        auto source = green::spawn([] {});
        {
            const auto gone = source.link([&](const green::AnyGreenlet&) { ++runs; });
        }
        std::optional<green::Link> first;
        std::optional<green::Link> second;
        first = source.link([&](const green::AnyGreenlet&) {
            ++runs;
            second.reset();
        });
        second = source.link([&](const green::AnyGreenlet&) {
            ++runs;
            first.reset();
        });
        settle();
        CHECK(runs == 1);
    });
}

TEST_CASE("greenlet: a detached link stays until the end and frees itself", "[core][greenlet]") {
    run_green([] {
        auto token = std::make_shared<int>(0);
        auto source = green::spawn([] { green::sleep(1ms); });
        source.link([token](const green::AnyGreenlet&) { ++*token; }).detach();
        CHECK(token.use_count() == 2);
        source.join();
        settle();
        CHECK(*token == 1);
        CHECK(token.use_count() == 1);
        source.link([token](const green::AnyGreenlet&) { ++*token; }).detach();
        settle();
        CHECK(*token == 2);
    });
}

TEST_CASE("greenlet: a value whose destructor asks who runs is destroyed once",
          "[core][greenlet]") {
    run_green([] {
        struct Asks {
            explicit Asks(int* count) noexcept : destroyed{count} {}
            Asks(Asks&& other) noexcept : destroyed{std::exchange(other.destroyed, nullptr)} {}
            ~Asks() {
                if (destroyed == nullptr) return;
                const green::AnyGreenlet me = green::current();
                ++*destroyed;
            }
            int* destroyed;
        };
        int destroyed = 0;
        green::spawn([&] { return Asks{&destroyed}; });
        settle();
        CHECK(destroyed == 1);
    });
}

TEST_CASE("greenlet: one that is killed before it ran is dead while what it captured goes",
          "[core][greenlet]") {
    run_green([] {
        struct Waits {
            ~Waits() { green::sleep(10ms); }
        };
        bool ran = false;
        auto body = [&ran, baggage = std::make_unique<Waits>()] { ran = true; };
        auto greenlet = GENERATE(false, true) ? green::spawn_later(5ms, std::move(body))
                                              : green::spawn(std::move(body));
        auto other = green::spawn([&] {
            CHECK(greenlet.ready());
            CHECK(greenlet.outcome() == green::Outcome::exited);
            CHECK(greenlet.kill());
        });
        // The killer is not interrupted in a destructor.
        CHECK(green::with_timeout(1ms, [&] { CHECK(greenlet.kill()); }));
        CHECK(other.ready());
        settle();
        CHECK_FALSE(ran);
    });
}

TEST_CASE("greenlet: killing oneself while one unwinds waits like under a shield",
          "[core][greenlet]") {
    run_green([] {
        struct Kills {
            ~Kills() { green::current().kill_soon(); }
        };
        std::vector<std::string> log;
        auto greenlet = green::spawn([&] {
            try {
                const Kills kills;
                throw std::runtime_error("unwinds");
            } catch (const std::runtime_error&) {
                log.emplace_back("caught");
            }
            green::sleep(1ms);
            log.emplace_back("not reached");
        });
        greenlet.join();
        CHECK(log == std::vector<std::string>{"caught"});
        CHECK(greenlet.outcome() == green::Outcome::exited);
    });
}
