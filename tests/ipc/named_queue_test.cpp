// Named queues in one process: what is put is got, in order, and who waits is served.

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/queue.hpp>

#include "named_documents.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::name_of;
using tests::put;
using tests::run_green_for_real;
namespace ipc = green::ipc;

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
