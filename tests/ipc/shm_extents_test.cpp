#include <algorithm>
#include <map>

#include "queue/extents.hpp"
#include "shm_support.hpp"

using namespace shm_test;

namespace {

/// Extents without a queue: slots are only names here.
struct Bench {
    explicit Bench(std::uint64_t payload = 16 * 4096)
        : segment{Segment::create(directory.file(), config(payload))},
          chunks{segment},
          one{segment, chunks, 1},
          two{segment, chunks, 2} {}
    static Config config(std::uint64_t payload) {
        Config config = small_config();
        config.capacity = 64;
        config.payload_bytes = payload;
        config.max_message = payload;
        return config;
    }
    std::optional<std::span<std::byte>> take(Extents& extents, std::uint32_t slot,
                                             std::uint64_t bytes) {
        segment.slot(slot).state.store(SlotWord{SlotState::reserved, 1, 0, 1}.pack());
        segment.member(1).pid.store(1);
        const std::span<std::byte> taken = extents.take(slot, bytes);
        if (taken.empty()) return std::nullopt;
        return taken;
    }
    void release(std::uint32_t slot) {
        chunks.release(segment.slot(slot).extent.load(), slot);
        segment.slot(slot).extent.store(0);
        segment.slot(slot).state.store(0);
    }
    [[nodiscard]] std::uint64_t live() const { return space(segment).live; }

    Directory directory;
    Segment segment;
    Chunks chunks;
    Extents one;
    Extents two;
};

}  // namespace

TEST_CASE("queue extents: each is 64-byte aligned, large enough, zero, and nobody else's",
          "[ipc][queue]") {
    Bench bench;
    std::map<std::byte*, std::size_t> taken;
    for (std::uint32_t slot = 0; slot < 40; ++slot) {
        const std::uint64_t bytes = std::uint64_t{slot} * slot;
        const auto extent = bench.take(slot % 2 == 0 ? bench.one : bench.two, slot, bytes);
        REQUIRE(extent);
        REQUIRE(extent->size() >= std::max<std::uint64_t>(bytes, 1));
        REQUIRE(reinterpret_cast<std::uintptr_t>(extent->data()) % 64 == 0);
        REQUIRE(is_zero(*extent));
        std::memset(extent->data(), 0xab, extent->size());
        taken[extent->data()] = extent->size();
    }
    const std::byte* end = nullptr;
    for (const auto& [begin, size] : taken) {
        REQUIRE(begin >= end);
        end = begin + size;
    }
    for (std::uint32_t slot = 0; slot < 40; ++slot) bench.release(slot);
    CHECK(bench.live() == 0);
}

TEST_CASE("queue extents: reused memory is zero again, however much of it was written",
          "[ipc][queue]") {
    Bench bench{4 * 4096};
    for (int round = 0; round < 200; ++round) {
        for (const std::uint64_t bytes : {64, 1000, 3000, 9000, 16384}) {
            const auto extent = bench.take(bench.one, 0, bytes);
            REQUIRE(extent);
            REQUIRE(is_zero(*extent));
            const std::size_t written = static_cast<std::size_t>(round) * 37 % (extent->size() + 1);
            std::memset(extent->data(), 0xcd, written);
            bench.one.written(bench.segment.slot(0).extent.load(), written);
            bench.release(0);
        }
    }
}

TEST_CASE("queue extents: a large extent of which little was written costs little zeroing",
          "[ipc][queue]") {
    Bench bench;
    REQUIRE(bench.take(bench.one, 0, 8 * 4096));
    const std::uint64_t ref = bench.segment.slot(0).extent.load();
    const std::uint64_t chunk = ExtentRef::of(ref).chunk;
    CHECK(bench.segment.chunk(chunk).dirty.load() == 4096);
    bench.one.written(ref, 5000);
    CHECK(bench.segment.chunk(chunk).dirty.load() == 4096);
    CHECK(bench.segment.chunk(chunk + 1).dirty.load() == 904);
    CHECK(bench.segment.chunk(chunk + 2).dirty.load() == 0);
}

TEST_CASE("queue extents: small ones come from the low end, large ones from the high end",
          "[ipc][queue]") {
    Bench bench;
    REQUIRE(bench.take(bench.one, 0, 100));
    REQUIRE(bench.take(bench.one, 1, 3 * 4096));
    REQUIRE(bench.take(bench.two, 2, 100));
    CHECK(ExtentRef::of(bench.segment.slot(0).extent.load()).chunk == 0);
    CHECK(ExtentRef::of(bench.segment.slot(1).extent.load()).chunk == 13);
    CHECK(ExtentRef::of(bench.segment.slot(2).extent.load()).chunk == 1);
}

TEST_CASE(
    "queue extents: the largest one fits whenever nothing is live, whoever filled chunks before",
    "[ipc][queue]") {
    Bench bench;
    REQUIRE(bench.take(bench.one, 0, 100));
    REQUIRE(bench.take(bench.two, 1, 100));
    CHECK_FALSE(bench.take(bench.one, 2, 16 * 4096));
    bench.release(0);
    bench.release(1);
    REQUIRE(bench.take(bench.one, 2, 16 * 4096));
    CHECK(space(bench.segment).free == 0);
    CHECK_FALSE(bench.take(bench.two, 3, 1));
    bench.release(2);
    CHECK(space(bench.segment).free == 16 * 4096);
    REQUIRE(bench.take(bench.two, 3, 1));
}

TEST_CASE("queue extents: a chunk taken from an idle owner is not his any more", "[ipc][queue]") {
    Bench bench{4096};
    const auto first = bench.take(bench.one, 0, 100);
    REQUIRE(first);
    bench.release(0);
    const auto second = bench.take(bench.two, 1, 2000);
    REQUIRE(second);
    CHECK(second->data() == first->data());
    std::memset(second->data(), 1, second->size());
    CHECK_FALSE(bench.take(bench.one, 2, 100));
    bench.release(1);
    REQUIRE(bench.take(bench.one, 2, 100));
}

TEST_CASE("queue extents: a late release of memory that was given to another does nothing",
          "[ipc][queue]") {
    Bench bench{4096};
    REQUIRE(bench.take(bench.one, 0, 2000));
    const std::uint64_t old = bench.segment.slot(0).extent.load();
    bench.release(0);
    REQUIRE(bench.take(bench.two, 0, 2000));
    REQUIRE(bench.segment.slot(0).extent.load() != old);
    bench.chunks.release(old, 0);
    CHECK(bench.live() == 2048);
    CHECK_FALSE(bench.chunks.find(old, 0));
    CHECK(bench.chunks.find(bench.segment.slot(0).extent.load(), 0));
}

TEST_CASE("queue extents: references that point nowhere are refused", "[ipc][queue]") {
    Bench bench;
    REQUIRE(bench.take(bench.one, 0, 100));
    const ExtentRef good = ExtentRef::of(bench.segment.slot(0).extent.load());
    CHECK(bench.chunks.find(good.pack(), 0));
    CHECK_FALSE(bench.chunks.find(0, 0));
    CHECK_FALSE(bench.chunks.find(good.pack(), 1));
    CHECK_FALSE(bench.chunks.find(ExtentRef{9999, 0, 1}.pack(), 0));
    CHECK_FALSE(bench.chunks.find(ExtentRef{good.chunk, 4000, good.epoch}.pack(), 0));
    CHECK_FALSE(
        bench.chunks.find(ExtentRef{good.chunk, good.unit_index, good.epoch + 1}.pack(), 0));
    bench.chunks.release(ExtentRef{9999, 4000, 1}.pack(), 0);
    bench.segment.entry(good.chunk, 0)
        .store(EntryWord{EntryState::live, 0, 1000, good.epoch}.pack());
    CHECK_FALSE(bench.chunks.find(good.pack(), 0));  // it would end behind its chunk
}

TEST_CASE(
    "queue extents: over any sequence of takes and releases no byte is lost and none is given "
    "twice",
    "[ipc][queue]") {
    const std::uint64_t start = seed();
    INFO("GREENSUP_SEED=" << start);
    std::mt19937_64 random{start};
    Bench bench{40 * 4096};
    std::map<std::uint32_t, std::span<std::byte>> held;
    std::size_t taken = 0;
    for (int step = 0; step < 30'000; ++step) {
        const auto slot = static_cast<std::uint32_t>(random() % 64);
        if (const auto found = held.find(slot); found != held.end()) {
            const std::span<std::byte> memory = found->second;
            REQUIRE(std::all_of(memory.begin(), memory.end(),
                                [&](auto byte) { return byte == std::byte(slot); }));
            bench.release(slot);
            held.erase(found);
            continue;
        }
        const std::uint64_t bytes = random() % (random() % 6 == 0 ? 20'000 : 700);
        const auto extent = bench.take(random() % 2 == 0 ? bench.one : bench.two, slot, bytes);
        if (!extent) {
            bench.segment.slot(slot).state.store(0);
            continue;
        }
        REQUIRE(is_zero(*extent));
        std::memset(extent->data(), static_cast<int>(slot), extent->size());
        held[slot] = *extent;
        ++taken;
        if (step % 100 == 0) {
            std::uint64_t live = 0;
            for (const auto& [name, memory] : held) live += memory.size();
            REQUIRE(bench.live() == live);
        }
    }
    CHECK(taken > 5000);
    for (const auto& [slot, memory] : held) bench.release(slot);
    bench.one.retire();
    bench.two.retire();
    CHECK(space(bench.segment).free == 40 * 4096);
}
