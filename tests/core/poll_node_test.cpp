// Waits for memory that the hub looks at by itself.

#include <array>
#include <deque>
#include <functional>

#include <catch2/catch.hpp>

#include <green/detail/poll_node.hpp>
#include <green/detail/turn_end.hpp>
#include <green/green.hpp>
#include <green/loop_watchers.hpp>
#include <green/sys.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using green::detail::Linger;
using tests::run_green;

namespace {

constexpr int never = 1'000'000'000;

/// There is something after so many looks, or when it is said.
class Scripted final : public green::detail::PollNode {
 public:
    explicit Scripted(int after = never, Linger linger = Linger::none) noexcept
        : left{after}, linger_{linger} {}

    bool look() noexcept override {
        ++looks;
        return --left <= 0;
    }
    bool ask_to_be_woken() noexcept override {
        ++asks;
        return look() || has_some_when_asked;
    }
    Linger lingers() noexcept override { return linger_; }
    void lingered(bool found, green::Duration) noexcept override { (found ? rewards : vain)++; }
    void describe(std::string& into) const override { into += "a script"; }

    int left;
    bool has_some_when_asked = false;
    int looks = 0;
    int asks = 0;
    int rewards = 0;
    int vain = 0;

 private:
    Linger linger_;
};

/// Counts the times that the processor was given away.
class Yields final : public green::sys::Injector {
 public:
    ~Yields() override { green::sys::set_injector(outer_); }
    int before(green::sys::Call call, int fd) noexcept override {
        if (call == green::sys::Call::sched_yield) {
            ++count;
            if (before_each) before_each();
        }
        return outer_ != nullptr ? outer_->before(call, fd) : 0;
    }
    int count = 0;
    std::function<void()> before_each;

 private:
    Injector* outer_ = green::sys::set_injector(this);
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

TEST_CASE("poll node: eagerness is rewarded, or not", "[poll]") {
    run_green([] {
        Scripted soon{3, Linger::spin};  // in its place, at the turn, and when the hub spins
        CHECK(wait(soon, 1h));
        CHECK(soon.asks == 0);
        CHECK(soon.rewards == 1);
        CHECK(soon.vain == 0);

        Scripted in_vain{never, Linger::spin};
        CHECK_FALSE(wait(in_vain, 1ms));
        CHECK(in_vain.asks == 1);
        CHECK(in_vain.rewards == 0);
        CHECK(in_vain.vain == 1);
        CHECK(in_vain.looks >= 3);
    });
}

TEST_CASE("poll node: the processor is given away once before a sleep that is not short",
          "[poll]") {
    run_green([] {
        Yields yields;
        Scripted brief{3, Linger::yield};  // in its place, at the turn, when it asks
        CHECK(wait(brief, 500us));
        CHECK(yields.count == 0);
        CHECK(brief.asks == 1);
        CHECK(brief.vain == 0);

        Scripted late{4, Linger::yield};  // also after the yield
        CHECK(wait(late, 1h));
        CHECK(yields.count == 1);
        CHECK(late.asks == 1);
        CHECK(late.vain == 1);

        Scripted soon{3, Linger::yield};
        yields.before_each = [&] { CHECK(soon.looks == 2); };
        CHECK(wait(soon, 1h));
        CHECK(yields.count == 2);
        CHECK(soon.asks == 0);
        CHECK(soon.rewards == 1);
        yields.before_each = nullptr;

        green::idle();
        Scripted in_place{1, Linger::yield};
        CHECK_FALSE(look_in_place(in_place, 500us));
        CHECK(yields.count == 2);
        CHECK(look_in_place(in_place, green::Deadline::never()));
        CHECK(yields.count == 3);
    });
}

TEST_CASE("poll node: one spin serves all, also those who would have yielded", "[poll]") {
    run_green([] {
        Yields yields;
        Scripted yielding{never, Linger::yield};
        Scripted spinning{never, Linger::spin};
        yielding.has_some_when_asked = spinning.has_some_when_asked = true;
        auto other = green::spawn([&] { CHECK(wait(yielding, 1h)); });
        CHECK(wait(spinning, 1h));
        other.join();
        CHECK(yields.count == 0);
        CHECK(spinning.vain == 1);
        CHECK(yielding.vain == 1);
    });
}

TEST_CASE("poll node: who is alone looks in the hub's place, until the hub's turn", "[poll]") {
    run_green([] {
        green::idle();  // the hub has had its turn
        const auto turns = green::hub_figures().turns;
        Scripted soon{3, Linger::spin};
        CHECK(look_in_place(soon, green::Deadline::never()));
        CHECK(soon.looks == 3);
        CHECK(soon.rewards == 1);
        Scripted in_vain{never, Linger::spin};
        CHECK_FALSE(look_in_place(in_vain, green::Deadline::never()));
        CHECK(in_vain.vain == 1);
        CHECK(in_vain.asks == 0);
        Scripted late{1, Linger::spin};
        CHECK_FALSE(look_in_place(late, green::Deadline::passed()));
        CHECK(late.looks == 0);
        Scripted lazy{1};
        CHECK_FALSE(look_in_place(lazy, green::Deadline::never()));
        CHECK(lazy.looks == 0);

        // However often it is rewarded.
        int in_place = 0;
        for (bool found = true; found; ++in_place) {
            Scripted one{1, Linger::spin};
            found = look_in_place(one, green::Deadline::never());
            REQUIRE(in_place < 100'000);
        }
        CHECK(in_place > 1);
        CHECK(green::hub_figures().turns == turns);
        Scripted other{2, Linger::spin};
        CHECK(wait(other, 1h));
        CHECK(green::hub_figures().turns == turns + 1);
    });
}

TEST_CASE("poll node: nobody looks in the hub's place while others have work", "[poll]") {
    struct Ends final : green::detail::TurnEnd {
        void turn_ends() noexcept override {}
    };
    run_green([] {
        const auto looks = [] {
            Scripted node{1, Linger::spin};
            (void)look_in_place(node, green::Deadline::never());
            return node.looks;
        };
        green::idle();
        CHECK(looks() == 1);
        auto other = green::spawn([] {});
        CHECK(looks() == 0);
        other.join();
        CHECK(looks() == 1);
        Scripted elsewhere;
        auto waiter = green::spawn([&] { (void)wait(elsewhere, 1h); });
        green::yield();
        CHECK(looks() == 0);
        waiter.kill();
        green::idle();
        CHECK(looks() == 1);
        green::TimerWatcher callback{0s};
        bool looked = true;
        callback.start([&] { looked = looks() != 0; });
        green::sleep(1ms);
        CHECK_FALSE(looked);
        green::idle();
        Ends ends;
        ends.ask();
        CHECK(looks() == 0);
        green::idle();
        CHECK(looks() == 1);
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
