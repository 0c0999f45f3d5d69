// What becomes of messages of a named queue that are not simply got and acknowledged: time, dead
// letters, ids, a full queue, damage.

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/queue.hpp>

#include "named_documents.hpp"
#include "named_passing.hpp"
#include "queue/segment.hpp"
#include "queue/slot.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::name_of;
using tests::put;
using tests::run_green_for_real;
namespace ipc = green::ipc;

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

TEST_CASE("named queue: who has a place goes on, though others wait for one", "[ipc][queue]") {
    run_green_for_real([] {
        ipc::LocalQueue::Options options;
        options.capacity = 1;
        ipc::LocalQueue local{"texts", options};
        ipc::RawQueue queue{local.grant()};
        ipc::RawQueue other{local.grant()};
        auto draft = queue.prepare(100);
        const bool is_other = GENERATE(false, true);
        auto waiting = green::spawn([&] { (is_other ? other : queue).prepare(100)->put(100); });
        tests::settle();
        CHECK_FALSE(waiting.ready());
        draft->release();
        REQUIRE(draft->regrow(3000, 2s));
        draft->put(3000);
        CHECK(queue.next()->ack());
        CHECK(waiting.join(2s));
        CHECK(queue.next()->ack());
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
            tests::Passing met{ipc::shm::CrashPoint::sweep_pass};
            CHECK(queue.get().reject());
            damage(ipc::shm::SlotState::dead);
            CHECK(met.wait(2s));
            put(queue, "whole");
            CHECK(queue.get().reject());
            auto lease = dead.get_for(2s);
            REQUIRE(lease);
            CHECK(name_of(*lease) == "whole");
        }
    });
}
