#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/channel.hpp>
#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/queue.hpp>
#include <green/select.hpp>
#include <green/timeout.hpp>
#include <green/wait.hpp>

#include "support/one_of.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green;
using tests::settle;
using Log = std::vector<std::string>;

TEST_CASE("channel: a put returns when its item was taken, not before", "[core][channel]") {
    run_green([] {
        green::Channel<std::unique_ptr<int>> channel;
        auto putter = green::spawn([&] { return channel.put(std::make_unique<int>(1)); });
        settle();
        CHECK_FALSE(putter.ready());
        CHECK(channel.waiting_putters() == 1);
        CHECK(*channel.get() == 1);
        CHECK_FALSE(putter.ready());
        CHECK(putter.get());
    });
}

TEST_CASE("channel: a getter that waits runs before its putter goes on", "[core][channel]") {
    run_green([] {
        green::Channel<std::string> channel;
        Log log;
        auto getter = green::spawn([&] { log.push_back("got " + channel.get()); });
        green::yield();
        green::spawn([&] { log.emplace_back("another"); });
        CHECK(channel.put("it"));
        log.emplace_back("put");
        CHECK(log == Log{"another", "got it", "put"});
    });
}

TEST_CASE("channel: getters and putters are served in the order in which they came",
          "[core][channel]") {
    run_green([] {
        green::Channel<int> channel;
        std::vector<int> got;
        for (int i = 0; i < 3; ++i) green::spawn([&] { got.push_back(channel.get()); });
        settle();
        for (int i = 1; i <= 3; ++i) green::spawn([&, i] { channel.put(i); });
        settle();
        CHECK(got == std::vector{1, 2, 3});
        for (int i = 4; i <= 6; ++i) green::spawn([&, i] { channel.put(i); });
        settle();
        for (int i = 4; i <= 6; ++i) CHECK(channel.get() == i);
    });
}

TEST_CASE("channel: a putter that gives up or is killed keeps its item", "[core][channel]") {
    run_green([] {
        green::Channel<std::string> channel;
        std::string late = "late";
        std::string killed = "killed";
        CHECK_FALSE(channel.put(std::move(late), 5ms));
        CHECK_FALSE(channel.put(std::move(late), green::Deadline::passed()));
        CHECK_FALSE(channel.try_put(std::move(late)));
        CHECK(late == "late");
        auto putter = green::spawn([&] { channel.put(std::move(killed)); });
        settle();
        putter.kill();
        CHECK(killed == "killed");
        CHECK_FALSE(channel.try_get().has_value());
        CHECK(channel.waiting_putters() == 0);
    });
}

TEST_CASE("channel: a kill that comes when the item was taken waits for the next wait",
          "[core][channel]") {
    run_green([] {
        green::Channel<std::string> channel;
        Log log;
        auto putter = green::spawn([&] {
            log.emplace_back(channel.put("it") ? "put" : "not put");
            green::yield();
            log.emplace_back("never");
        });
        settle();
        CHECK(channel.get() == "it");
        putter.kill_soon();
        settle();
        CHECK(log == Log{"put"});
        CHECK(putter.successful());
        CHECK_THROWS_AS(putter.get(), green::GreenletExit);
    });
}

TEST_CASE("channel: no kill and no limit reaches a putter whose getter runs next",
          "[core][channel]") {
    run_green([] {
        green::Channel<std::string> channel;
        Log log;
        auto getter = green::spawn([&] { log.push_back("got " + channel.get()); });
        settle();
        auto putter = green::spawn([&] {
            const green::TimeoutScope limit{10ms};
            const bool done = channel.put("it", 10ms);
            log.emplace_back(done ? "put" : "not put");
            green::yield();
            log.emplace_back("never");
        });
        green::spawn([&] { putter.kill_soon(); });  // runs between the two
        settle();
        CHECK(log == Log{"got it", "put"});
        CHECK(putter.ready());
    });
}

TEST_CASE("channel: the item of a killed getter goes to the next one", "[core][channel]") {
    run_green([] {
        green::Channel<std::string> channel;
        Log log;
        auto killed = green::spawn([&] { log.push_back("wrong " + channel.get()); });
        auto next = green::spawn([&] { log.push_back("got " + channel.get()); });
        settle();
        green::spawn([&] {
            channel.put("it");
            log.emplace_back("put");
        });
        green::spawn([&] { killed.kill_soon(); });
        settle();
        CHECK(log == Log{"got it", "put"});
        CHECK(next.ready());
    });
}

TEST_CASE("channel: a putter whose getter was killed waits again, before all others",
          "[core][channel]") {
    run_green([] {
        green::Channel<int> channel;
        auto killed = green::spawn([&] { channel.get(); });
        settle();
        auto putter = green::spawn([&] { channel.put(1); });
        auto killer = green::spawn([&] {
            killed.kill_soon();
            channel.put(2);  // comes while the first is paired
        });
        settle();
        CHECK_FALSE(putter.ready());
        CHECK(channel.waiting_putters() == 2);
        CHECK(channel.get() == 1);
        CHECK(channel.get() == 2);
        settle();
        CHECK(putter.ready());
    });
}

TEST_CASE("channel: putters whose getters were killed keep their order, before all others",
          "[core][channel]") {
    run_green([] {
        green::Channel<int> channel;
        int first = 0;
        std::vector<green::Greenlet<void>> killed;
        killed.push_back(green::spawn([&] {
            try {
                channel.get();
            } catch (...) {
                first = channel.try_get().value_or(-1);  // before its putter has run again
                throw;
            }
        }));
        for (int i = 0; i < 2; ++i) killed.push_back(green::spawn([&] { channel.get(); }));
        settle();
        std::vector<green::Greenlet<void>> putters;
        for (int i = 1; i <= 3; ++i) putters.push_back(green::spawn([&, i] { channel.put(i); }));
        putters.push_back(green::spawn([&] {
            for (auto& getter : killed) getter.kill_soon();
            channel.put(4);
        }));
        settle();
        CHECK(first == 1);
        for (int i = 2; i <= 4; ++i) CHECK(channel.get() == i);
        for (auto& putter : putters) putter.join();
    });
}

TEST_CASE("channel: a selected put whose getter was killed waits on, with all the others",
          "[core][channel][select]") {
    run_green([] {
        green::Channel<std::string> channel;
        green::Event event;
        std::string item = "it";
        auto killed = green::spawn([&] { channel.get(); });
        settle();
        auto chooser = green::spawn([&] {
            return green::select(event, green::send(channel, item), green::after(10ms)).index();
        });
        green::spawn([&] { killed.kill_soon(); });
        settle();
        REQUIRE_FALSE(chooser.ready());
        CHECK(channel.waiting_putters() == 1);
        SECTION("until its limit") { CHECK(chooser.get() == 2); }
        SECTION("until another one is done") {
            event.set();
            CHECK(chooser.get() == 0);
        }
        SECTION("until there is another getter") {
            CHECK(channel.get() == "it");
            CHECK(chooser.get() == 1);
        }
        SECTION("until it is closed") {
            channel.close();
            CHECK_THROWS_AS(chooser.get(), green::Closed);
        }
        CHECK(channel.waiting_putters() == 0);
    });
}

TEST_CASE("channel: who selects and has lost a getter is given nothing until he waits again",
          "[core][channel][select]") {
    run_green([] {
        green::Channel<int> channel;
        green::Channel<int> other;
        auto killed = green::spawn([&] { channel.get(); });
        settle();
        int item = 1;
        int second = 2;
        SECTION("not even his own item") {
            auto chooser = green::spawn([&] {
                return green::select(green::recv(channel), green::send(channel, item),
                                     green::after(10ms))
                    .index();
            });
            green::spawn([&] { killed.kill_soon(); });
            CHECK(chooser.get() == 2);
        }
        SECTION("nor a getter beside the one that he is paired with then") {
            auto to = green::send(channel, item);
            auto chooser =
                green::spawn([&] { return green::select(green::send(other, second), to).index(); });
            auto getter = green::spawn([&] {
                killed.kill_soon();
                return other.get();
            });
            green::yield();
            green::yield();
            auto late = green::spawn([&] { return channel.next(10ms); });
            CHECK(chooser.get() == 0);
            CHECK(getter.get() == 2);
            CHECK_FALSE(late.get().has_value());
            CHECK(channel.waiting_putters() == 0);
        }
    });
}

TEST_CASE("channel: one that goes leaves those alone that are paired", "[core][channel]") {
    const bool getter_is_killed = GENERATE(false, true);
    run_green([getter_is_killed] {
        auto channel = std::make_unique<green::Channel<std::string>>();
        auto getter = green::spawn([&its = *channel] { return its.get(); });
        settle();
        std::string item = "it";
        auto putter = green::spawn([&its = *channel, &item] { return its.put(std::move(item)); });
        green::spawn([&] {
            channel.reset();
            if (getter_is_killed) getter.kill_soon();
        });
        settle();
        if (getter_is_killed) {
            CHECK_THROWS_AS(putter.get(), green::Closed);
            CHECK(item == "it");
        } else {
            CHECK(getter.get() == "it");
            CHECK(putter.get());
        }
    });
}

TEST_CASE("channel: what was given to a getter goes with the channel", "[core][channel]") {
    run_green([] {
        auto channel = std::make_unique<green::Channel<int>>();
        auto getter = green::spawn([&its = *channel] { return its.get(); });
        auto killed = green::spawn([&its = *channel] { return its.get(); });
        settle();
        CHECK(channel->try_put(1));
        CHECK(channel->try_put(2));
        channel.reset();
        killed.kill_soon();
        CHECK_THROWS_AS(getter.get(), green::Closed);
        settle();
        CHECK(killed.ready());
    });
}

TEST_CASE("channel: one that goes tells a putter that has lost its getter", "[core][channel]") {
    const bool runs_before = GENERATE(false, true);
    run_green([runs_before] {
        auto channel = std::make_unique<green::Channel<std::string>>();
        auto killed = green::spawn([&] {
            try {
                channel->get();
            } catch (...) {
                if (!runs_before) channel.reset();
                throw;
            }
        });
        settle();
        std::string item = "it";
        auto putter = green::spawn([&its = *channel, &item] { return its.put(std::move(item)); });
        green::spawn([&] { killed.kill_soon(); });
        settle();
        channel.reset();
        CHECK_THROWS_AS(putter.get(), green::Closed);
        CHECK(item == "it");
    });
}

TEST_CASE("channel: a putter whose getter was killed can give up again", "[core][channel]") {
    run_green([] {
        green::Channel<std::string> channel;
        auto killed = green::spawn([&] { channel.get(); });
        settle();
        std::string item = "it";
        auto putter = green::spawn([&] { return channel.put(std::move(item), 10ms); });
        green::spawn([&] { killed.kill_soon(); });
        settle();
        CHECK_FALSE(putter.get());
        CHECK(item == "it");
    });
}

TEST_CASE("channel: try_put gives only to a getter that waits", "[core][channel]") {
    run_green([] {
        green::Channel<std::unique_ptr<int>> channel;
        CHECK_FALSE(channel.try_put(std::make_unique<int>(1)));
        auto getter = green::spawn([&] { return *channel.get(); });
        green::yield();
        const green::HubRef hub;
        std::vector<bool> put;
        for (int i = 2; i < 4; ++i) {
            hub.post([&, i] { put.push_back(channel.try_put(std::make_unique<int>(i))); });
        }
        CHECK(getter.get() == 2);
        CHECK(put == std::vector{true, false});
    });
}

TEST_CASE("channel: what was given to a getter that is killed waits for the next",
          "[core][channel]") {
    run_green([] {
        green::Channel<int> channel;
        auto first = green::spawn([&] { channel.get(); });
        auto second = green::spawn([&] { channel.get(); });
        settle();
        CHECK(channel.try_put(1));
        CHECK(channel.try_put(2));
        auto third = green::spawn([&] { return channel.get(); });
        green::yield();  // the first two have run by now, but for these:
        auto fourth = green::spawn([&] { channel.get(); });
        auto fifth = green::spawn([&] { return channel.get(); });
        settle();
        CHECK(channel.try_put(3));
        CHECK(third.get() == 3);
        CHECK(channel.try_put(4));
        fourth.kill_soon();
        CHECK(fifth.get() == 4);

        auto last = green::spawn([&] { channel.get(); });
        settle();
        CHECK(channel.try_put(5));
        last.kill_soon();
        settle();
        CHECK(channel.empty());
        channel.close();
        CHECK(channel.get() == 5);
        CHECK_THROWS_AS(channel.get(), green::Closed);
    });
}

TEST_CASE("channel: closing wakes all who wait, putters keep their items", "[core][channel]") {
    run_green([] {
        const tests::Errors errors;
        green::Channel<std::string> channel;
        std::string item = "it";
        auto putter = green::spawn([&] { channel.put(std::move(item)); });
        settle();
        channel.close();
        CHECK_THROWS_AS(putter.get(), green::Closed);
        CHECK(item == "it");
        CHECK_THROWS_AS(channel.put("x"), green::Closed);
        CHECK_THROWS_AS(channel.try_put("x"), green::Closed);
        CHECK_THROWS_AS(channel.get(), green::Closed);
        CHECK_THROWS_AS(channel.try_get(), green::Closed);
        CHECK_FALSE(channel.next().has_value());

        green::Channel<std::string> other;
        auto getter = green::spawn([&] { return other.get(); });
        settle();
        other.close();
        CHECK_THROWS_AS(getter.get(), green::Closed);
    });
}

TEST_CASE("channel: who has been paired is not disturbed by closing", "[core][channel]") {
    run_green([] {
        const tests::Errors errors;
        green::Channel<std::string> channel;
        auto getter = green::spawn([&] { return channel.get(); });
        auto killed = green::spawn([&] { return channel.get(); });
        settle();
        auto putter = green::spawn([&] { return channel.put("it"); });
        auto fails = green::spawn([&] { return channel.put("lost"); });
        green::spawn([&] {
            channel.close();
            killed.kill_soon();
        });
        CHECK(getter.get() == "it");
        CHECK(putter.get());
        CHECK_THROWS_AS(fails.get(), green::Closed);
    });
}

TEST_CASE("channel: a loop over it ends when it is closed", "[core][channel]") {
    run_green([] {
        green::Channel<std::unique_ptr<int>> channel;
        auto sum = green::spawn([&] {
            int total = 0;
            for (auto item : channel) total += *item;
            return total;
        });
        for (int i = 1; i <= 3; ++i) channel.put(std::make_unique<int>(i));
        channel.close();
        CHECK(sum.get() == 6);
    });
}

TEST_CASE("channel: limits of a getter", "[core][channel]") {
    run_green([] {
        green::Channel<int> channel;
        CHECK_FALSE(channel.get_for(5ms).has_value());
        CHECK_THROWS_AS(channel.get(5ms), green::Timeout);
        CHECK_FALSE(channel.next(5ms).has_value());
        CHECK_FALSE(channel.try_get().has_value());
        auto putter = green::spawn([&] { return channel.put(1); });
        settle();
        CHECK(channel.try_get() == 1);
        CHECK(putter.get());
    });
}

TEST_CASE("channel: who sends and receives at once does not meet himself", "[core][channel]") {
    const bool send_first = GENERATE(true, false);
    run_green([send_first] {
        green::Channel<int> channel;
        const auto both = [&](int item) {
            auto to = green::send(channel, item);
            auto from = green::recv(channel);
            const std::size_t won =
                send_first ? tests::one_of(10ms, to, from) : tests::one_of(10ms, from, to);
            if (won == tests::none) return 0;
            if ((won == 0) == send_first) {
                to.take();
                return -item;
            }
            return from.take();
        };
        CHECK(both(1) == 0);
        auto one = green::spawn(both, 1);
        auto other = green::spawn(both, 2);
        CHECK(one.get() == (send_first ? 2 : -1));
        CHECK(other.get() == (send_first ? -2 : 1));
        CHECK(channel.waiting_getters() + channel.waiting_putters() == 0);
    });
}

TEST_CASE("channel: of several operations one is done and the others leave no trace",
          "[core][channel]") {
    run_green([] {
        green::Channel<std::string> a;
        green::Channel<std::string> b;
        std::string item = "mine";
        auto chooser = green::spawn([&] {
            auto to_a = green::send(a, item);
            auto from_b = green::recv(b);
            REQUIRE(tests::one_of(green::Deadline::never(), to_a, from_b) == 1);
            return from_b.take();
        });
        settle();
        auto putter = green::spawn([&] { return b.put("theirs"); });
        auto getter = green::spawn([&] { return a.get(); });
        settle();
        CHECK(putter.get());
        CHECK(chooser.get() == "theirs");
        CHECK(item == "mine");
        CHECK_FALSE(getter.ready());
        CHECK(a.try_put("end"));
        CHECK(getter.get() == "end");
    });
}

TEST_CASE("channel: ready means that a putter waits, or that it has ended", "[core][channel]") {
    run_green([] {
        green::Channel<int> channel;
        auto waits = green::spawn([&] {
            green::Channel<int>::Ready ready{channel};
            CHECK_FALSE(green::detail::park(ready, 5ms));
            CHECK(green::detail::park(ready, green::Deadline::never()));
            CHECK(green::detail::park(ready, green::Deadline::never()));
            CHECK(channel.try_get() == 1);
            int item = 2;
            auto to = green::send(channel, item);
            green::detail::WaitNode* const nodes[] = {&ready, &to.node()};
            CHECK_FALSE(green::detail::park(nodes, 5ms));  // one's own put is not an item
            CHECK(green::detail::park(ready, green::Deadline::never()));
            return channel.closed();
        });
        green::sleep(10ms);
        CHECK(channel.put(1));
        green::sleep(10ms);
        CHECK_FALSE(waits.ready());
        channel.close();
        CHECK(waits.get());
    });
}
