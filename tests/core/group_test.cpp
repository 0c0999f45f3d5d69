#include <functional>
#include <optional>
#include <stdexcept>
#include <vector>

#include <catch2/catch.hpp>

#include <green/group.hpp>
#include <green/shield.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;

TEST_CASE("group: leaving its scope kills the members and waits for them", "[core][group]") {
    run_green([] {
        int cleaned_up = 0;
        struct Cleanup {
            int* counter;
            ~Cleanup() { ++*counter; }
        };
        {
            green::Group group;
            for (int i = 0; i < 3; ++i) {
                group.spawn([&] {
                    const Cleanup cleanup{&cleaned_up};
                    green::sleep(1h);
                });
            }
            green::yield();
            CHECK(group.size() == 3);
        }
        CHECK(cleaned_up == 3);
    });
}

TEST_CASE("group: join waits for all, also for those that come meanwhile", "[core][group]") {
    run_green([] {
        green::Group group;
        bool late_ran = false;
        group.spawn([&] {
            green::sleep(10ms);
            group.spawn([&] {
                green::sleep(10ms);
                late_ran = true;
            });
        });
        CHECK_FALSE(group.join(5ms));
        CHECK(group.join());
        CHECK(late_ran);
        CHECK(group.empty());
        CHECK(group.join());
    });
}

TEST_CASE("group: a member has left before those who join it run", "[core][group]") {
    run_green([] {
        green::Group group;
        auto member = group.spawn([] { return 1; });
        CHECK(member.get() == 1);
        CHECK(group.empty());
    });
}

TEST_CASE("group: kill shoots each member once and returns the survivors", "[core][group]") {
    run_green([] {
        green::Group group;
        int shots = 0;
        auto diehard = group.spawn([&] {
            for (int i = 0; i < 2; ++i) {
                try {
                    green::sleep(100ms);
                } catch (const green::GreenletExit&) {
                    ++shots;
                }
            }
        });
        group.spawn([] { green::sleep(1h); });
        green::yield();
        const auto survivors = group.kill(10ms);
        REQUIRE(survivors.size() == 1);
        CHECK(survivors[0] == diehard);
        CHECK(group.kill(10ms).size() == 1);
        CHECK(shots == 1);
        CHECK(group.join());
    });
}

TEST_CASE("group: a caller killed while it leaves the scope still waits for the members",
          "[core][group]") {
    run_green([] {
        bool member_done = false;
        auto owner = green::spawn([&] {
            green::Group group;
            group.spawn([&] {
                const green::Shield shield;
                green::sleep(50ms);
                member_done = true;
            });
            green::yield();
        });
        green::yield();
        green::yield();
        CHECK(owner.kill());
        CHECK(member_done);
    });
}

TEST_CASE("group: killed members that never ran are gone at once", "[core][group]") {
    run_green([] {
        green::Group group;
        for (int i = 0; i < 10; ++i) group.spawn([] { FAIL("never runs"); });
        CHECK(group.kill().empty());
        CHECK(group.empty());
    });
}

TEST_CASE("group: a greenlet is a member once, from add to discard", "[core][group]") {
    run_green([] {
        green::Group group;
        auto greenlet = green::spawn([] { green::sleep(1ms); });
        CHECK_FALSE(group.contains(greenlet));
        CHECK(group.add(greenlet));
        CHECK(group.add(greenlet));
        CHECK(group.size() == 1);
        CHECK(group.contains(greenlet));
        CHECK(group.members() == std::vector<green::AnyGreenlet>{greenlet});
        CHECK(group.discard(greenlet));
        CHECK_FALSE(group.discard(greenlet));
        CHECK(group.empty());
        CHECK_FALSE(group.contains(greenlet));
        CHECK(greenlet.join());
        CHECK(greenlet.successful());
        CHECK_FALSE(group.add(greenlet));
        CHECK(group.empty());
    });
}

TEST_CASE("group: a greenlet may be in several groups, and leaves them all", "[core][group]") {
    run_green([] {
        green::Group one;
        green::Group other;
        auto greenlet = one.spawn([] { green::sleep(1ms); });
        other.add(greenlet);
        CHECK(one.contains(greenlet));
        CHECK(other.contains(greenlet));
        CHECK(greenlet.join());
        CHECK(one.empty());
        CHECK(other.empty());
    });
}

TEST_CASE("group: a member that ends in the turn of a limit has ended", "[core][group]") {
    run_green([] {
        green::Group group;
        // Runs when the limit has woken the others, and before those.
        group.spawn([] { green::sleep(10ms); });
        auto joiner = green::spawn([&] { return group.join(10ms); });
        auto raiser = green::spawn([&] { return group.join_or_raise(10ms); });
        CHECK(joiner.get());
        CHECK(raiser.get());
    });
}

TEST_CASE("group: what was discarded outlives the group", "[core][group]") {
    run_green([] {
        bool done = false;
        {
            green::Group group;
            auto greenlet = group.spawn([&] {
                green::sleep(10ms);
                done = true;
            });
            green::yield();
            CHECK(group.discard(greenlet));
        }
        CHECK_FALSE(done);
        green::sleep(20ms);
        CHECK(done);
    });
}

TEST_CASE("group: discard can be linked to another greenlet's end", "[core][group]") {
    run_green([] {
        green::Group group;
        auto member = group.spawn([] { green::sleep(1h); });
        auto trigger = green::spawn([] {});
        auto link = trigger.link([&](const green::AnyGreenlet&) { group.discard(member); });
        auto own = group.spawn([] {});
        auto own_link = own.link(std::bind_front(&green::Group::discard, &group));
        settle();
        CHECK(group.empty());
        CHECK_FALSE(member.ready());
        member.kill();
    });
}

TEST_CASE("group: start takes in what has not been started", "[core][group]") {
    run_green([] {
        green::Group group;
        auto greenlet = green::deferred([] { return 7; });
        CHECK(group.start(greenlet));
        CHECK(group.start(greenlet));
        CHECK(group.size() == 1);
        CHECK(greenlet.get() == 7);
        CHECK_FALSE(group.start(greenlet));
        CHECK(group.empty());
    });
}

TEST_CASE("group: joining an empty group does not switch", "[core][group]") {
    run_green([] {
        green::Group group;
        const green::NoSwitch fence{"must not switch"};
        CHECK(group.join());
        CHECK(group.join_or_raise());
        CHECK(group.kill().empty());
    });
}

TEST_CASE("group: it can be waited for together with other things", "[core][group]") {
    run_green([] {
        green::Group group;
        green::Group::Ready over{group};
        CHECK(green::detail::park(over, green::Deadline::passed()));
        auto member = group.spawn([] { green::sleep(5ms); });
        green::Group forever;
        forever.spawn([] { green::sleep(1h); });
        green::Group::Ready never{forever};
        green::detail::WaitNode* nodes[] = {&never, &over};
        CHECK(green::detail::park(nodes, 1h));
        CHECK(over.fired());
        CHECK_FALSE(never.fired());
    });
}

TEST_CASE("group: join_or_raise throws the first failure in time, at once", "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        green::Group group;
        group.spawn([] {
            green::sleep(20ms);
            throw std::runtime_error("second");
        });
        group.spawn([] {
            green::sleep(10ms);
            throw std::runtime_error("first");
        });
        auto bystander = group.spawn([] { green::sleep(1h); });
        const auto begin = green::now();
        CHECK_THROWS_WITH(group.join_or_raise(), "first");
        CHECK(green::now() - begin == 10ms);
        CHECK_FALSE(bystander.ready());
        CHECK_THROWS_WITH(group.join_or_raise(), "second");
        CHECK_FALSE(group.join_or_raise(1ms));
        CHECK(bystander.kill());
        CHECK(group.join_or_raise());  // an exit is no failure
    });
}

TEST_CASE("group: a failure that came before join_or_raise is not lost", "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        green::Group group;
        group.spawn([] { throw std::runtime_error("early"); });
        settle();
        CHECK(group.join());
        CHECK_THROWS_WITH(group.join_or_raise(), "early");
        CHECK(group.join_or_raise());
    });
}

TEST_CASE("group: join_or_raise hears of a failure that empties the group", "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        green::Group group;
        group.spawn([] { throw std::runtime_error("the last one"); });
        CHECK_THROWS_WITH(group.join_or_raise(), "the last one");
        CHECK(group.empty());
    });
}

TEST_CASE("group: two who wait for failures share them out", "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        green::Group group;
        int thrown = 0;
        const auto wait = [&] {
            try {
                group.join_or_raise();
            } catch (const std::runtime_error&) {
                ++thrown;
            }
        };
        group.spawn([] { green::sleep(1ms); });
        auto one = green::spawn(wait);
        auto other = green::spawn(wait);
        green::yield();
        group.spawn([] { throw std::runtime_error("only one"); });
        CHECK(one.join());
        CHECK(other.join());
        CHECK(thrown == 1);
    });
}

TEST_CASE("group: who was woken by its end touches nothing of it any more", "[core][group]") {
    run_green([] {
        const tests::Errors errors;
        const auto error = std::make_exception_ptr(std::runtime_error("the next group's"));
        std::optional<green::Group> group{std::in_place};
        auto member = green::spawn([] { green::sleep(1h); });
        group->add(member);
        // Another group, in the same memory, that has a failure and a member.
        const auto replace_it = [&] {
            group.emplace();
            group->spawn([] {}).kill_soon(error);
            group->spawn([] { green::sleep(1h); });
        };
        SECTION("join_or_raise") {
            auto joiner = green::spawn([&] { return group->join_or_raise(); });
            green::yield();
            CHECK(group->discard(member));
            replace_it();
            CHECK(joiner.get());
            CHECK_THROWS_WITH(group->join_or_raise(), "the next group's");
        }
        SECTION("join_or_raise, with a failure to tell") {
            auto joiner = green::spawn([&] { return group->join_or_raise(); });
            green::yield();
            group->discard(member);
            group->spawn([] {}).kill_soon(std::make_exception_ptr(std::runtime_error("its own")));
            replace_it();
            CHECK_THROWS_WITH(joiner.get(), "its own");
        }
        SECTION("kill") {
            auto stubborn = group->spawn([] {
                const green::Shield shield;
                green::sleep(1h);
            });
            green::yield();
            auto killer = green::spawn([&] { return group->kill(5ms).size(); });
            green::yield();
            group->discard(stubborn);
            group->discard(member);
            replace_it();
            CHECK(killer.get() == 0);
            CHECK(group->size() == 1);
            auto late = group->spawn([] {});
            CHECK(late.join());
            CHECK(late.outcome() == green::Outcome::returned);  // nobody kills this one
            stubborn.kill();
        }
        member.kill();
        group.reset();
    });
}
