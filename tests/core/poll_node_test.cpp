// Waits for memory that the hub looks at by itself.

#include <array>
#include <deque>

#include <catch2/catch.hpp>

#include <green/detail/poll_node.hpp>
#include <green/detail/turn_end.hpp>
#include <green/green.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using green::detail::Patience;
using tests::run_green;

namespace {

/// There is something after so many looks, or when it is said.
class Scripted final : public green::detail::PollNode {
 public:
    explicit Scripted(int after = 1'000'000'000, Patience patience = Patience::none) noexcept
        : left{after}, patience_{patience} {}

    bool look() noexcept override {
        ++looks;
        return --left <= 0;
    }
    bool ask_to_be_woken() noexcept override {
        ++asks;
        return look();
    }
    Patience patience() noexcept override { return patience_; }
    void patience_ended(bool rewarded) noexcept override { (rewarded ? rewards : vain)++; }
    void describe(std::string& into) const override { into += "a script"; }

    int left;
    int looks = 0;
    int asks = 0;
    int rewards = 0;
    int vain = 0;

 private:
    Patience patience_;
};

bool wait(Scripted& node, green::Deadline deadline) { return green::detail::park(node, deadline); }

}  // namespace

TEST_CASE("poll node: what is there already needs no wait", "[poll]") {
    run_green([] {
        Scripted node{1};
        CHECK(wait(node, 1h));
        CHECK(node.looks == 1);
        CHECK(node.asks == 0);
    });
}

TEST_CASE("poll node: a busy hub looks in each turn and is asked for nothing", "[poll]") {
    run_green([] {
        Scripted node;
        auto waiter = green::spawn([&] { return wait(node, 1h); });
        auto busy = green::spawn([&] {
            for (;;) green::yield();
        });
        const auto turns = green::hub_figures().turns;
        while (green::hub_figures().turns < turns + 10) green::yield();
        CHECK(node.looks >= 10);
        CHECK(node.asks == 0);
        node.left = 1;
        CHECK(waiter.get());
        CHECK(node.asks == 0);
        busy.kill();
    });
}

TEST_CASE("poll node: before the hub sleeps it asks to be woken, once", "[poll]") {
    run_green([] {
        Scripted node;
        CHECK_FALSE(wait(node, 1ms));
        CHECK(node.asks == 1);
        CHECK(node.asked());
        const int looks = node.looks;
        CHECK_FALSE(wait(node, 1ms));  // the same sleep goes on
        CHECK(node.asks == 1);
        CHECK(node.looks == looks + 1);

        Scripted late{3};  // in its place, at the turn, when it asks
        CHECK(wait(late, 1h));
        CHECK(late.asks == 1);
    });
}

TEST_CASE("poll node: patience is rewarded, or not", "[poll]") {
    run_green([] {
        const Patience patience = GENERATE(Patience::yields, Patience::spins);
        Scripted soon{3, patience};  // in its place, at the turn, after the first patience
        CHECK(wait(soon, 1h));
        CHECK(soon.asks == 0);
        CHECK(soon.rewards == 1);
        CHECK(soon.vain == 0);

        Scripted never{1'000'000'000, patience};
        CHECK_FALSE(wait(never, 1ms));
        CHECK(never.asks == 1);
        CHECK(never.rewards == 0);
        CHECK(never.vain == 1);
        CHECK(never.looks >= 3);
    });
}

TEST_CASE("poll node: many are looked at by turns", "[poll]") {
    run_green([] {
        constexpr std::size_t many = 100;
        std::deque<Scripted> nodes(many);
        green::Group waiters;
        for (Scripted& node : nodes) waiters.spawn([&node] { (void)wait(node, 1h); });
        auto busy = green::spawn([&] {
            for (;;) green::yield();
        });
        const auto from = green::hub_figures().turns;
        while (green::hub_figures().turns < from + 2 * many) green::yield();
        for (Scripted& node : nodes) {
            CHECK(node.looks > 2);
            CHECK(node.asks == 0);
            node.left = 1;
        }
        waiters.join();
        busy.kill();
    });
}

TEST_CASE("poll node: one that is killed is looked at no more", "[poll]") {
    run_green([] {
        Scripted node;
        auto waiter = green::spawn([&] { (void)wait(node, 1h); });
        green::yield();
        CHECK(waiter.kill());
        const int looks = node.looks;
        green::idle();
        green::sleep(1ms);
        CHECK(node.looks == looks);
        CHECK(node.asks == 0);
    });
}

TEST_CASE("turn end: what is asked for comes once, before the hub looks outside", "[poll]") {
    struct Counts final : green::detail::TurnEnd {
        void turn_ends() noexcept override {
            if (++count < 2) ask();
        }
        int count = 0;
    };
    run_green([] {
        Counts counts;
        counts.ask();
        counts.ask();
        CHECK(counts.count == 0);
        const auto turns = green::hub_figures().turns;
        while (green::hub_figures().turns == turns) green::yield();
        CHECK(counts.count == 1);  // asked anew: in the next turn
        while (green::hub_figures().turns < turns + 3) green::yield();
        CHECK(counts.count == 2);
        {
            Counts gone;
            gone.ask();
        }
        green::sleep(1ms);
    });
}
