#include <deque>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include "queue/order_ring.hpp"
#include "shm/word.hpp"

using namespace green::ipc::shm;

namespace {

struct Fixture {
    explicit Fixture(std::size_t cell_count, std::uint64_t slots)
        : cells(cell_count), ring{head, tail, cells, slots} {}

    std::vector<std::uint64_t> take(std::size_t count) {
        std::vector<std::uint64_t> taken;
        for (std::size_t i = 0; i < count; ++i) {
            const Ringed outcome = ring.pop([&](std::uint64_t slot, std::uint64_t) {
                taken.push_back(slot);
                return Claim::taken;
            });
            if (outcome != Ringed::done) break;
        }
        return taken;
    }

    Word head{};
    Word tail{};
    std::vector<Word> cells;
    BasicRing<Word> ring;
};

}  // namespace

TEST_CASE("queue ring: what was pushed comes out in order, over many laps", "[ipc][queue]") {
    Fixture f{8, 100};
    std::deque<std::uint64_t> expected;
    std::minstd_rand random{1};
    for (std::uint64_t i = 0; i < 10'000; ++i) {
        if (expected.size() < 8 && (expected.empty() || random() % 2 == 0)) {
            REQUIRE(f.ring.push(i % 100, i) == Ringed::done);
            expected.push_back(i % 100);
        } else {
            REQUIRE(f.take(1) == std::vector<std::uint64_t>{expected.front()});
            expected.pop_front();
        }
    }
}

TEST_CASE("queue ring: an empty one gives nothing and a full one takes nothing", "[ipc][queue]") {
    Fixture f{4, 4};
    CHECK(f.take(1).empty());
    for (std::uint64_t i = 0; i < 4; ++i) REQUIRE(f.ring.push(i, 0) == Ringed::done);
    CHECK(f.ring.push(0, 1) == Ringed::full);
    CHECK(f.take(9) == std::vector<std::uint64_t>{0, 1, 2, 3});
    CHECK(f.ring.push(2, 1) == Ringed::done);
    CHECK(f.take(9) == std::vector<std::uint64_t>{2});
}

TEST_CASE("queue ring: stale cells are passed by and cleared", "[ipc][queue]") {
    Fixture f{8, 8};
    for (std::uint64_t i = 0; i < 5; ++i) REQUIRE(f.ring.push(i, 10 + i) == Ringed::done);
    std::uint64_t found = 99;
    CHECK(f.ring.pop([&](std::uint64_t slot, std::uint64_t tag) {
        if (slot != 3) return Claim::stale;
        CHECK(tag == 13);
        found = slot;
        return Claim::taken;
    }) == Ringed::done);
    CHECK(found == 3);
    CHECK(f.take(9) == std::vector<std::uint64_t>{4});
}

TEST_CASE("queue ring: a claim that was outrun is tried again", "[ipc][queue]") {
    Fixture f{8, 8};
    REQUIRE(f.ring.push(6, 1) == Ringed::done);
    int calls = 0;
    CHECK(f.ring.pop([&](std::uint64_t, std::uint64_t) {
        return ++calls < 3 ? Claim::retry : Claim::taken;
    }) == Ringed::done);
    CHECK(calls == 3);
}

TEST_CASE("queue ring: one who stopped behind any step of push or pop is helped on",
          "[ipc][queue]") {
    Fixture f{4, 4};
    SECTION("the cell is filled, the tail is not moved") {
        REQUIRE(f.ring.push(0, 0) == Ringed::done);
        f.tail.store(0);
        REQUIRE(f.ring.push(1, 0) == Ringed::done);
        CHECK(f.take(9) == std::vector<std::uint64_t>{0, 1});
    }
    SECTION("the cell is filled and emptied again, the tail is not moved") {
        REQUIRE(f.ring.push(0, 0) == Ringed::done);
        CHECK(f.take(1).size() == 1);
        f.tail.store(0);
        REQUIRE(f.ring.push(1, 0) == Ringed::done);
        CHECK(f.take(9) == std::vector<std::uint64_t>{1});
    }
    SECTION("the cell is emptied, the head is not moved") {
        REQUIRE(f.ring.push(0, 0) == Ringed::done);
        CHECK(f.take(1).size() == 1);
        f.head.store(0);
        REQUIRE(f.ring.push(1, 0) == Ringed::done);
        CHECK(f.take(9) == std::vector<std::uint64_t>{1});
    }
    SECTION("slots are claimed, their cells stand") {
        for (std::uint64_t i = 0; i < 3; ++i) REQUIRE(f.ring.push(i, 0) == Ringed::done);
        CHECK(f.ring.pop([](std::uint64_t slot, std::uint64_t) {
            return slot < 2 ? Claim::stale : Claim::taken;
        }) == Ringed::done);
        CHECK(f.take(9).empty());
    }
}

TEST_CASE("queue ring: a cell that names no slot is passed by", "[ipc][queue]") {
    Fixture f{8, 5};
    REQUIRE(f.ring.push(7, 0) == Ringed::done);  // 3 bits hold it, but there are 5 slots
    REQUIRE(f.ring.push(1, 0) == Ringed::done);
    CHECK(f.take(9) == std::vector<std::uint64_t>{1});
}

TEST_CASE("queue ring: words that fit no lap are reported, not waited for", "[ipc][queue]") {
    Fixture f{4, 4};
    f.cells[0].store(77);
    CHECK(f.ring.pop([](std::uint64_t, std::uint64_t) { return Claim::taken; }) == Ringed::damaged);
    CHECK(f.ring.push(0, 0) != Ringed::done);
}

TEST_CASE("queue ring: laps far beyond what a cell can hold of them change nothing",
          "[ipc][queue]") {
    Fixture f{4, 1u << 20};  // 19 bits of lap in a full cell
    const std::uint64_t far = (std::uint64_t{1} << 45) + 2;
    f.head.store(far);
    f.tail.store(far);
    for (std::uint64_t i = 0; i < 4; ++i) f.cells[i].store((far >> 2) + (i < 2 ? 1 : 0));
    for (std::uint64_t i = 0; i < 4; ++i) REQUIRE(f.ring.push(1000 + i, i) == Ringed::done);
    CHECK(f.ring.push(5, 5) == Ringed::full);
    CHECK(f.take(9) == std::vector<std::uint64_t>{1000, 1001, 1002, 1003});
    CHECK(f.take(1).empty());
}

// Sixteen million looks at it, each time that somebody came by.
TEST_CASE("queue ring: a cell of another lap than its head's is damage, and seen at once",
          "[ipc][queue]") {
    static unsigned looks;
    struct Counted {
        [[nodiscard]] std::uint64_t load() const {
            ++looks;
            return value;
        }
        bool swap(std::uint64_t, std::uint64_t) { return false; }
        std::uint64_t value = 0;
    };
    Counted head;
    Counted tail;
    std::vector<Counted> cells(4);
    cells[0].value = 5;
    looks = 0;
    BasicRing<Counted> ring{head, tail, cells, 4};
    CHECK(ring.pop([](std::uint64_t, std::uint64_t) { return Claim::taken; }) == Ringed::damaged);
    CHECK(looks < 10);
}
