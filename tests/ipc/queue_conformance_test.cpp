// What every named queue must do; see queue_conformance.hpp.

#include "queue_conformance.hpp"

#include <cstring>
#include <numeric>

#include <catch2/catch.hpp>

#include <green/green.hpp>

#include "support/run_green.hpp"

using namespace std::chrono_literals;
using namespace queue_conformance;
using green::ipc::MessageId;
using green::ipc::RawLease;
using green::ipc::RawQueue;
using green::ipc::WhenFull;
using tests::run_green_for_real;

namespace {

/// Runs a case for each backend.
void with_each(const Wish& wish, const std::function<void(UnderTest&)>& body) {
    for (const Backend& backend : backends()) {
        INFO("backend: " << backend.name);
        run_green_for_real([&] {
            const auto queue = backend.make("q", wish);
            body(*queue);
        });
    }
}
void with_each_pair(const Wish& wish, const std::function<void(UnderTest&, UnderTest&)>& body) {
    for (const Backend& backend : backends()) {
        INFO("backend: " << backend.name);
        run_green_for_real([&] {
            const auto one = backend.make("q", wish);
            const auto two = backend.make("letters", {});
            body(*one, *two);
        });
    }
}

void fill(green::ipc::RawDraft& draft, std::string_view text) {
    std::memcpy(draft.memory().data(), text.data(), text.size());
}
bool put(RawQueue& queue, std::string_view text, green::Deadline deadline = 10s) {
    auto draft = queue.prepare(text.size(), deadline);
    if (!draft) return false;
    fill(*draft, text);
    draft->put(text.size());
    return true;
}
bool put_once(RawQueue& queue, MessageId id, std::string_view text) {
    auto draft = queue.prepare(text.size(), 10s);
    if (!draft) return false;
    fill(*draft, text);
    return draft->put_once(id, text.size());
}
std::string text_of(const RawLease& lease) {
    return {reinterpret_cast<const char*>(lease.bytes().data()), lease.bytes().size()};
}
RawLease take(RawQueue& queue) {
    auto lease = queue.next(10s);
    REQUIRE(lease);
    return std::move(*lease);
}
/// All that there is now, each acked.
std::string rest(RawQueue& queue) {
    std::string found;
    while (auto lease = queue.next(0ms)) {
        found += (found.empty() ? "" : " ") + text_of(*lease);
        CHECK(lease->ack());
    }
    return found;
}

}  // namespace

TEST_CASE("named queue conformance: messages come in order, once, whole", "[ipc][queue]") {
    with_each({}, [](UnderTest& under) {
        auto producer = under.join();
        auto consumer = under.join();
        for (const std::size_t size : {0u, 1u, 63u, 64u, 5000u, 200'000u}) {
            std::string text(size, '\0');
            std::iota(text.begin(), text.end(), static_cast<char>(size));
            REQUIRE(put(producer, text));
            auto lease = take(consumer);
            CHECK(text_of(lease) == text);
            CHECK(lease.deliveries() == 1);
            CHECK(lease.ack());
        }
        for (int i = 0; i < 50; ++i) REQUIRE(put(producer, std::to_string(i)));
        std::uint64_t last = 0;
        for (int i = 0; i < 50; ++i) {
            auto lease = take(consumer);
            CHECK(text_of(lease) == std::to_string(i));
            CHECK(lease.sequence() > last);
            last = lease.sequence();
            CHECK(lease.ack());
        }
        CHECK(under.empty());
        CHECK_FALSE(consumer.next(1ms));
    });
}

TEST_CASE("named queue conformance: a draft that is dropped was never there", "[ipc][queue]") {
    with_each({2}, [](UnderTest& under) {
        auto queue = under.join();
        for (int i = 0; i < 20; ++i) {
            auto draft = queue.prepare(100, 1s);
            REQUIRE(draft);
            fill(*draft, "never");
        }
        CHECK(under.empty());
    });
}

TEST_CASE("named queue conformance: what is not acked comes again, and says how often",
          "[ipc][queue]") {
    with_each({}, [](UnderTest& under) {
        auto queue = under.join();
        REQUIRE(put(queue, "a"));
        { const auto dropped = take(queue); }
        auto lease = take(queue);
        CHECK(lease.deliveries() == 2);
        CHECK(lease.nack());
        CHECK_THROWS_AS(lease.nack(), green::UsageError);
        lease = take(queue);
        CHECK(lease.deliveries() == 3);
        CHECK(lease.ack());
        CHECK(under.empty());
    });
}

TEST_CASE("named queue conformance: a death gives back what the dead one had, before all others",
          "[ipc][queue]") {
    with_each({}, [](UnderTest& under) {
        auto queue = under.join();
        for (const char* text : {"a", "b", "c"}) REQUIRE(put(queue, text));
        REQUIRE(under.die_with_a_message() > 0);
        auto lease = take(queue);
        CHECK(text_of(lease) == "a");
        CHECK(lease.deliveries() == 2);
        CHECK(lease.ack());
        CHECK(rest(queue) == "b c");
    });
}

TEST_CASE("named queue conformance: a lease ends in time, and its holder is refused afterwards",
          "[ipc][queue]") {
    Wish wish;
    wish.lease = 100ms;
    with_each(wish, [](UnderTest& under) {
        auto slow = under.join();
        auto other = under.join();
        REQUIRE(put(slow, "a"));
        auto lost = take(slow);
        auto again = take(other);
        CHECK(text_of(again) == "a");
        CHECK(again.deliveries() == 2);
        CHECK(again.extend(1h));
        CHECK_FALSE(lost.extend(1h));
        CHECK(text_of(lost) == "a");
        CHECK_FALSE(lost.ack());
        CHECK_FALSE(other.next(20ms));
        CHECK(again.ack());
        CHECK(under.empty());
    });
}

TEST_CASE("named queue conformance: given back for later it comes later, and first",
          "[ipc][queue]") {
    with_each({}, [](UnderTest& under) {
        auto queue = under.join();
        REQUIRE(put(queue, "a"));
        const auto begun = green::now();
        CHECK(take(queue).nack(200ms));
        CHECK_FALSE(queue.next(0ms));
        REQUIRE(put(queue, "b"));
        auto lease = take(queue);
        CHECK(text_of(lease) == "b");
        CHECK(lease.ack());
        lease = take(queue);
        CHECK(green::now() - begun >= 200ms);
        CHECK(text_of(lease) == "a");
        CHECK(lease.ack());
    });
}

TEST_CASE("named queue conformance: without dead letters nothing is dropped but what is rejected",
          "[ipc][queue]") {
    with_each({}, [](UnderTest& under) {
        auto queue = under.join();
        REQUIRE(put(queue, "a"));
        for (int i = 0; i < 20; ++i) CHECK(take(queue).nack());
        auto lease = take(queue);
        CHECK(lease.deliveries() == 21);
        CHECK(lease.reject());
        CHECK(under.empty());
    });
}

TEST_CASE("named queue conformance: dead letters tell what they died of", "[ipc][queue]") {
    with_each_pair({}, [](UnderTest& under, UnderTest& letters) {
        under.set_dead_letter(letters, 3);
        auto queue = under.join();
        auto dead = letters.join();
        REQUIRE(put(queue, "poison"));
        CHECK(take(queue).nack());
        const int first = under.die_with_a_message();
        const int second = under.die_with_a_message();
        auto lease = take(dead);
        CHECK(text_of(lease) == "poison");
        const auto letter = lease.letter();
        REQUIRE(letter);
        CHECK(letter->source == "q");
        CHECK(letter->reason == green::ipc::DeadLetter::Reason::deliveries);
        CHECK(letter->deliveries == 3);
        CHECK(letter->pids == std::vector<int>{first, second});
        CHECK(lease.ack());
        REQUIRE(put(queue, "unwanted"));
        CHECK(take(queue).reject());
        lease = take(dead);
        CHECK(lease.letter()->reason == green::ipc::DeadLetter::Reason::rejected);
        CHECK(lease.ack());
        CHECK(under.empty());
        CHECK(letters.empty());
    });
}

TEST_CASE("named queue conformance: a full one makes producers wait, in turn", "[ipc][queue]") {
    with_each({2}, [](UnderTest& under) {
        auto queue = under.join();
        REQUIRE(put(queue, "1"));
        REQUIRE(put(queue, "2"));
        CHECK_FALSE(put(queue, "never", 5ms));
        auto third = green::spawn([&] { return put(queue, "3"); });
        auto fourth = green::spawn([&] { return put(queue, "4"); });
        green::idle();
        CHECK(take(queue).ack());
        CHECK(third.get());
        CHECK(take(queue).ack());
        CHECK(fourth.get());
        CHECK(rest(queue) == "3 4");
    });
}

TEST_CASE("named queue conformance: a full one refuses or drops, as it was told", "[ipc][queue]") {
    struct Play {
        WhenFull when_full;
        bool is_taken;
        const char* left;
    };
    const Play play =
        GENERATE(Play{WhenFull::reject, false, "1 2"}, Play{WhenFull::drop_newest, true, "1 2"},
                 Play{WhenFull::drop_oldest, true, "2 3"});
    Wish wish{2};
    wish.when_full = play.when_full;
    with_each(wish, [&](UnderTest& under) {
        auto queue = under.join();
        REQUIRE(put(queue, "1"));
        REQUIRE(put(queue, "2"));
        CHECK(put(queue, "3") == play.is_taken);
        CHECK(rest(queue) == play.left);
        REQUIRE(put(queue, "4"));
        CHECK(rest(queue) == "4");
    });
}

TEST_CASE("named queue conformance: what nobody gets in its time is not delivered",
          "[ipc][queue]") {
    Wish wish;
    wish.time_to_live = 5ms;
    with_each_pair(wish, [](UnderTest& under, UnderTest& letters) {
        under.set_dead_letter(letters, 3);
        auto queue = under.join();
        auto dead = letters.join();
        REQUIRE(put(queue, "old"));
        auto lease = take(dead);
        CHECK(text_of(lease) == "old");
        CHECK(lease.letter()->reason == green::ipc::DeadLetter::Reason::expired);
        CHECK_FALSE(queue.next(0ms));
        CHECK(lease.ack());
    });
}

TEST_CASE("named queue conformance: of several puts of one id one counts, until its time is over",
          "[ipc][queue]") {
    Wish wish;
    wish.dedup_window = 300ms;
    with_each(wish, [](UnderTest& under) {
        auto queue = under.join();
        auto other = under.join();
        const auto id = MessageId::of("17");
        CHECK(put_once(queue, id, "a"));
        CHECK_FALSE(put_once(other, id, "b"));
        CHECK(rest(queue) == "a");
        CHECK(put_once(other, MessageId::of("18"), "c"));
        green::sleep(310ms);
        CHECK(put_once(other, id, "d"));
        CHECK(rest(queue) == "c d");
    });
}

TEST_CASE("named queue conformance: at most once means that a death loses, and nothing doubles",
          "[ipc][queue]") {
    Wish wish;
    wish.at_most_once = true;
    with_each(wish, [](UnderTest& under) {
        auto queue = under.join();
        for (const char* text : {"a", "b", "c"}) REQUIRE(put(queue, text));
        REQUIRE(under.die_with_a_message() > 0);
        CHECK(take(queue).nack());
        CHECK(rest(queue) == "c");
        CHECK(under.empty());
    });
}

TEST_CASE("named queue conformance: what comes wakes one who waits, and a kill passes it on",
          "[ipc][queue]") {
    with_each({}, [](UnderTest& under) {
        auto queue = under.join();
        std::string got;
        const auto wait = [&] {
            auto lease = take(queue);
            got += text_of(lease);
            CHECK(lease.ack());
        };
        auto first = green::spawn(wait);
        auto second = green::spawn(wait);
        green::idle();
        REQUIRE(put(queue, "a"));
        green::yield();
        first.kill_soon();
        CHECK(second.join(10s));
        REQUIRE(under.empty());
        CHECK(got == "a");
    });
}

TEST_CASE("named queue conformance: a closed one gives what is left, and then the end",
          "[ipc][queue]") {
    with_each({}, [](UnderTest& under) {
        auto queue = under.join();
        REQUIRE(put(queue, "a"));
        auto held = take(queue);
        under.close();
        CHECK_THROWS_AS(queue.prepare(1), green::Closed);
        CHECK_FALSE(under.drain(5ms));
        CHECK(held.nack());
        CHECK(take(queue).ack());
        CHECK(under.drain(10s));
        CHECK_FALSE(queue.next());
        CHECK(queue.stopped());
    });
}
