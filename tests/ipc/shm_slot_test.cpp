#include <catch2/catch.hpp>

#include "queue/chunks.hpp"
#include "queue/slot.hpp"

using namespace green::ipc::shm;

TEST_CASE("queue slot: a state word holds each field at its largest", "[ipc][queue]") {
    const SlotWord word{SlotState::leased, 4095, 255, SlotWord::generation_mask};
    CHECK(SlotWord::of(word.pack()) == word);
    CHECK(SlotWord::of(SlotWord{}.pack()) == SlotWord{});
    CHECK(SlotWord{}.pack() == 0);
}

TEST_CASE(
    "queue slot: a message's way from free to free moves generation and count as Q2 and Q3 say",
    "[ipc][queue]") {
    const SlotWord free{SlotState::free, 0, 0, 7};
    const SlotWord reserved = free.reserved_by(3);
    CHECK(reserved == SlotWord{SlotState::reserved, 3, 0, 7});
    CHECK(reserved.abandoned() == SlotWord{SlotState::free, 0, 0, 8});
    const SlotWord ready = reserved.published();
    CHECK(ready == SlotWord{SlotState::ready, 0, 0, 7});
    const SlotWord leased = ready.leased_by(4);
    CHECK(leased == SlotWord{SlotState::leased, 4, 1, 7});
    const SlotWord again = leased.returned();
    CHECK(again == SlotWord{SlotState::ready, 0, 1, 8});
    const SlotWord behind = leased.returned(Turn::last);
    CHECK(behind == SlotWord{SlotState::ready, 1, 1, 8});
    const SlotWord untaken = leased.untaken();
    CHECK(untaken == SlotWord{SlotState::ready, 1, 0, 8});
    CHECK(again.leased_by(4).untaken() == SlotWord{SlotState::ready, 0, 1, 9});
    CHECK((ready.turn() == Turn::last && behind.turn() == Turn::last));
    CHECK((again.turn() == Turn::first && untaken.turn() == Turn::first));
    for (const SlotWord word : {behind, untaken}) {
        CHECK(is_legal(word, 4));
        CHECK(word.holder() == nobody);
    }
    CHECK(again.leased_by(4) == SlotWord{SlotState::leased, 4, 2, 8});
    const SlotWord retiring = leased.acked_by(4);
    CHECK(retiring == SlotWord{SlotState::retiring, 4, 1, 8});
    CHECK(retiring.haunted() == SlotWord{SlotState::zombie, 0, 1, 8});
    CHECK(retiring.haunted().buried_by(5) == SlotWord{SlotState::retiring, 5, 1, 8});
    CHECK(retiring.freed() == SlotWord{SlotState::free, 0, 0, 8});
    const SlotWord returning = leased.returning_by(4);
    CHECK(returning == SlotWord{SlotState::returning, 4, 1, 8});
    CHECK(returning.delayed() == SlotWord{SlotState::delayed, 0, 1, 8});
    CHECK(returning.delayed().ready_again() == SlotWord{SlotState::ready, 0, 1, 8});
    const SlotWord dead = leased.died_of(Reason::rejected);
    CHECK(dead.state == SlotState::dead);
    CHECK(dead.reason() == Reason::rejected);
    CHECK(dead.holder() == nobody);
    CHECK(dead.buried_by(0) == SlotWord{SlotState::retiring, 0, 1, 8});
}

TEST_CASE("queue slot: the delivery count saturates and the fence token differs all the same",
          "[ipc][queue]") {
    SlotWord word{SlotState::ready, 0, 254, 0};
    const SlotWord first = word.leased_by(1);
    const SlotWord second = first.returned().leased_by(1);
    const SlotWord third = second.returned().leased_by(1);
    CHECK(first.deliveries == 255);
    CHECK(third.deliveries == 255);
    CHECK(second.pack() != third.pack());
}

TEST_CASE("queue slot: a generation wraps around without touching its neighbours", "[ipc][queue]") {
    const SlotWord last{SlotState::leased, 9, 3, SlotWord::generation_mask};
    CHECK(SlotWord::of(last.returned().pack()) == SlotWord{SlotState::ready, 0, 3, 0});
}

TEST_CASE("queue slot: words that the protocol never writes are told apart", "[ipc][queue]") {
    CHECK(is_legal({SlotState::free, 0, 0, 1}, 8));
    CHECK_FALSE(is_legal({SlotState::free, 1, 0, 1}, 8));
    CHECK_FALSE(is_legal({SlotState::reserved, 0, 0, 1}, 8));
    CHECK_FALSE(is_legal({SlotState::reserved, 9, 0, 1}, 8));
    CHECK_FALSE(is_legal({SlotState::leased, 3, 0, 1}, 8));
    CHECK_FALSE(is_legal({SlotState::ready, 3, 0, 1}, 8));
    CHECK(is_legal({SlotState::dead, 1, 1, 1}, 8));
    CHECK_FALSE(is_legal({SlotState::dead, 0, 1, 1}, 8));
    CHECK_FALSE(is_legal({SlotState::dead, last_reason + 1, 1, 1}, 8));
    CHECK(is_legal({SlotState::delayed, 0, 1, 1}, 8));
    CHECK_FALSE(is_legal({SlotState::delayed, 1, 1, 1}, 8));
    CHECK(is_legal({SlotState::returning, 1, 1, 1}, 8));
    CHECK(is_legal({SlotState::retiring, 0, 1, 1}, 8));
    CHECK_FALSE(is_legal(SlotWord::of(std::uint64_t{0xff} << 56), 8));
}

TEST_CASE("queue chunk: words, entries and references hold each field at its largest",
          "[ipc][queue]") {
    const ChunkWord chunk{ChunkState::part, 4095, 65535, 0xffffffff};
    CHECK(ChunkWord::of(chunk.pack()).pack() == chunk.pack());
    CHECK(ChunkWord::of(chunk.pack()).used == 65535);
    CHECK(ChunkWord::of(chunk.pack()).owner == 4095);
    CHECK(chunk.next_epoch() == 1);
    const EntryWord entry{EntryState::freed, 0xfffff, 512, 0xffffffff};
    CHECK(EntryWord::of(entry.pack()).slot == 0xfffff);
    CHECK(EntryWord::of(entry.pack()).units == 512);
    CHECK(EntryWord::of(entry.pack()).state == EntryState::freed);
    const ExtentRef ref{max_chunks - 1, max_units - 1, 5};
    CHECK(ExtentRef::of(ref.pack()).chunk == max_chunks - 1);
    CHECK(ExtentRef::of(ref.pack()).unit_index == max_units - 1);
    CHECK(ExtentRef::of(ref.pack()).epoch == 5);
}
