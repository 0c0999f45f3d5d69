// The memory of a ring: records, room, and what the other side may have written.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <malloc.h>
#include <random>
#include <string>
#include <tuple>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/errors.hpp>
#include <green/sys.hpp>

#include "frames/patience.hpp"
#include "ring/distance.hpp"
#include "ring/ring_reader.hpp"
#include "ring/ring_writer.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using namespace green::ipc::ring;

namespace {

constexpr std::size_t capacity = smallest;

/// Both sides, each with a mapping of its own, as in two processes.
struct Both {
    RingMemory mine = RingMemory::create(capacity);
    RingMemory theirs = RingMemory::adopt(
        green::Fd{static_cast<int>(green::sys::must(green::sys::dup(mine.fd().number()), "dup"))});
    RingWriter writer{mine};
    RingReader reader{theirs};

    bool put(const std::string& text) {
        std::byte* const room = writer.room(text.size());
        if (room == nullptr) return false;
        std::memcpy(room, text.data(), text.size());
        (void)writer.publish({static_cast<std::uint32_t>(text.size()), Kind::here, 0}, text.size());
        return true;
    }
    /// Takes it, and leaves it to the caller to release it.
    std::span<const std::byte> take() {
        const auto record = reader.front();
        REQUIRE(record);
        reader.take(*record);
        return record->payload;
    }
};

std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("ring: records come out as they went in, also over its end", "[ipc][ring]") {
    Both both;
    std::mt19937_64 random{tests::seed()};
    INFO("GREENSUP_SEED=" << tests::seed());
    for (int i = 0; i < 10'000; ++i) {
        const std::string text(random() % 1500, static_cast<char>('a' + i % 26));
        REQUIRE(both.put(text));
        const auto payload = both.take();
        CHECK(reinterpret_cast<std::uintptr_t>(payload.data()) % granule == 0);
        REQUIRE(text_of(payload) == text);
        CHECK(both.reader.release(payload) == 0);
        CHECK_FALSE(both.reader.front());
    }
}

TEST_CASE("ring: it takes as much as it has room for, and no more", "[ipc][ring]") {
    Both both;
    const std::string whole(both.writer.most(), 'w');
    CHECK(both.put(whole));
    CHECK_FALSE(both.put(""));
    const auto payload = both.take();
    CHECK(text_of(payload) == whole);
    CHECK_FALSE(both.put(""));  // it is still read
    (void)both.reader.release(payload);
    (void)both.reader.tell_room();
    for (std::size_t i = 0; i < capacity / granule; ++i) REQUIRE(both.put(""));
    CHECK_FALSE(both.put(""));
}

TEST_CASE("ring: room comes free in the order of the records, whatever the order of releases",
          "[ipc][ring]") {
    const auto seed = tests::seed();
    INFO("GREENSUP_SEED=" << seed);
    std::mt19937_64 random{seed};
    Both both;
    struct Sent {
        std::string text;
        std::span<const std::byte> payload;
    };
    std::deque<std::string> queued;
    std::vector<Sent> held;
    for (int step = 0; step < 50'000; ++step) {
        for (const Sent& sent : held) REQUIRE(text_of(sent.payload) == sent.text);
        switch (random() % 3) {
            case 0: {
                const std::string text(random() % 300, static_cast<char>('a' + step % 26));
                if (both.put(text)) queued.push_back(text);
                break;
            }
            case 1:
                REQUIRE(both.reader.front().has_value() == !queued.empty());
                if (queued.empty()) break;
                held.push_back({queued.front(), both.take()});
                queued.pop_front();
                break;
            default:
                if (held.empty()) break;
                std::swap(held[random() % held.size()], held.back());
                (void)both.reader.release(held.back().payload);
                held.pop_back();
        }
        REQUIRE(both.reader.holds() == !held.empty());
    }
    for (; !queued.empty(); queued.pop_front()) held.push_back({queued.front(), both.take()});
    for (const Sent& sent : held) (void)both.reader.release(sent.payload);
    (void)both.reader.tell_room();
    CHECK(both.put(std::string(both.writer.most(), 'x')));  // all of it is free again
}

TEST_CASE("ring: room is zeroed where it is not zero still", "[ipc][ring]") {
    const auto seed = tests::seed();
    INFO("GREENSUP_SEED=" << seed);
    std::mt19937_64 random{seed};
    Both both;
    std::deque<std::string> unread;  // which nobody may clear
    const auto read = [&] {
        const auto payload = both.take();
        REQUIRE(text_of(payload) == unread.front());
        unread.pop_front();
        (void)both.reader.release(payload);
        (void)both.reader.tell_room();
    };
    const auto put = [&](std::string text) {
        while (!both.put(text)) read();
        unread.push_back(std::move(text));
    };
    // More than once through all of it, whole of other bytes before.
    put(std::string(both.writer.most(), 'x'));
    read();
    for (int i = 0; i < 20'000; ++i) {
        const std::size_t size = granule * (random() % 60);
        std::byte* room = both.writer.zeroed_room(size);
        for (; room == nullptr; room = both.writer.zeroed_room(size)) read();
        REQUIRE(std::all_of(room, room + size, [](auto byte) { return byte == std::byte{}; }));
        const std::size_t used = size == 0 ? 0 : random() % size;
        std::memset(room, 'y', used);
        if (random() % 4 == 0) {
            std::memset(room, 'z', size);
            both.writer.was_soiled();
        }
        if (random() % 4 == 0) {
            both.writer.was_soiled();  // it is not published
        } else {
            unread.push_back(text_of({room, used}));
            (void)both.writer.publish({static_cast<std::uint32_t>(used), Kind::here, 0}, used);
        }
        if (random() % 4 == 0) put(std::string(random() % 500, 'p'));
        // Now nearly all of it is taken, and now nearly nothing.
        if (i / 100 % 2 == 0)
            while (!unread.empty()) read();
    }
}

TEST_CASE("ring: a reader that always holds something needs no more memory for it", "[ipc][ring]") {
    Both both;
    REQUIRE(both.put("x"));
    std::span<const std::byte> last = both.take();
    const auto in_use = [] {
        const auto figures = ::mallinfo2();
        return figures.uordblks + figures.hblkhd;
    };
    const std::size_t before = in_use();
    for (int i = 0; i < 100'000; ++i) {
        REQUIRE(both.put("x"));
        const auto next = both.take();
        (void)both.reader.release(last);
        last = next;
    }
    CHECK(in_use() < before + 100'000);
}

TEST_CASE("ring: a reader lets a writer get ahead who can, and spins for no other", "[ipc][ring]") {
    Distance distance;
    std::uint64_t tail = 0;
    const auto look = [&](bool writer_runs) {
        ++tail;  // before the pauses: that is no reward for them
        unsigned pauses = 0;
        distance.keep(
            true, [&] { return tail; },
            [&] {
                ++pauses;
                if (writer_runs) ++tail;
            });
        return pauses;
    };
    constexpr int looks = 100'000;
    unsigned long all = 0;
    for (int i = 0; i < looks; ++i) all += look(false);
    CHECK(all < looks);
    // One that comes to run beside it is soon found.
    int until_found = 0;
    while (look(true) == 0) ++until_found;
    CHECK(until_found < 1024);
    for (int i = 0; i < looks; ++i) REQUIRE(look(true) == Distance::most);
    // One look that was too early costs one look without.
    CHECK(look(false) == Distance::most);
    CHECK(look(true) == 0);
    CHECK(look(true) == Distance::most);
}

TEST_CASE("ring: a wait that is awake is tried again as long as it is worth what it takes",
          "[ipc][ring]") {
    green::ipc::Patience patience;
    const auto tries_until_next = [&] {
        int left_out = 0;
        while (!patience.tries()) ++left_out;
        return left_out;
    };
    // An answer that comes soon; a ring that was filled.
    for (int i = 0; i < 100; ++i) {
        REQUIRE(patience.tries());
        i % 2 == 0 ? patience.ended(true, 0us, 10us) : patience.ended(true, 1ms, 1ms);
    }
    // Nothing; an answer for which a third one was waited for; that one had most of the time.
    for (const auto& [found, worth, took] :
         {std::tuple{false, 0us, 10us}, std::tuple{true, 0us, 3000us},
          std::tuple{true, 1000us, 3000us}}) {
        patience.ended(found, worth, took);
        CHECK(tries_until_next() > 0);
        patience.ended(true, 0us, 10us);
        CHECK(tries_until_next() == 0);
    }
    // A ring that was filled may have been luck, after so much that was in vain.
    for (int i = 0; i < 5; ++i) patience.ended(false, 0us, 10us);
    const int left_out = tries_until_next();
    patience.ended(true, 1ms, 1ms);
    CHECK(tries_until_next() == left_out / 2);
    // In the long run it costs less than a microsecond of each wait, however long it takes.
    for (const auto took : {30us, 3000us}) {
        for (int i = 0; i < 20; ++i) {
            patience.ended(false, 0us, took);
            (void)tries_until_next();
        }
        patience.ended(false, 0us, took);
        CHECK(tries_until_next() > took / 1us);
    }
}

TEST_CASE("ring: who has said that he sleeps is rung once", "[ipc][ring]") {
    Both both;
    const auto publish = [&] {
        REQUIRE(both.writer.room(0) != nullptr);
        return both.writer.publish({0, Kind::here, 0}, 0);
    };
    CHECK(publish() == 0);
    both.reader.raise_flag();
    const std::uint64_t first = publish();
    CHECK(first != 0);
    both.writer.reader_was_rung(first);
    CHECK(publish() == 0);
    both.reader.raise_flag();
    both.reader.lower_flag();
    CHECK(publish() == 0);
    // Who was rung sleeps again before the one who rang is done: that is another sleep.
    both.reader.raise_flag();
    const std::uint64_t second = publish();
    both.reader.lower_flag();
    both.reader.raise_flag();
    both.writer.reader_was_rung(second);
    CHECK(publish() != 0);

    both.writer.raise_flag();
    CHECK(both.reader.release(both.take()) == 0);  // it is told in steps
    const std::uint64_t sleep = both.reader.tell_room();
    CHECK(sleep != 0);
    both.reader.writer_was_rung(sleep);
    CHECK(both.reader.release(both.take()) == 0);
    CHECK(both.reader.tell_room() == 0);

    both.reader.note_close();
    CHECK(both.writer.reader_closes() == 1);
    CHECK(both.reader.writer_closes() == 0);
}

TEST_CASE("ring: a side that goes on elsewhere is not taken for the one before", "[ipc][ring]") {
    Both both;
    Header& header = both.theirs.header();
    both.writer.raise_flag();
    const std::uint64_t writers = header.writer_sleeps.sleep.load();
    both.writer.lower_flag();
    RingWriter next_writer{both.mine};
    next_writer.raise_flag();
    both.reader.writer_was_rung(writers);  // one that was slow to take it back
    CHECK(header.writer_sleeps.sleep.load() != 0);

    both.reader.raise_flag();
    const std::uint64_t readers = header.reader_sleeps.sleep.load();
    both.reader.lower_flag();
    RingReader next_reader{both.theirs};
    next_reader.raise_flag();
    next_writer.reader_was_rung(readers);
    CHECK(header.reader_sleeps.sleep.load() != 0);
}

TEST_CASE("ring: of a writer that dies before it publishes nothing is seen", "[ipc][ring]") {
    Both both;
    REQUIRE(both.put("whole"));
    std::memcpy(both.writer.room(100), "half", 4);
    RingWriter again{both.mine};  // whoever goes on in its place
    CHECK(text_of(both.take()) == "whole");
    CHECK_FALSE(both.reader.front());
    std::memcpy(again.room(4), "next", 4);
    (void)again.publish({4, Kind::here, 0}, 4);
    CHECK(text_of(both.take()) == "next");
}

TEST_CASE("ring: what the other side cannot have meant is refused, and nothing is read outside",
          "[ipc][ring]") {
    Both both;
    Header& header = both.mine.header();
    REQUIRE(both.put("one"));

    SECTION("a tail beyond the capacity") {
        header.writer.tail.store(capacity + granule);
        CHECK_THROWS_WITH(both.reader.front(), Catch::Contains("damaged ring"));
    }
    SECTION("a tail between two granules") {
        header.writer.tail.store(12);
        CHECK_THROWS_AS(both.reader.front(), green::ProtocolError);
    }
    SECTION("a tail that goes back") {
        (void)both.take();
        header.writer.tail.store(0);
        CHECK_THROWS_AS(both.reader.front(), green::ProtocolError);
    }
    SECTION("a record longer than what was published") {
        *reinterpret_cast<std::uint32_t*>(both.mine.at(0)) = 9;
        CHECK_THROWS_WITH(both.reader.front(), Catch::Contains("a record of 9 bytes in 16"));
    }
    SECTION("a record of the greatest length that its field can hold") {
        *reinterpret_cast<std::uint32_t*>(both.mine.at(0)) = 0xffffffff;
        CHECK_THROWS_AS(both.reader.front(), green::ProtocolError);
    }
    SECTION("a record of no kind") {
        *(both.mine.at(0) + 4) = std::byte{5};
        CHECK_THROWS_WITH(both.reader.front(), Catch::Contains("unknown kind"));
    }
    SECTION("marks in a record that is still read") {
        REQUIRE(both.put("three"));
        REQUIRE(both.put("four"));
        const auto first = both.take();
        const auto second = both.take();
        const auto third = both.take();
        for (std::size_t at = 0; at < 200; at += 8)
            *reinterpret_cast<std::uint16_t*>(both.mine.at(at) + 4) = 0xffff;
        (void)both.reader.release(third);
        (void)both.reader.release(first);
        (void)both.reader.tell_room();
        CHECK(header.reader.head.load() == 16);  // the second is held
        (void)both.reader.release(second);
        (void)both.reader.tell_room();
        CHECK(header.reader.head.load() == 48);
    }
    SECTION("an index of its own that it never had") {
        header.reader.head.store(7);
        header.writer.tail.store(7);
        CHECK_THROWS_AS(RingReader{both.theirs}, green::ProtocolError);
        CHECK_THROWS_AS(RingWriter{both.mine}, green::ProtocolError);
    }
    SECTION("a record that grows after it was taken") {
        const auto payload = both.take();
        *reinterpret_cast<std::uint32_t*>(both.mine.at(0)) = 0xffff;
        CHECK(text_of(payload) == "one");
        (void)both.reader.release(payload);
        (void)both.reader.tell_room();
        CHECK(header.reader.head.load() == 16);
    }
    SECTION("a head before the tail by more than the capacity, or ahead of it") {
        for (const std::uint64_t head : {std::uint64_t{24}, std::uint64_t{0} - capacity}) {
            header.reader.head.store(head);
            CHECK_THROWS_WITH(both.writer.room(both.writer.most()),
                              Catch::Contains("damaged ring"));
        }
    }
}

TEST_CASE("ring: what is no ring is not taken over", "[ipc][ring]") {
    const auto before = tests::open_descriptors();
    {
        const auto file = [](std::size_t size, int seals) {
            green::Fd fd{static_cast<int>(
                green::sys::must(green::sys::memfd_create("test", MFD_ALLOW_SEALING), "memfd"))};
            (void)green::sys::must(green::sys::ftruncate(fd.number(), static_cast<off_t>(size)),
                                   "ftruncate");
            (void)green::sys::must(green::sys::fcntl(fd.number(), F_ADD_SEALS, seals), "seal");
            return fd;
        };
        constexpr int enough = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
        const auto refused = [](green::Fd fd, const char* why) {
            CHECK_THROWS_WITH(RingMemory::adopt(std::move(fd)), Catch::Contains(why));
        };
        refused(file(header_bytes + capacity, F_SEAL_SHRINK | F_SEAL_SEAL), "cut its memory off");
        refused(file(100, enough), "100 bytes");
        refused(file(header_bytes + capacity + 1, enough), "not a ring");
        refused(file(header_bytes + capacity, enough), "another magic number");
        refused(green::Fd{static_cast<int>(green::sys::must(green::sys::eventfd(0), "eventfd"))},
                "not a ring");
        CHECK_THROWS_WITH(RingMemory::create(5000), Catch::Contains("a power of two"));
        CHECK_THROWS_AS(RingMemory::create(smallest / 2), green::UsageError);
    }
    CHECK(tests::open_descriptors() == before);
}

TEST_CASE("ring: any system call may fail when one is made or taken over", "[ipc][ring]") {
    const auto before = tests::open_descriptors();
    const std::size_t walked = tests::for_each_failure(ENOMEM, [&](const tests::FailNth&) {
        try {
            const Both both;
        } catch (const std::system_error& error) {
            CHECK(error.code().value() == ENOMEM);
        }
    });
    CHECK(walked >= 10);
    CHECK(tests::open_descriptors() == before);
}
