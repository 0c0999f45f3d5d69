// Random programs over channels: puts, gets, operations side by side, limits and kills at every
// suspension point. An item that is not taken must still be with its putter, one that is taken
// comes out once, and in the end nothing may be lost and nobody may wait.

#include <optional>
#include <set>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "core/queue_schedule.hpp"
#include "support/one_of.hpp"

using namespace std::chrono_literals;
using tests::Item;
using tests::run_schedules;
using tests::Schedule;

namespace {

class ChannelSchedule final : public Schedule {
    struct Tracked {
        green::Channel<Item> channel;
        std::set<int> sent;
        std::set<int> received;
        int both_ways = 0;  // greenlets that would send or receive, whichever comes first
    };
    struct BothWays {
        BothWays(Tracked& one, Tracked& other) : tracked{&one == &other ? &one : nullptr} {
            if (tracked != nullptr) ++tracked->both_ways;
        }
        BothWays(const BothWays&) = delete;
        ~BothWays() {
            if (tracked != nullptr) --tracked->both_ways;
        }
        Tracked* tracked;
    };

 public:
    using Schedule::Schedule;

 private:
    Tracked& any() { return channels_[below(2)]; }

    void act() override {
        Tracked& tracked = any();
        switch (below(7)) {
            case 0:
                pass_time();
                break;
            case 1:
            case 2:
                put(tracked);
                break;
            case 3:
            case 4:
                get(tracked);
                break;
            case 5:
                choose(tracked, any());
                break;
            default: {
                green::Channel<Item>::Ready ready{tracked.channel};
                (void)green::detail::park(ready, limit());
                break;
            }
        }
    }

    void meddle() override {
        Tracked& tracked = any();
        if (below(10) == 0) {
            tracked.channel.close();
            return;
        }
        hub_.post([this, &tracked, puts = maybe()] {
            if (tracked.channel.closed()) return;
            if (!puts) {
                if (const auto item = tracked.channel.try_get()) got(tracked, *item);
                return;
            }
            Item item = next_item();
            const int number = item.number();
            if (give(item, [&] { return tracked.channel.try_put(std::move(item)); }))
                tracked.sent.insert(number);
        });
    }

    void put(Tracked& tracked) {
        Item item = next_item();
        const int number = item.number();
        if (give(item, [&] { return tracked.channel.put(std::move(item), limit()); }))
            sent(tracked, number);
    }
    void sent(Tracked& tracked, int number) {
        expect(tracked.received.contains(number), "a put returns when its item was taken");
        tracked.sent.insert(number);
    }
    void get(Tracked& tracked) {
        std::optional<Item> item;
        if (const int way = below(3); way == 0) {
            item.emplace(tracked.channel.get());
        } else if (way == 1) {
            item = tracked.channel.get_for(std::chrono::milliseconds(below(5)));
        } else {
            item = tracked.channel.next(limit());
        }
        if (item) got(tracked, *item);
    }
    void got(Tracked& tracked, const Item& item) {
        expect(item.number() != Item::gone, "an item comes whole");
        expect(tracked.received.insert(item.number()).second, "an item comes once");
    }

    void choose(Tracked& one, Tracked& other) {
        Item item = next_item();
        const int number = item.number();
        auto from = green::recv(one.channel);
        auto to = green::send(other.channel, item);
        const BothWays both_ways{one, other};
        try {
            const bool receives_first = maybe();
            std::size_t won = receives_first ? tests::one_of(limit(), from, to)
                                             : tests::one_of(limit(), to, from);
            expect(won < 2 || won == tests::none, "one operation wins");
            if (won == tests::none) return;
            if ((won == 0) == receives_first) {
                got(one, from.take());
                expect(item.number() == number, "an operation that lost leaves its item");
            } else {
                to.take();
                sent(other, number);
            }
        } catch (...) {  // a kill may come when the item was taken
            if (item.number() == Item::gone) sent(other, number);
            throw;
        }
    }

    void check_at_rest() override {
        for (Tracked& tracked : channels_) {
            const std::size_t getters = tracked.channel.waiting_getters();
            const std::size_t putters = tracked.channel.waiting_putters();
            const bool himself = getters == 1 && putters == 1 && tracked.both_ways > 0;
            expect(getters == 0 || putters == 0 || himself, "who could meet has met");
            if (tracked.channel.closed())
                expect(getters + putters == 0, "nobody waits for nothing");
        }
    }

    void check() override {
        for (Tracked& tracked : channels_) {
            while (const auto item = tracked.channel.next(0s)) got(tracked, *item);
            expect(tracked.sent == tracked.received, "nothing is lost");
            expect(tracked.channel.waiting_getters() == 0, "no getter is left");
            expect(tracked.channel.waiting_putters() == 0, "no putter is left");
        }
    }

    green::HubRef hub_;
    Tracked channels_[2];
};

}  // namespace

TEST_CASE("channel schedules: nothing is lost and nobody is left", "[core][schedules]") {
    run_schedules<ChannelSchedule>(tests::share::channels);
}
