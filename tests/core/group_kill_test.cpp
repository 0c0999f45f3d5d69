// Groups that are killed, by whom and when.

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/group.hpp>
#include <green/shield.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;

namespace {

/// Runs the function when the last copy of what it returns goes.
std::shared_ptr<void> at_the_end(std::function<void()> function) {
    return {nullptr, [function = std::move(function)](void*) { function(); }};
}

}  // namespace

TEST_CASE("group: a reason to kill becomes the members' failure", "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        green::Group group;
        auto running = group.spawn([] { green::sleep(1h); });
        green::yield();
        auto fresh = group.spawn([] { FAIL("never runs"); });
        CHECK(group.kill(std::make_exception_ptr(std::runtime_error("enough"))).empty());
        CHECK_THROWS_WITH(running.get(), "enough");
        CHECK_THROWS_WITH(fresh.get(), "enough");
    });
}

TEST_CASE("group: nobody is shot twice, whatever the reason", "[core][group]") {
    run_green([] {
        green::Group group;
        std::vector<std::string> shots;
        auto diehard = group.spawn([&] {
            for (int i = 0; i < 3; ++i) {
                try {
                    green::sleep(10ms);
                } catch (const green::GreenletExit&) {
                    shots.emplace_back("exit");
                } catch (const std::runtime_error& e) {
                    shots.emplace_back(e.what());
                }
            }
        });
        green::yield();
        const auto reason = std::make_exception_ptr(std::runtime_error("boom"));
        group.kill_soon(reason);
        green::yield();
        group.kill_soon();
        CHECK_FALSE(group.killone(diehard));  // at once
        CHECK(group.kill(reason, 1ms).size() == 1);
        CHECK(group.contains(diehard));
        CHECK(group.join());
        CHECK(shots == std::vector<std::string>{"boom"});
    });
}

TEST_CASE("group: who comes while a group is killed dies with it", "[core][group]") {
    run_green([] {
        green::Group group;
        green::AnyGreenlet late = green::current();
        group.spawn([&] {
            try {
                green::sleep(1h);
            } catch (const green::GreenletExit&) {
                late = group.spawn([] { FAIL("never runs"); });
                group.apply_async([] { FAIL("never runs"); });
                auto stranger = green::spawn([] { green::sleep(1h); });
                green::yield();
                group.add(stranger);
                throw;
            }
        });
        green::yield();
        CHECK(group.kill().empty());
        CHECK(late.successful());
        CHECK(group.empty());
        auto later = group.spawn([] { return 1; });  // the killing is over
        CHECK(later.get() == 1);
    });
}

TEST_CASE("group: who comes after a kill has given up lives", "[core][group]") {
    run_green([] {
        green::Group group;
        group.spawn([] {
            const green::Shield shield;
            green::sleep(10ms);
        });
        green::yield();
        CHECK(group.kill(1ms).size() == 1);
        auto later = group.spawn([] { return 1; });
        CHECK(later.get() == 1);
        CHECK(group.join());
    });
}

TEST_CASE("group: a member that kills its group shoots the others first", "[core][group]") {
    run_green([] {
        green::Group group;
        bool went_on = false;
        std::vector<green::AnyGreenlet> crew;
        crew.push_back(group.spawn([&] {
            green::yield();
            group.kill();
            went_on = true;
        }));
        for (int i = 0; i < 3; ++i) crew.push_back(group.spawn([] { green::sleep(1h); }));
        CHECK(group.join(1ms));
        CHECK_FALSE(went_on);
        for (const auto& member : crew) CHECK(member.successful());
    });
}

TEST_CASE("group: killone kills a member and nobody else", "[core][group]") {
    run_green([] {
        green::Group group;
        auto stranger = green::spawn([] { green::sleep(10ms); });
        auto one = group.spawn([] { green::sleep(1h); });
        auto other = group.spawn([] { green::sleep(10ms); });
        auto slow = group.spawn([] {
            const green::Shield shield;
            green::sleep(10ms);
        });
        green::yield();
        CHECK_FALSE(group.killone(stranger));
        CHECK(group.killone(one));
        CHECK(group.killone(one));  // has ended
        CHECK_FALSE(group.killone(slow, 1ms));
        CHECK(group.size() == 2);
        CHECK(group.join());
        CHECK(stranger.join());
        CHECK(stranger.successful());
    });
}

TEST_CASE("group: killing it while a dying member's baggage changes it", "[core][group]") {
    run_green([] {
        green::Group group;
        std::vector<green::AnyGreenlet> crew;
        struct Baggage {
            green::Group* group;
            std::vector<green::AnyGreenlet>* crew;
            ~Baggage() {
                for (const auto& member : *crew) group->discard(member);
            }
        };
        crew.push_back(group.spawn([baggage = std::make_unique<Baggage>(&group, &crew)] {}));
        for (int i = 0; i < 3; ++i) crew.push_back(group.spawn([] { green::sleep(1ms); }));
        CHECK(group.kill().empty());
        green::sleep(2ms);
        for (const auto& member : crew) CHECK(member.ready());
    });
}

TEST_CASE("group: members that kill it while they clean up wait for the others only",
          "[core][group]") {
    run_green([] {
        green::Group group;
        std::vector<std::size_t> survivors;
        for (int i = 0; i < 2; ++i) {
            group.spawn([&] {
                try {
                    green::sleep(1h);
                } catch (const green::Interrupt&) {
                    survivors.push_back(group.kill().size());
                    throw;
                }
            });
        }
        group.spawn([] {
            const green::Shield shield;
            green::sleep(10ms);
        });
        green::yield();
        const green::TimePoint begin = green::now();
        CHECK(group.kill(1h).empty());
        CHECK(green::now() - begin == 10ms);
        CHECK(survivors == std::vector<std::size_t>{2, 1});  // itself, and the other one
    });
}

TEST_CASE("group: members that kill it are back when the last of the others has ended",
          "[core][group]") {
    run_green([] {
        green::Group group;
        const green::TimePoint begin = green::now();
        std::vector<green::Duration> back;
        const auto kill_after = [&](green::Duration when) {
            const green::Shield shield;
            green::sleep(when);
            CHECK(group.kill().size() == 2);  // the two of them
            back.push_back(green::now() - begin);
            green::sleep(1h);  // the first one back goes on, and is not waited for
        };
        SECTION("it ends while they wait") {
            group.spawn(kill_after, 0ms);
            group.spawn(kill_after, 0ms);
            group.spawn([] {
                const green::Shield shield;
                green::sleep(10ms);
            });
        }
        SECTION("it has ended when the last of them begins to wait") {
            group.spawn(kill_after, 1ms);
            group.spawn(kill_after, 10ms);
        }
        green::sleep(20ms);
        CHECK(back == std::vector<green::Duration>{10ms, 10ms});
    });
}

TEST_CASE("group: a member that destroys it runs on, and the others are waited for",
          "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        auto group = std::make_shared<green::Group>();
        std::vector<std::string> events;
        std::optional<green::AnyGreenlet> other;
        SECTION("with others") {
            other = group->spawn([&] {
                try {
                    green::sleep(1h);
                } catch (const green::Interrupt&) {
                    const green::Shield shield;
                    green::sleep(5ms);
                    events.emplace_back("another has ended");
                }
            });
        }
        SECTION("alone") { events.emplace_back("another has ended"); }
        SECTION("with its callable") {
            auto last = group->spawn([group] { green::sleep(1ms); });
            group.reset();
            CHECK(last.join(1s));
            CHECK(last.outcome() == green::Outcome::returned);
            return;
        }
        auto member = group->spawn([&, mine = group]() mutable {
            green::sleep(1ms);
            mine.reset();
            events.emplace_back("the group has gone");
            green::sleep(1ms);
            events.emplace_back("it runs on");
        });
        auto joiner = green::spawn([&, raw = group.get()] { CHECK(raw->join()); });
        green::yield();
        group.reset();
        CHECK(member.join(1s));
        CHECK(joiner.join(1s));
        CHECK(member.outcome() == green::Outcome::returned);
        CHECK(events ==
              std::vector<std::string>{"another has ended", "the group has gone", "it runs on"});
        CHECK(errors.all.empty());
    });
}

TEST_CASE("group: its last owner may be the callable of a member that never ran", "[core][group]") {
    run_green([] {
        auto group = std::make_shared<green::Group>();
        std::vector<std::string> events;
        auto running = group->spawn([&] {
            const auto ended = at_the_end([&] { events.emplace_back("the other has ended"); });
            green::sleep(1h);
        });
        green::yield();
        SECTION("which is killed") {
            auto unborn = group->spawn([group] {});
            group.reset();
            unborn.kill();
            CHECK(unborn.outcome() == green::Outcome::exited);
        }
        SECTION("which is killed by what another one had captured, that never ran either") {
            auto last = group->spawn([group] {});
            auto first = group->spawn([kill = at_the_end([last] { last.kill(); })] {});
            group.reset();
            first.kill();
            CHECK(last.outcome() == green::Outcome::exited);
            CHECK(first.outcome() == green::Outcome::exited);
        }
        SECTION("which the group itself kills, and others with it") {
            green::Group& alone = *group;
            auto unborn = group->spawn([group] {});
            auto last = group->spawn([] { FAIL("never runs"); });
            group.reset();
            if (GENERATE(true, false)) {
                CHECK(alone.kill().empty());
            } else {
                alone.kill_soon();
            }
            CHECK(unborn.outcome() == green::Outcome::exited);
            CHECK(last.outcome() == green::Outcome::exited);
        }
        CHECK(running.ready());
        CHECK(events == std::vector<std::string>{"the other has ended"});
    });
}

TEST_CASE("group: a member under a shield does not wait for its own end", "[core][group]") {
    run_green([] {
        const bool all = GENERATE(true, false);
        green::Group group;
        bool went_on = false;
        auto other = group.spawn([] { green::sleep(5ms); });
        auto member = group.spawn([&] {
            {
                const green::Shield shield;
                if (all) {
                    const auto survivors = group.kill();
                    CHECK(other.ready());
                    REQUIRE(survivors.size() == 1);
                    CHECK(survivors.front() == green::current());
                } else {
                    CHECK_FALSE(group.killone(green::current()));
                }
                went_on = true;
            }
            green::sleep(1h);
        });
        CHECK(group.join(10ms));
        CHECK(went_on);
        CHECK(member.outcome() == green::Outcome::exited);
    });
}
