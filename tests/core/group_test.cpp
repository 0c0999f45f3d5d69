#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/group.hpp>

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
