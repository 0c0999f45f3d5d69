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
