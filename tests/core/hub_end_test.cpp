// What becomes of greenlets, handles and errors when their hub goes.

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/detail/fd_wait.hpp>
#include <green/detail/turn_end.hpp>
#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/group.hpp>
#include <green/hub.hpp>
#include <green/shield.hpp>
#include <green/wait.hpp>

#include "loop/ev_reactor.hpp"
#include "sched/sanitizer.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::settle;
namespace gd = green::detail;

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

namespace {

/// Tells how late it was at its end.
class LastClock final : public tests::VirtualReactor {
 public:
    explicit LastClock(green::TimePoint& end) noexcept : end_{end} {}
    LastClock(const LastClock&) = delete;
    LastClock& operator=(const LastClock&) = delete;
    ~LastClock() override { end_ = now(); }

 private:
    green::TimePoint& end_;
};

struct SleepsAtItsEnd {
    green::Duration how_long;
    bool& awake;
    ~SleepsAtItsEnd() {
        green::sleep(how_long);
        awake = true;
    }
};

}  // namespace

TEST_CASE("hub: destructors may wait for time and for the world while it goes", "[core][hub]") {
    green::TimePoint begin;
    green::TimePoint end;
    bool slept = false;
    bool read = false;
    {
        auto owned = std::make_unique<LastClock>(end);
        LastClock& world = *owned;
        gd::Hub hub{std::move(owned)};
        hub.fds().open(7);
        struct ReadsAtItsEnd {
            LastClock& world;
            bool& read;
            ~ReadsAtItsEnd() {
                world.at(green::now() + 30ms, [this] { world.make_ready(7, {true, false}); });
                gd::FdNode node{7, gd::Direction::read};
                node.blocked();
                read = gd::park(node, green::Deadline::never());
            }
        };
        green::spawn([&] {
            const SleepsAtItsEnd last_words{10ms, slept};
            green::sleep(1h);
        });
        green::spawn([&] {
            const ReadsAtItsEnd last_words{world, read};
            green::sleep(1h);
        });
        green::yield();
        begin = green::now();
    }
    CHECK(slept);
    CHECK(read);
    CHECK(end - begin == 30ms);
}

#if !GREEN_ADDRESS_SANITIZER  // what stays behind is a leak, as it must be
TEST_CASE("hub: those that would wait for long are left behind when it goes", "[core][hub]") {
    static std::vector<green::AnyGreenlet> left;  // so that what is left is not lost
    green::TimePoint begin;
    green::TimePoint end;
    bool slept_briefly = false;
    static bool slept_long = false;
    {
        gd::Hub hub{std::make_unique<LastClock>(end)};
        left.push_back(green::spawn([] {
            try {
                green::sleep(1h);
            } catch (const green::GreenletExit&) {  // once more
            }
            green::sleep(1h);
            slept_long = true;
        }));
        green::spawn([&] {
            const SleepsAtItsEnd last_words{999ms, slept_briefly};
            green::sleep(1h);
        });
        green::yield();
        begin = green::now();
    }
    CHECK(slept_briefly);
    CHECK_FALSE(slept_long);
    CHECK(end - begin == 1s);
}

TEST_CASE("hub: those that run on for ever are left behind when it goes", "[core][hub]") {
    static std::vector<green::AnyGreenlet> left;
    green::TimePoint begin;
    green::TimePoint end;
    {
        gd::Hub hub{std::make_unique<LastClock>(end)};
        for (const auto pause : {green::Duration{0ms}, green::Duration{1us}}) {
            left.push_back(green::spawn([pause] {
                for (;;) {
                    try {
                        green::sleep(pause);
                    } catch (const green::GreenletExit&) {  // not for me
                    }
                }
            }));
        }
        green::yield();
        begin = green::now();
    }
    CHECK(end - begin <= 1s);
}

#endif

TEST_CASE("hub: one that would run on for ever takes no time from the others when it goes",
          "[core][hub]") {
    // Never destroyed: what is left behind can be reached, and so is no leak.
    static auto* const left = new std::vector<green::AnyGreenlet>;
    bool awake = false;
    {
        gd::Hub hub{gd::make_ev_reactor()};
        left->push_back(green::spawn([] {
            for (;;) {
                try {
                    green::yield();
                } catch (const green::GreenletExit&) {  // not for me
                }
            }
        }));
        green::spawn([&awake] {
            const SleepsAtItsEnd sleeps{20ms, awake};
            green::Event{}.wait();
        });
        green::yield();
    }
    CHECK(awake);
    // What is left of it is an ended one to whoever has a handle.
    green::AnyGreenlet& survivor = left->back();
    CHECK(survivor.ready());
    CHECK(survivor.join());
    survivor.kill_soon();
    survivor.start();
    CHECK(survivor.minimal_ident() == 0);
    CHECK(survivor.outcome() == green::Outcome::exited);
}

TEST_CASE("hub: what stands behind a fence when it goes is unwound all the same", "[core][hub]") {
    bool awake = false;
    {
        gd::Hub hub{std::make_unique<tests::VirtualReactor>()};
        green::spawn([&awake] {
            const SleepsAtItsEnd sleeps{20ms, awake};
            green::Event{}.wait();
        });
        green::yield();
        (void)hub.set_fence("a test, which exit() might be called in");
    }
    CHECK(awake);
}

TEST_CASE("hub: a FatalError while it goes is told, and the others are unwound all the same",
          "[core][hub]") {
    std::vector<std::string> told;
    bool unwound = false;
    {
        gd::Hub hub{std::make_unique<tests::VirtualReactor>()};
        green::set_error_handler([&](const green::ErrorReport& report) {
            told.push_back(green::describe(report.error));
        });
        green::spawn([] {
            try {
                green::sleep(1h);
            } catch (const green::GreenletExit&) {
                throw green::FatalError("disk gone");
            }
        });
        green::spawn([&] {
            struct Slow {
                bool& ended;
                ~Slow() {
                    for (int i = 0; i < 5; ++i) green::yield();
                    ended = true;
                }
            };
            const Slow slow{unwound};
            green::sleep(1h);
        });
        green::yield();
    }
    CHECK(told == std::vector<std::string>{"green::FatalError: disk gone"});
    CHECK(unwound);
}

TEST_CASE("hub: a FatalError that has not come to main when it goes is told", "[core][hub]") {
    int told = 0;
    {
        gd::Hub hub{std::make_unique<tests::VirtualReactor>()};
        green::set_error_handler([&](const green::ErrorReport&) { ++told; });
        auto greenlet = green::spawn([] { throw green::FatalError("too late"); });
        const green::Shield shield;
        greenlet.join();
    }
    CHECK(told == 1);
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

TEST_CASE("hub: what is dropped with it may ask for the end of the turn", "[core][hub]") {
    struct Turn final : gd::TurnEnd {
        void turn_ends() noexcept override {
            ++ends;
            green::spawn([token = token] {});
        }
        std::shared_ptr<int> token = std::make_shared<int>(1);
        int ends = 0;
    };
    struct AsksAtLast {
        explicit AsksAtLast(Turn& its_turn) : turn{&its_turn} {}
        AsksAtLast(const AsksAtLast&) = delete;
        AsksAtLast& operator=(const AsksAtLast&) = delete;
        ~AsksAtLast() { turn->ask(); }
        Turn* turn;
    };
    Turn first;
    Turn second;
    {
        gd::Hub hub{std::make_unique<tests::VirtualReactor>()};
        green::HubRef{}.post([asks = std::make_shared<AsksAtLast>(first), &second] {});
        SECTION("by itself") {}
        SECTION("by one that it starts") {
            green::HubRef{}.post([asks = std::shared_ptr<void>(nullptr, [&](void*) {
                                      green::spawn(
                                          [asks = std::make_shared<AsksAtLast>(second)] {});
                                  })] {});
            second.ends = -1;
        }
    }
    CHECK(first.ends == 1);
    CHECK(second.ends == 0);
    CHECK_FALSE(first.asked());
    CHECK_FALSE(second.asked());
    CHECK(first.token.use_count() == 1);  // what it started has ended
    CHECK(second.token.use_count() == 1);
}

TEST_CASE("hub: a handle of main may outlive it", "[core][hub]") {
    std::optional<green::AnyGreenlet> main;
    std::optional<green::AnyGreenlet> hubs_own;
    {
        gd::Hub hub{std::make_unique<tests::VirtualReactor>()};
        main = green::current();
        green::HubRef{}.post([&] { hubs_own = green::current(); });
        green::yield();
        settle();
        CHECK(main->started());
    }
    REQUIRE(hubs_own);
    for (const auto& handle : {*main, *hubs_own}) {
        CHECK(handle.ready());
        CHECK(handle.join());
        CHECK_NOTHROW(handle.kill_soon());
    }
    CHECK(main->name() == "main");
    CHECK(hubs_own->name() == "hub");
}

namespace {

/// Hubs that come one after the other, and have the same address.
class OneAddress {
 public:
    OneAddress() { renew(); }
    void renew() { hub_.emplace(std::make_unique<tests::VirtualReactor>()); }

 private:
    std::optional<gd::Hub> hub_;
};

}  // namespace

TEST_CASE("hub: one that was not started when it went is no other hub's", "[core][hub]") {
    bool ran = false;
    OneAddress hub;
    auto fresh = green::deferred([&] { ran = true; });
    CHECK_FALSE(fresh.ready());
    hub.renew();
    CHECK(fresh.ready());
    CHECK(fresh.outcome() == green::Outcome::exited);
    CHECK_FALSE(fresh.started());
    CHECK(fresh.minimal_ident() == 0);
    CHECK(green::spawn([] { return green::current().minimal_ident(); }).get() == 0);
    fresh.start();
    fresh.start_later(0ms);
    settle();
    CHECK(fresh.join());
    CHECK(fresh.kill());
    CHECK_THROWS_AS(fresh.get(), green::GreenletExit);
    green::Group group;
    CHECK_FALSE(group.start(fresh));
    CHECK_FALSE(ran);
    CHECK(green::hub_greenlets().size() == 1);  // main
}

TEST_CASE("hub: what failed in one that has gone is not told to another", "[core][hub]") {
    OneAddress hub;
    green::set_error_policy(green::ErrorPolicy::unobserved);
    std::optional<green::Greenlet<void>> failed =
        green::spawn([] { throw std::runtime_error("of the first"); });
    settle();
    CHECK(failed->outcome() == green::Outcome::failed);
    hub.renew();
    int told = 0;
    green::set_error_handler([&](const green::ErrorReport&) { ++told; });
    failed.reset();
    CHECK(told == 0);
}
