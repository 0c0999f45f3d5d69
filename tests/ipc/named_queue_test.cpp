#include <functional>
#include <set>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/fork.hpp>
#include <green/green.hpp>
#include <green/ipc/queue.hpp>

#include "document.capnp.h"
#include "queue/keeper.hpp"
#include "queue/segment.hpp"
#include "queue/slot.hpp"
#include "support/run_green.hpp"
#include "support/temp_dir.hpp"

using namespace std::chrono_literals;
using tests::run_green_for_real;
namespace ipc = green::ipc;

namespace {

std::string name_of(const ipc::Lease<Document>& lease) {
    return std::string{ipc::view(lease->getName())};
}

void put(ipc::Queue<Document>& queue, const std::string& name, const std::string& body = {}) {
    const bool done = queue.put(
        [&](Document::Builder document) {
            document.setName(ipc::text(name));
            document.setBody(ipc::bytes(body));
        },
        name.size() + body.size());
    REQUIRE(done);
}

}  // namespace

TEST_CASE("named queue: messages come in the order of put and are read in place", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> producer{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> consumer{ipc::RawQueue{local.grant()}};
        for (int i = 0; i < 100; ++i)
            put(producer, std::to_string(i), std::string(static_cast<std::size_t>(i), 'x'));
        for (int i = 0; i < 100; ++i) {
            auto lease = consumer.get();
            CHECK(name_of(lease) == std::to_string(i));
            CHECK(lease->getBody().size() == static_cast<std::size_t>(i));
            CHECK(lease.deliveries() == 1);
            CHECK(lease.ack());
        }
        CHECK(local.empty());
    });
}

TEST_CASE("named queue: a message that outgrows its place is brought back in one piece",
          "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        const std::string body(500'000, 'b');
        auto draft = queue.prepare(0);
        draft->setName("grown");
        draft->setBody(ipc::bytes(body));
        CHECK(draft.put());
        CHECK_THROWS_AS(draft.put(), green::UsageError);
        auto lease = queue.get();
        CHECK(name_of(lease) == "grown");
        CHECK(ipc::view(lease->getBody()) == body);
        lease.ack();
        CHECK(local.empty());
    });
}

TEST_CASE("named queue: a deadline of the first who waits is none for those who wait later",
          "[ipc][queue]") {
    run_green_for_real([] {
        const tests::Errors errors;
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> producer{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> consumer{ipc::RawQueue{local.grant()}};
        {
            const green::DeadlineScope limit{1ms};
            CHECK_THROWS_AS(consumer.get(), green::Timeout);
            CHECK_THROWS_AS(green::spawn([] { green::sleep(1h); }).get(), green::Timeout);
        }
        CHECK_FALSE(consumer.get_for(1ms));
        auto later = green::spawn([&] { return name_of(consumer.get()); });
        tests::settle();
        put(producer, "late");
        CHECK(later.get() == "late");
    });
}

TEST_CASE("named queue: a message above the limit is refused and leaves no trace", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts", {16, 1 << 20, 10'000}};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        CHECK_THROWS_AS(queue.prepare(20'000), green::UsageError);
        auto draft = queue.prepare(0);
        draft->setBody(ipc::bytes(std::string(20'000, 'x')));
        CHECK_THROWS_AS(draft.put(), green::UsageError);
        CHECK(local.empty());
        put(queue, "fits");
        CHECK(name_of(queue.get()) == "fits");
    });
}

TEST_CASE("named queue: a dropped draft leaves no trace and a dropped lease goes to the next",
          "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        { auto draft = queue.prepare(10); }
        CHECK(local.empty());
        put(queue, "a");
        { const auto lease = queue.get(); }
        auto lease = queue.get();
        CHECK(name_of(lease) == "a");
        CHECK(lease.deliveries() == 2);
        CHECK(lease.nack());
        CHECK_THROWS_AS(lease.ack(), green::UsageError);
        auto last = queue.get();
        CHECK(last.deliveries() == 3);
        CHECK(last.ack());
        CHECK_FALSE(queue.next(0ms).has_value());
    });
}

TEST_CASE("named queue: a full one makes producers wait until there is room", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts", {2, 1 << 20, 10'000}};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> consumer{ipc::RawQueue{local.grant()}};
        put(queue, "1");
        put(queue, "2");
        CHECK_THROWS_AS(queue.prepare(0, 10ms), green::Timeout);
        CHECK_FALSE(queue.put([](Document::Builder) {}, 0, 10ms));
        std::vector<std::string> log;
        auto third = green::spawn([&] {
            put(queue, "3");
            log.emplace_back("3 is in");
        });
        green::idle();
        CHECK(log.empty());
        consumer.get().ack();
        third.join();
        CHECK(log.size() == 1);
        CHECK(name_of(consumer.get()) == "2");
    });
}

TEST_CASE("named queue: waiting consumers of one process are served in turn", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> producer{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> consumer{ipc::RawQueue{local.grant()}};
        std::vector<std::string> got;
        green::Group group;
        for (int i = 0; i < 3; ++i) {
            group.spawn([&, i] {
                auto lease = consumer.get();
                got.push_back(std::to_string(i) + name_of(lease));
                lease.ack();
            });
        }
        green::idle();
        for (const char* name : {"a", "b", "c"}) put(producer, name);
        group.join();
        CHECK(got == std::vector<std::string>{"0a", "1b", "2c"});
    });
}

TEST_CASE("named queue: what a killed waiter had been handed goes to the next", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts", {1, 1 << 20, 10'000}};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        auto first = green::spawn([&] { queue.get().ack(); });
        auto second = green::spawn([&] {
            auto lease = queue.get();
            lease.ack();
            return name_of(lease);
        });
        green::idle();
        put(queue, "x");
        green::yield();  // the listener hears, and hands it to the first
        green::yield();
        first.kill_soon();
        CHECK(second.get() == "x");
        CHECK(local.empty());

        put(queue, "full");
        auto putter = green::spawn([&] { put(queue, "never"); });
        auto next = green::spawn([&] { put(queue, "next"); });
        green::idle();
        queue.get().ack();
        putter.kill_soon();
        next.join();
        CHECK(name_of(queue.get()) == "next");
    });
}

TEST_CASE("named queue: who holds all that it can leaves what comes to others", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> full{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> other{ipc::RawQueue{local.grant()}};
        std::vector<ipc::Lease<Document>> held;
        for (int i = 0; i < 128; ++i) {
            put(full, "held");
            held.push_back(full.get());
        }
        auto waiting = green::spawn([&] { return name_of(full.get()); });
        green::idle();
        for (int i = 0; i < 4; ++i) {
            auto taker = green::spawn([&] {
                auto lease = other.get_for(2s);
                return lease && lease->ack();
            });
            green::idle();
            put(other, "for others");
            CHECK(taker.get());
        }
        CHECK_FALSE(waiting.join(0ms));
        // An end of a lease, and the next message is its own.
        CHECK(held.front().ack());
        put(other, "for both");
        CHECK(waiting.get() == "for both");
    });
}

TEST_CASE("named queue: what a killed waiter had been handed and never saw is as if not delivered",
          "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue::Options options;
        options.at_most_once = GENERATE(false, true);
        ipc::LocalQueue local{"texts", options};
        ipc::LocalQueue letters{"letters"};
        local.set_dead_letter(letters, 1);
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        auto waiter = green::spawn([&] { queue.get().ack(); });
        green::idle();
        put(queue, "x");
        green::yield();  // the listener hears, and hands it over
        green::yield();
        waiter.kill_soon();
        (void)waiter.join();
        CHECK_FALSE(local.empty());
        auto lease = queue.get_for(0ms);
        REQUIRE(lease);
        CHECK(name_of(*lease) == "x");
        CHECK(lease->deliveries() == 1);
        CHECK(lease->ack());
        CHECK(local.empty());
        CHECK(letters.empty());
    });
}

TEST_CASE("named queue: a lease ends in time, unless it is extended", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts", {16, 1 << 20, 10'000, 100ms}};
        ipc::Queue<Document> slow{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> other{ipc::RawQueue{local.grant()}};
        put(slow, "a");
        auto lost = slow.get();
        SECTION("it is over and the next one has the message") {
            auto lease = other.get();
            CHECK(name_of(lease) == "a");
            CHECK(lease.deliveries() == 2);
            CHECK_FALSE(lost.extend(1h));
            CHECK_FALSE(lost.ack());
            CHECK(lease.ack());
        }
        SECTION("it was extended for as long as nobody lives") {
            CHECK(lost.extend(1h));
            CHECK_FALSE(other.get_for(150ms));
            CHECK(lost.extend(1ms));
            CHECK(name_of(other.get()) == "a");
            CHECK_FALSE(lost.nack());
        }
        CHECK_THROWS_AS(lost.extend(1s), green::UsageError);
    });
}

TEST_CASE("named queue: one given back for later is not to be had before", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        put(queue, "a");
        put(queue, "b");
        const auto begun = green::now();
        CHECK(queue.get().nack(200ms));
        auto b = queue.get();
        CHECK(name_of(b) == "b");
        CHECK_FALSE(queue.get_for(1ms));
        CHECK_FALSE(local.empty());
        auto a = queue.get();
        CHECK(green::now() - begun >= 200ms);
        CHECK(name_of(a) == "a");
        CHECK(a.deliveries() == 2);
        CHECK(a.reject());
        CHECK_THROWS_AS(a.ack(), green::UsageError);
        CHECK(b.reject());
        CHECK(local.empty());
    });
}

TEST_CASE("named queue: for ever is a time like others", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts", {16, 1 << 20, 10'000, 5ms}};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        put(queue, "a");
        auto lease = queue.get();
        CHECK(lease.extend(green::Duration::max()));
        CHECK_FALSE(queue.get_for(20ms));
        CHECK(lease.extend(green::Duration::min()));
        auto again = queue.get_for(2s);
        REQUIRE(again);
        CHECK(again->nack(green::Duration::min()));
        again = queue.get_for(2s);
        REQUIRE(again);
        CHECK(again->nack(green::Duration::max()));
        CHECK_FALSE(queue.get_for(20ms));
        CHECK_FALSE(local.empty());
    });
}

TEST_CASE("named queue: of several puts of one id one counts", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        const auto id = ipc::MessageId::of("order 17");
        CHECK(id == ipc::MessageId::of("order 17"));
        CHECK_FALSE(id == ipc::MessageId::of("order 18"));
        for (const char* name : {"first", "second"}) {
            CHECK(queue.put_once(id, [&](Document::Builder document) { document.setName(name); }));
        }
        auto draft = queue.prepare(0);
        draft->setName("third");
        draft->setBody(ipc::bytes(std::string(100'000, 'x')));
        CHECK(draft.put_once(id));
        auto lease = queue.get();
        CHECK(name_of(lease) == "first");
        CHECK(lease.ack());
        CHECK(local.empty());
    });
}

TEST_CASE("named queue: what dies is kept in the queue for dead letters, with what is known of it",
          "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::LocalQueue letters{"letters"};
        local.set_dead_letter(letters, 2);
        CHECK_THROWS_AS(local.set_dead_letter(local), green::UsageError);
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> dead{ipc::RawQueue{letters.grant()}};
        const auto begun = green::now();
        put(queue, "rejected");
        put(queue, "returned");
        CHECK(queue.get().reject());
        auto lease = dead.get();
        CHECK(name_of(lease) == "rejected");
        auto letter = lease.letter();
        REQUIRE(letter);
        CHECK(letter->source == "texts");
        CHECK(letter->reason == ipc::DeadLetter::Reason::rejected);
        CHECK(letter->deliveries == 1);
        CHECK(letter->sequence == 1);
        CHECK(letter->pids.empty());
        CHECK(letter->put_time >= begun);
        CHECK(letter->put_time <= green::now() + 1ms);
        CHECK(lease.ack());
        for (int i = 0; i < 2; ++i) CHECK(queue.get().nack());
        lease = dead.get();
        CHECK(name_of(lease) == "returned");
        CHECK(lease.letter()->reason == ipc::DeadLetter::Reason::deliveries);
        CHECK(lease.letter()->deliveries == 2);
        CHECK(lease.nack());
        lease = dead.get();
        CHECK(lease.letter()->sequence == 2);
        CHECK(lease.ack());
        CHECK(local.empty());
        put(dead, "no letter");
        CHECK_FALSE(dead.get_for(1s)->letter());
    });
}

TEST_CASE("named queue: a full one does what it was made to do", "[ipc][queue]") {
    run_green_for_real([] {
        const auto names = [](ipc::Queue<Document>& queue) {
            std::vector<std::string> found;
            while (auto lease = queue.next(0ms)) {
                found.push_back(name_of(*lease));
                lease->ack();
            }
            return found;
        };
        ipc::LocalQueue::Options options;
        options.capacity = 2;
        options.max_message = 10'000;
        SECTION("refuse") {
            options.when_full = ipc::WhenFull::reject;
            ipc::LocalQueue local{"texts", options};
            ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
            put(queue, "1");
            put(queue, "2");
            CHECK_FALSE(queue.put([](Document::Builder) {}));
            CHECK_THROWS_AS(queue.prepare(), ipc::QueueFull);
            CHECK(names(queue) == std::vector<std::string>{"1", "2"});
        }
        SECTION("drop the new one") {
            options.when_full = ipc::WhenFull::drop_newest;
            ipc::LocalQueue local{"texts", options};
            ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
            for (const char* name : {"1", "2", "3"}) put(queue, name);
            CHECK_THROWS_AS(queue.prepare(20'000), green::UsageError);
            auto draft = queue.prepare();
            draft->setBody(ipc::bytes(std::string(5000, 'x')));
            CHECK(draft.put());
            // No message with this id is there, so it must not count as put.
            const auto id = ipc::MessageId::of("once");
            CHECK_THROWS_AS(queue.put_once(id, [](Document::Builder) {}), ipc::QueueFull);
            CHECK(names(queue) == std::vector<std::string>{"1", "2"});
            CHECK(queue.put_once(id, [](Document::Builder build) { build.setName("once"); }));
            CHECK(names(queue) == std::vector<std::string>{"once"});
            put(queue, "4");
            CHECK(names(queue) == std::vector<std::string>{"4"});
        }
        SECTION("drop the oldest one") {
            options.when_full = ipc::WhenFull::drop_oldest;
            ipc::LocalQueue local{"texts", options};
            ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
            for (const char* name : {"1", "2", "3"}) put(queue, name);
            auto held = queue.get();
            CHECK(name_of(held) == "2");
            put(queue, "4");
            auto other = queue.get();
            CHECK(name_of(other) == "4");
            CHECK_FALSE(queue.put([](Document::Builder) {}, 0, 5ms));  // nobody drops what is held
            std::vector<std::string> left;
            SECTION("all of them done") { CHECK(held.ack()); }
            SECTION("one of them back, while somebody waits for room") {
                ipc::Queue<Document> waiting{ipc::RawQueue{local.grant()}};
                auto putting = green::spawn([&] { put(waiting, "5"); });
                tests::settle();
                CHECK(held.nack());
                putting.get();
                left = {"5"};
            }
            CHECK(other.ack());
            CHECK(names(queue) == left);
            CHECK(local.empty());
        }
    });
}

TEST_CASE("named queue: others have their turn while many are dropped for a large one",
          "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue::Options options;
        options.capacity = 8192;
        options.payload_bytes = 256 << 10;
        options.max_message = 128 << 10;
        options.when_full = ipc::WhenFull::drop_oldest;
        ipc::LocalQueue local{"texts", options};
        ipc::RawQueue queue{local.grant()};
        // What is prepared first lies behind the small ones, from the end of the memory on.
        constexpr std::size_t chunk = 4096;
        auto last = queue.prepare(31 * chunk);
        auto between = queue.prepare(2 * chunk);
        for (std::size_t i = 0; i < 31 * chunk / 64; ++i) queue.prepare(64)->put(64);
        last->put(64);
        unsigned turns = 0;
        auto other = green::spawn([&] {
            for (;; ++turns) green::yield();
        });
        SECTION("at once") {
            green::yield();
            turns = 0;
            queue.prepare(28 * chunk)->put(64);
        }
        SECTION("for one who waits") {
            auto putting = green::spawn([&] { queue.prepare(32 * chunk)->put(64); });
            for (int i = 0; i < 3; ++i) green::yield();
            CHECK_FALSE(putting.ready());
            between.reset();
            turns = 0;
            putting.get();
        }
        CHECK(turns > 0);
        other.kill();
    });
}

TEST_CASE(
    "named queue: who waits for memory does not take the news that there is a place to be had",
    "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue::Options options;
        options.capacity = 2;
        options.payload_bytes = 64 << 10;
        options.max_message = 32 << 10;
        options.when_full = ipc::WhenFull::drop_oldest;
        ipc::LocalQueue local{"texts", options};
        ipc::RawQueue queue{local.grant()};
        // With the second in hand there is no room for a large one on either side of it.
        for (const std::size_t size : {16u << 10, 24u << 10}) queue.prepare(size)->put(size);
        CHECK(queue.next()->ack());
        auto held = queue.next();
        queue.prepare(64)->put(64);
        auto small = queue.next();
        ipc::RawQueue one{local.grant()};
        ipc::RawQueue two{local.grant()};
        bool is_first_large = false;
        SECTION("the large one waits first") { is_first_large = true; }
        SECTION("the small one waits first") {}
        const auto put = [](ipc::RawQueue& into, std::size_t size) {
            return green::spawn([&into, size] { into.prepare(size)->put(size); });
        };
        auto first = put(one, is_first_large ? 32u << 10 : 64u);
        tests::settle();
        auto second = put(two, is_first_large ? 64u : 32u << 10);
        tests::settle();
        CHECK(small->nack());
        auto& light = is_first_large ? second : first;
        auto& heavy = is_first_large ? first : second;
        CHECK(light.join(2s));
        CHECK_FALSE(heavy.ready());
        CHECK(held->ack());
        CHECK(heavy.join(2s));
    });
}

TEST_CASE("named queue: what nobody gets in its time is gone, or with the dead letters",
          "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue::Options options;
        options.time_to_live = 5ms;
        options.capacity = 1;
        ipc::LocalQueue local{"texts", options};
        ipc::LocalQueue letters{"letters"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> dead{ipc::RawQueue{letters.grant()}};
        put(queue, "1");
        while (!local.empty()) green::sleep(1ms);
        local.set_dead_letter(letters);
        put(queue, "2");
        const auto lease = dead.get();
        CHECK(name_of(lease) == "2");
        CHECK(lease.letter()->reason == ipc::DeadLetter::Reason::expired);
        CHECK(lease.letter()->deliveries == 0);
        CHECK_FALSE(queue.next(0ms));
    });
}

TEST_CASE("named queue: a damaged message is the trouble of who meets it, not of all others",
          "[ipc][queue]") {
    run_green_for_real([] {
        const tests::Errors errors;
        ipc::LocalQueue local{"texts"};
        ipc::LocalQueue letters{"letters"};
        local.set_dead_letter(letters);
        const auto grant = local.grant();
        const auto segment = ipc::shm::Segment::adopt(grant.segment.number(), grant.path);
        const auto damage = [&](ipc::shm::SlotState state) {
            for (std::uint32_t i = 0; i < segment.config().capacity; ++i) {
                auto& slot = segment.slot(i);
                if (ipc::shm::SlotWord::of(slot.state.load()).state == state) slot.extent.store(0);
            }
        };
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> dead{ipc::RawQueue{letters.grant()}};
        SECTION("one that is handed to who waits") {
            auto first = green::spawn([&] { return queue.get().ack(); });
            tests::settle();
            put(queue, "damaged");
            damage(ipc::shm::SlotState::ready);
            CHECK_THROWS_AS(first.get(), ipc::shm::SegmentError);
            auto second = green::spawn([&] { return name_of(queue.get()); });
            tests::settle();
            put(queue, "whole");
            REQUIRE(second.join(2s));
            CHECK(second.get() == "whole");
        }
        SECTION("one that is dead") {
            put(queue, "damaged");
            CHECK(queue.get().reject());
            damage(ipc::shm::SlotState::dead);
            green::sleep(20ms);  // it is met
            put(queue, "whole");
            CHECK(queue.get().reject());
            auto lease = dead.get_for(2s);
            REQUIRE(lease);
            CHECK(name_of(*lease) == "whole");
        }
    });
}

TEST_CASE("named queue: stopping ends the loops of consumers, not of producers", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        int seen = 0;
        auto consumer = green::spawn([&] {
            for (auto lease : queue) {
                ++seen;
                lease.ack();
            }
        });
        put(queue, "1");
        put(queue, "2");
        green::idle();
        queue.stop();
        CHECK(consumer.join());
        CHECK(seen == 2);
        put(queue, "3");
        CHECK_FALSE(queue.next().has_value());
        CHECK_THROWS_AS(queue.get(), green::Closed);
        CHECK_THROWS_AS(queue.get_for(1h), green::Closed);
        CHECK_FALSE(local.empty());
    });
}

TEST_CASE("named queue: a closed one gives what is left, and then the end", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts", {2, 1 << 20, 10'000}};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> other{ipc::RawQueue{local.grant()}};
        put(queue, "1");
        put(queue, "2");
        auto producer = green::spawn([&] { put(queue, "3"); });
        auto drained = green::spawn([&] { return local.drain(); });
        green::idle();
        CHECK_THROWS_AS(producer.get(), green::Closed);
        CHECK_THROWS_AS(queue.prepare(), green::Closed);
        CHECK_FALSE(queue.raw().stopped());
        auto first = queue.get();
        CHECK(other.get().ack());
        int taken = 0;
        const auto take = [&taken](ipc::Queue<Document>& from) {
            while (auto lease = from.next()) {
                ++taken;
                CHECK(lease->ack());
            }
        };
        auto waiting = green::spawn([&] { take(other); });
        auto second = green::spawn([&] { take(queue); });
        green::idle();
        CHECK_FALSE(waiting.join(5ms));  // the first one may still come back
        CHECK_FALSE(drained.join(0ms));
        CHECK(first.nack());
        // One of the two who wait has it; its end is the end of both, and of the queue.
        CHECK(second.join());
        CHECK(waiting.join());
        CHECK(taken == 1);
        CHECK(drained.get());
        CHECK(local.empty());
        CHECK(queue.raw().stopped());
        CHECK_FALSE(queue.next());
        CHECK_THROWS_AS(queue.get(), green::Closed);
    });
}

TEST_CASE("named queue: one that is closed while room is looked for takes nothing more",
          "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        auto grant = local.grant();
        grant.on_first_use = [&local]() -> std::shared_ptr<void> {
            local.close();
            return nullptr;
        };
        ipc::Queue<Document> queue{ipc::RawQueue{std::move(grant)}};
        CHECK_THROWS_AS(queue.prepare(), green::Closed);
        CHECK(local.empty());
    });
}

TEST_CASE("named queue: the end of the last draft is the end of a closed one", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        ipc::Queue<Document> other{ipc::RawQueue{local.grant()}};
        std::optional draft = queue.prepare();
        local.close();
        auto waiting = green::spawn([&] { return other.next().has_value(); });
        green::idle();
        green::sleep(20ms);  // what closing has rung for is over
        CHECK_FALSE(waiting.join(0ms));
        draft.reset();
        CHECK(waiting.join(2s));
    });
}

TEST_CASE("named queue: who drains one may tire of it", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        put(queue, "1");
        CHECK_FALSE(local.drain(5ms));
        CHECK_FALSE(local.drain(0ms));
        CHECK(queue.get().ack());
        CHECK(local.drain(0ms));
    });
}

TEST_CASE("named queue: it tells when it gets full, and when it is not any more", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts", {10, 1 << 20, 10'000}};
        ipc::Queue<Document> queue{ipc::RawQueue{local.grant()}};
        std::string log;
        put(queue, "x");  // somebody tends the queue already, and sleeps
        queue.get().ack();
        green::sleep(5ms);
        local.watch(80, 50, [&](bool is_high) { log += is_high ? 'h' : 'l'; });
        for (int i = 0; i < 7; ++i) put(queue, "x");
        green::sleep(5ms);
        CHECK(log.empty());
        put(queue, "x");
        for (int i = 0; i < 5000 && log.empty(); ++i) green::sleep(1ms);
        CHECK(log == "h");
        for (int i = 0; i < 2; ++i) queue.get().ack();
        green::sleep(120ms);
        CHECK(log == "h");
        queue.get().ack();
        for (int i = 0; i < 5000 && log == "h"; ++i) green::sleep(1ms);
        CHECK(log == "hl");
    });
}

TEST_CASE("named queue: one of another type is refused", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        auto grant = local.grant();
        grant.schema = "document.capnp:Document";
        const ipc::RawQueue raw{std::move(grant)};
        CHECK_NOTHROW(ipc::Queue<Document>{raw});
        CHECK_THROWS_WITH(ipc::Queue<Other>{raw},
                          Catch::Contains("configured for document.capnp:Document"));
    });
}

TEST_CASE("named queue: who is not among the producers or consumers is told so", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue local{"texts"};
        auto grant = local.grant();
        grant.produce = grant.consume = false;
        ipc::RawQueue raw{std::move(grant)};
        CHECK_THROWS_AS(raw.prepare(1), green::UsageError);
        CHECK_THROWS_AS(raw.next(), green::UsageError);
    });
}

TEST_CASE(
    "named queue: another process consumes, sleeps, and is woken; its death gives back what it "
    "held",
    "[ipc][queue]") {
    // The keeper and all grants exist before the fork; neither side has a hub yet.
    ipc::LocalQueue work{"work"};
    ipc::LocalQueue answers{"answers"};
    auto child_work = work.grant();
    auto child_answers = answers.grant();
    const auto child_owner = child_work.owner;
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ipc::Queue<Document> in{ipc::RawQueue{std::move(child_work)}};
        ipc::Queue<Document> out{ipc::RawQueue{std::move(child_answers)}};
        for (auto lease : in) {
            if (name_of(lease) == "die") ::raise(SIGKILL);  // with the message in hand
            const std::string name = name_of(lease) + "!";
            out.put([&](Document::Builder document) { document.setName(ipc::text(name)); });
            lease.ack();
        }
        ::_exit(1);
    }
    run_green_for_real([&] {
        ipc::Queue<Document> in{ipc::RawQueue{work.grant()}};
        ipc::Queue<Document> out{ipc::RawQueue{answers.grant()}};
        for (int i = 0; i < 200; ++i) {
            put(in, std::to_string(i));
            auto answer = out.get();  // each round trip lets the other side fall asleep first
            CHECK(name_of(answer) == std::to_string(i) + "!");
            answer.ack();
        }
        put(in, "die");
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        CHECK_FALSE(in.next(0ms).has_value());
        work.repair(child_owner);
        auto lease = in.get();
        CHECK(name_of(lease) == "die");
        CHECK(lease.deliveries() == 2);
        lease.ack();
        CHECK(work.empty());
        CHECK(answers.empty());
    });
}

namespace {

bool is_refused(const std::function<void()>& call) {
    try {
        call();
    } catch (const green::WrongProcess&) {
        return true;
    }
    return false;
}

/// Opens the file by every number from 3 to that.
std::vector<green::Fd> take_numbers(const std::string& path, int last) {
    std::vector<green::Fd> all;
    do {
        all.emplace_back(static_cast<int>(
            green::sys::must(green::sys::open(path.c_str(), O_RDWR | O_CREAT, 0600), path)));
    } while (all.back().number() < last);
    return all;
}

}  // namespace

TEST_CASE("named queue: what a forked child has of its parent's it can only destroy",
          "[ipc][queue]") {
    run_green_for_real([] {
        const tests::TempDir directory;
        const std::string path = directory / "childs";
        ipc::LocalQueue local{"texts"};
        std::optional<ipc::RawQueue> queue{local.grant()};
        ipc::RawQueue sleeper{local.grant()};
        for (const std::size_t size : {1, 2}) queue->prepare(size)->put(size);
        std::optional lease = queue->next();
        std::optional used = queue->next();
        std::optional draft = queue->prepare(1);
        auto waits = green::spawn([&] { return sleeper.next().has_value(); });
        green::idle();
        CHECK_FALSE(queue->next(1ms));  // it has a place among the sleepers, too
        const int last = static_cast<int>(green::sys::must(green::sys::dup(0), "dup"));
        const green::Fd above{last};
        green::Process child = green::fork_process(
            [&] {
                const std::vector<green::Fd> own = take_numbers(path, last);
                if (!is_refused([&] { (void)queue->next(0ms); })) return 1;
                if (!is_refused([&] { (void)queue->prepare(1); })) return 2;
                if (!is_refused([&] { used->ack(); })) return 3;
                if (!is_refused([&] { used->nack(); })) return 4;
                if (!is_refused([&] { used->nack(1ms); })) return 5;
                if (!is_refused([&] { used->reject(); })) return 6;
                if (!is_refused([&] { (void)used->extend(1s); })) return 7;
                if (!is_refused([&] { draft->put(1); })) return 8;
                if (!is_refused([&] { draft->put_once({1, 2}, 1); })) return 9;
                if (!is_refused([&] { draft->release(); })) return 10;
                if (!is_refused([&] { (void)local.grant(); })) return 11;
                if (!is_refused([&] { local.close(); })) return 12;
                queue->stop();
                lease.reset();
                used.reset();
                draft.reset();
                queue.reset();
                struct stat file {};
                (void)green::sys::fstat(own.front().number(), file);
                return file.st_size == 0 ? 0 : 13;
            },
            {.descriptors = std::vector<int>{}});
        CHECK(child.join()->text() == "exited with 0");
        green::idle();
        CHECK_FALSE(waits.ready());
        CHECK(used->ack());
        CHECK_FALSE(queue->next(1ms));  // nobody has given the other one back
        draft->put(1);
        CHECK(waits.join(2s));
        CHECK(waits.get());
        CHECK(lease->ack());
    });
}

TEST_CASE("named queue: who finds no place among the sleepers waits all the same", "[ipc][queue]") {
    run_green_for_real([] {
        const tests::TempDir directory;
        const std::string path = directory / "crowd";
        ipc::shm::Config config;
        config.wait_slots = 1;
        config.capacity = 1;
        ipc::shm::Keeper keeper{ipc::shm::Segment::create(path, config)};
        keeper.recover();
        keeper.configure({});
        auto grant = [&, owner = 0u]() mutable {
            ipc::QueueGrant made;
            made.name = "crowd";
            made.path = path;
            made.schema = "bytes";
            made.segment = green::Fd{static_cast<int>(
                green::sys::must(green::sys::open(path.c_str(), O_RDWR), "open " + path))};
            made.doorbells.emplace_back(
                static_cast<int>(green::sys::must(green::sys::dup(keeper.doorbells()[0]), "dup")));
            made.owner = ++owner;
            return made;
        };
        ipc::Queue<Document> first{ipc::RawQueue{grant()}};
        ipc::Queue<Document> second{ipc::RawQueue{grant()}};
        ipc::Queue<Document> third{ipc::RawQueue{grant()}};
        // The first has the only place from here on, also while it does not wait.
        CHECK_FALSE(first.next(1ms));
        CHECK_FALSE(second.next(30ms));
        auto getting = green::spawn([&] { return second.get().ack(); });
        tests::settle();
        put(third, "1");
        CHECK(getting.get());
        put(third, "2");
        auto putting = green::spawn([&] { put(third, "3"); });
        tests::settle();
        CHECK(second.get().ack());
        putting.get();
        CHECK(name_of(first.get()) == "3");
    });
}
