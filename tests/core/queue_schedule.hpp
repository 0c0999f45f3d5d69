#pragma once
// What random programs over queues and channels have in common.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "core/dice.hpp"
#include "support/run_green.hpp"
#include "support/schedules.hpp"

namespace tests {

class Item {
 public:
    explicit Item(int number) noexcept : number_{number} {}
    Item(Item&& other) noexcept : number_{std::exchange(other.number_, gone)} {}
    Item& operator=(Item&& other) noexcept {
        number_ = std::exchange(other.number_, gone);
        return *this;
    }
    [[nodiscard]] int number() const noexcept { return number_; }
    /// Few ranks, so that many are equal.
    [[nodiscard]] static int rank(int number) noexcept { return number % 3; }
    friend bool operator<(const Item& a, const Item& b) noexcept {
        return rank(a.number_) < rank(b.number_);
    }

    static constexpr int gone = -1;

 private:
    int number_;
};

/// Players that act at random, while somebody kills them at random.
class Schedule : protected Dice {
 public:
    explicit Schedule(std::uint64_t seed) : Dice{seed} {}
    virtual ~Schedule() = default;

    void run() {
        std::vector<green::AnyGreenlet> players;
        const int count = 2 + below(5);
        for (int i = 0; i < count; ++i) players.push_back(group_.spawn([this] { play(); }));
        for (int i = below(8); i > 0; --i) {
            if (below(3) == 0) {
                players[static_cast<std::size_t>(below(count))].kill_soon();
            } else {
                meddle();
            }
            pass_time();
        }
        settle();
        check_at_rest();
        for (const auto& player : players) player.kill_soon();
        group_.join();
        settle();
        check();
        CHECK(wrong_.empty());
    }

 protected:
    virtual void act() = 0;
    virtual void meddle() = 0;
    /// Nobody can run now: does anybody wait who could be served?
    virtual void check_at_rest() = 0;
    /// Nobody is left.
    virtual void check() = 0;

    void expect(bool right, const char* what) {
        if (!right) wrong_.emplace_back(what);
    }
    Item next_item() { return Item{next_number_++}; }

    /// Gives the item away by `give`, which says whether it did. Returns that; an item that was not
    /// given must be there still, whatever happened.
    template <class Give>
    bool give(Item& item, Give give) {
        const int number = item.number();
        try {
            const bool given = give();
            expect((item.number() == Item::gone) == given, "a put item is gone, another is not");
            return given;
        } catch (...) {
            expect(item.number() == number, "a put that throws leaves its item");
            throw;
        }
    }

 private:
    void play() {
        for (int i = 1 + below(6); i > 0; --i) {
            try {
                once_or_twice([this] { act(); });
            } catch (const green::Closed&) {  // then the next one
            }
        }
    }

    green::Group group_;
    int next_number_ = 0;
    std::vector<std::string> wrong_;
};

template <class Kind>
void run_schedules(Share share, Part part = {}) {
    run_green([&] {
        for_each_schedule(share, part, [](std::uint64_t seed) {
            Kind{seed}.run();
            const green::HubFigures left = green::hub_figures();
            REQUIRE(left.greenlets == 0);
            REQUIRE(left.timers == 0);
        });
    });
}

}  // namespace tests
