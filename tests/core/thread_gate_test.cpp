#include <array>
#include <atomic>
#include <barrier>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/detail/thread_gate.hpp>
#include <green/green.hpp>

#include "loop/ev_reactor.hpp"
#include "sched/hub.hpp"
#include "sched/sanitizer.hpp"
#include "support/gate.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using detail::ThreadGate;
using detail::WaitNode;
using tests::run_green_for_real;
using tests::settle;

namespace {

struct Owner {
    std::mutex mutex;
    ThreadGate gate{mutex, 0, "a test"};

    void admit(int permits = 1) {
        const std::lock_guard lock{mutex};
        gate.admit(permits);
    }
    bool pass(Deadline deadline = Deadline::never()) {
        std::unique_lock lock{mutex};
        const bool passed = gate.pass(lock, deadline);
        if (passed && !lock.owns_lock()) throw std::logic_error("passed without the lock");
        return passed;
    }
    bool try_pass() {
        const std::lock_guard lock{mutex};
        return gate.try_pass();
    }
    std::size_t waiting() {
        const std::lock_guard lock{mutex};
        return gate.waiting();
    }
};

/// For where a failed CHECK would take an interrupt for its own.
template <class Function>
bool throws_closed(Function function) {
    try {
        function();
    } catch (const Closed&) {
        return true;
    }
    return false;
}

/// Waits in a greenlet whose limit wakes it and is taken back, after `meanwhile`, before it runs.
/// Returns what `waits` does.
template <class Meanwhile, class Waits>
bool with_limit_taken_back(Meanwhile meanwhile, Waits waits) {
    std::optional<TimeoutScope> scope;
    auto other = spawn([&] {
        sleep(10ms);
        REQUIRE(scope->expired());
        meanwhile();
        scope->restart(1h);
    });
    auto waiter = spawn([&] {
        scope.emplace(10ms);
        const bool result = waits();
        scope.reset();
        return result;
    });
    other.join();
    return waiter.get();
}

}  // namespace

TEST_CASE("thread gate: as many pass as there are permits, and a debt is paid first",
          "[core][os]") {
    run_green_for_real([] {
        Owner owner;
        CHECK_FALSE(owner.try_pass());
        owner.admit(2);
        CHECK(owner.pass());
        CHECK(owner.try_pass());
        CHECK_FALSE(owner.pass(Deadline::passed()));
        owner.admit(-2);
        auto waiter = spawn([&] { return owner.pass(); });
        settle();
        owner.admit(2);
        settle();
        CHECK_FALSE(waiter.ready());
        owner.admit();
        CHECK(waiter.get());
        CHECK_FALSE(owner.try_pass());
    });
}

TEST_CASE("thread gate: of several nodes of one wait one takes a permit, the others leave theirs",
          "[core][os]") {
    run_green_for_real([] {
        Owner owners[2];
        auto both = spawn([&] {
            ThreadGate::Node first{owners[0].gate};
            ThreadGate::Node second{owners[1].gate};
            const std::array<WaitNode*, 2> nodes{&first, &second};
            CHECK(detail::park(nodes, Deadline::never()));
            return first.fired() + second.fired();
        });
        settle();
        // Both are granted before the hub hears of either.
        owners[1].admit();
        owners[0].admit();
        CHECK(both.get() == 1);
        CHECK(owners[0].try_pass() + owners[1].try_pass() == 1);
    });
}

TEST_CASE("thread gate: who only looks takes no permit, and is told of one that nobody takes",
          "[core][os]") {
    run_green_for_real([] {
        Owner owner;
        const auto look = [&](Deadline deadline) {
            ThreadGate::Node node{owner.gate, ThreadGate::Node::Wants::look};
            return detail::park(node, deadline);
        };
        CHECK_FALSE(look(1ms));
        auto looker = spawn(look, Deadline::never());
        auto taker = spawn([&] { return owner.pass(); });
        auto killed = spawn(look, Deadline::never());
        settle();
        CHECK(owner.waiting() == 1);
        owner.admit();
        CHECK(taker.get());
        CHECK_FALSE(looker.ready());
        CHECK(killed.kill());

        taker = spawn([&] { return owner.pass(); });
        settle();
        owner.admit();
        taker.kill_soon();  // what it was granted comes back
        CHECK(looker.get());
        CHECK(look(Deadline::passed()));
        CHECK(owner.try_pass());
        CHECK_FALSE(look(Deadline::passed()));

        looker = spawn(look, Deadline::never());
        settle();
        const std::lock_guard lock{owner.mutex};
        owner.gate.open();
    });
}

TEST_CASE("thread gate: what is granted to one whose limit passes at the same time is not lost",
          "[core][os]") {
    run_green_for_real([] {
        Owner owner;
        int passed = 0;
        constexpr int rounds = 200;
        for (int i = 0; i < rounds; ++i) {
            std::thread other{[&] { owner.admit(); }};
            passed += owner.pass(std::chrono::microseconds(i % 50)) ? 1 : 0;
            other.join();
        }
        while (owner.try_pass()) ++passed;
        CHECK(passed == rounds);
    });
}

TEST_CASE("thread gate: threads without a hub block, and leave when their limit passes",
          "[core][os]") {
    Owner owner;
    std::thread leaves{[&] { CHECK_FALSE(owner.pass(1ms)); }};
    leaves.join();
    CHECK(owner.waiting() == 0);
    auto stays = std::async(std::launch::async, [&] { return owner.pass(20s); });
    auto waits = std::async(std::launch::async, [&] { return owner.pass(); });
    tests::until([&] { return owner.waiting() == 2; });
    owner.admit();
    owner.admit();
    CHECK(stays.get());
    CHECK(waits.get());
    CHECK_FALSE(owner.try_pass());
    CHECK(detail::Hub::current_or_null() == nullptr);
}

namespace {

/// The kernel says that this thread of ours sleeps.
bool sleeps(int thread) {
    std::ifstream file{"/proc/self/task/" + std::to_string(thread) + "/stat"};
    std::string text;
    std::getline(file, text);
    return text.find(") S ") != std::string::npos;
}

}  // namespace

TEST_CASE("thread gate: it goes only when who woke its waiter has left it", "[core][os]") {
    std::mutex mutex;
    std::optional<ThreadGate> gate{std::in_place, mutex, 0, "a test"};
    std::atomic<int> going{0};  // its thread, then
    std::atomic<bool> gone{false};
    std::atomic<bool> waits{false};
    std::thread other{[&] {
        spawn([&] {
            spawn([&] { waits = true; });
            ThreadGate::Node node{*gate};
            CHECK(detail::park(node, 20s));
            going = ::gettid();
            gate.reset();
            gone = true;
        }).join();
    }};
    tests::until([&] { return waits.load(); });
    {
        const std::lock_guard lock{mutex};
        gate->open();
        tests::until([&] { return going.load() != 0; });
        tests::until([&] { return gone.load() || sleeps(going); });
        CHECK_FALSE(gone);  // we are still in there
    }
    other.join();
    CHECK(gone);
}

TEST_CASE("thread gate: who waits in it when it goes gets an error, and leaves it alone",
          "[core][os]") {
    run_green_for_real([] {
        const tests::Errors errors;
        auto owner = std::make_unique<Owner>();
        const auto look = [&] {
            ThreadGate::Node node{owner->gate, ThreadGate::Node::Wants::look};
            return detail::park(node, Deadline::never());
        };
        const auto wait = [&] {
            std::unique_lock lock{owner->mutex};
            return owner->gate.wait(lock, 1h);
        };
        auto passes = spawn([&] { return owner->pass(); });
        auto waits = spawn(wait);
        auto looks = spawn(look);
        auto killed = spawn(wait);
        auto told_and_killed = spawn(wait);
        settle();
        owner.reset();
        CHECK(hub_report().find("waits on a test") != std::string::npos);  // none has run
        HubRef{}.post([&] { told_and_killed.kill_soon(); });
        killed.kill();
        settle();
        CHECK_THROWS_AS(passes.get(), Closed);
        CHECK_THROWS_AS(waits.get(), Closed);
        CHECK_THROWS_AS(looks.get(), Closed);
        CHECK(killed.successful());
        CHECK(told_and_killed.successful());
        CHECK(errors.count() == 3);
    });
}

TEST_CASE("thread gate: one that goes takes what it has granted with it, but for the opening",
          "[core][os]") {
    const bool hub_knows = GENERATE(false, true);
    const bool opened = GENERATE(false, true);
    CAPTURE(hub_knows, opened);
    run_green_for_real([&] {
        const tests::Errors errors;
        auto owner = std::make_unique<Owner>();
        const auto wait = [&] {
            std::unique_lock lock{owner->mutex};
            return owner->gate.wait(lock, Deadline::never());
        };
        auto passes = spawn([&] { return owner->pass(); });
        settle();
        auto waits = spawn(wait);
        settle();
        auto killed = spawn(wait);
        settle();
        if (opened) {
            const std::lock_guard lock{owner->mutex};
            owner->gate.open();
        } else {
            owner->admit(3);
        }
        if (hub_knows) {
            HubRef{}.post([&] {
                owner.reset();
                killed.kill_soon();
            });
        } else {
            owner.reset();
            killed.kill_soon();
        }
        settle();
        CHECK_THROWS_AS(passes.get(), Closed);
        CHECK(waits.get());
        CHECK(killed.successful());
        CHECK(errors.count() == 1);
    });
}

TEST_CASE("thread gate: one that goes ends a wait that a limit had ended which was taken back",
          "[core][os]") {
    tests::run_green([] {
        const tests::Errors errors;
        auto owner = std::make_unique<Owner>();
        CHECK(with_limit_taken_back([&] { owner.reset(); },
                                    [&] { return throws_closed([&] { (void)owner->pass(); }); }));
    });
}

namespace {

/// Fires never; calls a function whenever it is armed.
struct OnArm final : WaitNode {
    explicit OnArm(std::function<void()> its_call)
        : WaitNode{detail::Reach::inside}, call{std::move(its_call)} {}
    bool arm() override {
        call();
        return false;
    }
    void describe(std::string& into) const override { into += "a test"; }

    std::function<void()> call;
};

/// One that wants something of the gate's owner afterwards.
struct Enters final : ThreadGate::Node {
    using Node::enter;
    using Node::Node;
};

}  // namespace

TEST_CASE("thread gate: one that goes while a greenlet is about to come again is left alone",
          "[core][os]") {
    const auto wants = GENERATE(ThreadGate::Node::Wants::permit, ThreadGate::Node::Wants::look);
    const int granted = GENERATE(0, 1);
    CAPTURE(wants == ThreadGate::Node::Wants::look, granted);
    tests::run_green([&] {
        const tests::Errors errors;
        auto owner = std::make_unique<Owner>();
        int armed = 0;
        const auto grant = [&] {
            if (wants == ThreadGate::Node::Wants::permit) owner->admit(granted);
        };
        CHECK(with_limit_taken_back(grant, [&] {
            OnArm goes{[&] {
                if (++armed == 2) owner.reset();
            }};
            ThreadGate::Node node{owner->gate, wants};
            const std::array<WaitNode*, 2> nodes{&goes, &node};
            return throws_closed([&] { detail::park(nodes, Deadline::never()); });
        }));
        CHECK(armed == 2);
    });
}

TEST_CASE("thread gate: who found it passable at once learns all the same that it has gone",
          "[core][os]") {
    const bool opened = GENERATE(false, true);
    CAPTURE(opened);
    run_green_for_real([&] {
        auto owner = std::make_unique<Owner>();
        owner->admit();
        if (opened) {
            const std::lock_guard lock{owner->mutex};
            owner->gate.open();
        }
        Enters node{owner->gate};
        ThreadGate::Node looks{owner->gate, ThreadGate::Node::Wants::look};
        CHECK(detail::park(node, Deadline::never()));
        if (opened) CHECK(detail::park(looks, Deadline::never()));
        owner.reset();
        CHECK(node.fired());
        CHECK_FALSE(node.lost());
        CHECK(throws_closed([&] { (void)node.enter(); }));
    });
}

TEST_CASE("thread gate: it goes while those of other hubs come, pass, give up and die",
          "[core][os]") {
    constexpr int hubs = 2;
    constexpr int rounds = 1000;
    std::barrier<> meet{hubs + 1};
    std::unique_ptr<Owner> owner;
    std::atomic<int> in{0};
    std::atomic<int> lost{0};
    const auto hub = [&](int number) {
        detail::Hub own{detail::make_ev_reactor()};
        std::mt19937_64 random{tests::seed() + static_cast<std::uint64_t>(number)};
        for (int round = 0; round < rounds; ++round) {
            meet.arrive_and_wait();
            std::vector<AnyGreenlet> players;
            std::optional<TimeoutScope> taken_back;
            for (int i = 0; i < 6; ++i) {
                const auto limit = std::chrono::microseconds(50 + random() % 100);
                if (i == 4) {
                    players.push_back(spawn([&taken_back, limit] {
                        sleep(limit);
                        if (taken_back && taken_back->expired()) taken_back->restart(1h);
                    }));
                }
                players.push_back(spawn([&, i, limit] {
                    ThreadGate::Node looks{owner->gate, ThreadGate::Node::Wants::look};
                    const After after = green::after(limit);
                    After::Ready late{after};
                    const std::array<WaitNode*, 2> both{&looks, &late};
                    try {
                        if (i == 0) detail::park(both, Deadline::never());
                        if (i == 1) owner->pass(1h);
                        if (i == 2) (void)owner->pass(limit);
                        if (i == 3) detail::park(looks, limit);
                        if (i == 4) {
                            taken_back.emplace(limit);
                            lost += throws_closed([&] { owner->pass(); });
                        }
                        if (i == 5) owner->pass();
                    } catch (const Closed&) {
                        ++lost;
                    } catch (const Timeout&) {  // it was not taken back in time
                    }
                    if (i == 4) taken_back.reset();
                }));
            }
            yield();  // all are in it, as who comes when it has gone is on his own
            ++in;
            players.back().kill_soon();
            for (auto steps = random() % 4; steps > 0; --steps) yield();
            players[1].kill_soon();
            joinall(players);
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < hubs; ++i) threads.emplace_back(hub, i);
    std::mt19937_64 random{tests::seed()};
    for (int round = 0; round < rounds; ++round) {
        owner = std::make_unique<Owner>();
        in = 0;
        meet.arrive_and_wait();
        if (random() % 2 == 0) owner->admit(static_cast<int>(random() % 3));
        tests::until([&] { return in == hubs; });
        if (random() % 2 == 0) owner->admit();
        owner.reset();
    }
    for (auto& thread : threads) thread.join();
    CHECK(lost > 0);
}

TEST_CASE("thread gate: a wait where none is possible throws and leaves nothing behind",
          "[core][os]") {
    run_green_for_real([] {
        Owner owner;
        const NoSwitch fence{"a test"};
        CHECK_THROWS_AS(owner.pass(), BlockingInHub);
        CHECK(owner.waiting() == 0);
        owner.admit();
        CHECK(owner.pass());  // needs no wait
    });
}

#if !GREEN_ADDRESS_SANITIZER  // what stays behind is a leak, as it must be
TEST_CASE("thread gate: the turn of one that its hub could not end passes to the next",
          "[core][os]") {
    Owner owner;
    std::thread{[&] {
        detail::Hub hub{detail::make_ev_reactor()};
        spawn([&] {
            for (;;) {
                try {
                    owner.pass();
                } catch (const GreenletExit&) {  // this is how not to end
                }
            }
        });
        settle();
    }}.join();
    CHECK(owner.waiting() == 1);
    std::thread next{[&] { CHECK(owner.pass(20s)); }};
    tests::until([&] { return owner.waiting() == 2; });
    owner.admit();
    next.join();
    CHECK_FALSE(owner.try_pass());
}
#endif

TEST_CASE("thread gate: reports say what is waited for", "[core][os]") {
    run_green_for_real([] {
        Owner owner;
        auto waiter = spawn([&] { owner.pass(); });
        settle();
        CHECK(hub_report().find("waits on a test") != std::string::npos);
        waiter.kill();
    });
}
