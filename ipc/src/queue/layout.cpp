#include "layout.hpp"

#include <algorithm>
#include <bit>
#include <type_traits>

#include "dedup.hpp"

namespace green::ipc::shm {
namespace {

constexpr std::uint64_t page = 4096;
static_assert(sizeof(Header) <= page);
static_assert(std::has_unique_object_representations_v<Header>,
              "padding would make the checksum a matter of luck");

constexpr std::uint64_t chunk_bytes_for(std::uint64_t payload) noexcept {
    // Small chunks let little live data pin little memory, large ones keep their number small.
    const std::uint64_t wanted = std::bit_floor(payload / 4096);
    return wanted < 4096 ? 4096 : wanted > max_units * unit ? max_units * unit : wanted;
}

/// Hands out offsets one behind the other.
class Ruler {
 public:
    std::uint64_t take(std::uint64_t bytes, std::uint64_t alignment = line) noexcept {
        const std::uint64_t begin = (end_ + alignment - 1) / alignment * alignment;
        end_ = begin + bytes;
        return begin;
    }

 private:
    std::uint64_t end_ = page;
};

}  // namespace

std::uint64_t Config::largest_message() const noexcept {
    const std::uint64_t chunk = chunk_bytes_for(payload_bytes);
    return std::min(payload_bytes / chunk, max_run) * chunk;
}

std::string Config::problem() const {
    if (capacity == 0 || capacity > max_slots)
        return "capacity must be 1 to " + std::to_string(max_slots);
    if (members == 0 || members > max_owner)
        return "members must be 1 to " + std::to_string(max_owner);
    if (pins == 0 || pins > 65535) return "pins must be 1 to 65535";
    if (wait_slots == 0 || wait_slots > wait_words * 64) {
        return "wait_slots must be 1 to " + std::to_string(wait_words * 64);
    }
    if (payload_bytes < page || payload_bytes / chunk_bytes_for(payload_bytes) > max_chunks) {
        return "payload_bytes must be 4096 to " + std::to_string(max_chunks * max_units * unit);
    }
    if (dedup_ids > max_dedup_ids) return "dedup_ids must be 0 to " + std::to_string(max_dedup_ids);
    const std::uint64_t most = largest_message();
    if (max_message == 0 || max_message > most) {
        return "max_message (" + std::to_string(max_message) + ") must be 1 to " +
               std::to_string(most) + ", what payload_bytes has room for";
    }
    return {};
}

Geometry::Geometry(const Config& config) noexcept {
    chunk_bytes = chunk_bytes_for(config.payload_bytes);
    chunk_units = chunk_bytes / unit;
    chunk_count = config.payload_bytes / chunk_bytes;
    busy_words = (chunk_count + 63) / 64;
    // Q6 in order_ring.hpp proves that so many cells are never all taken.
    ring_cells =
        std::bit_ceil(2 * std::uint64_t{config.capacity} + 2 * std::uint64_t{config.members} + 2);

    Ruler ruler;
    control = ruler.take(sizeof(Control));
    slots = ruler.take(config.capacity * sizeof(SlotRecord));
    fresh = ruler.take(ring_cells * sizeof(Word));
    again = ruler.take(ring_cells * sizeof(Word));
    free = ruler.take(ring_cells * sizeof(Word));
    chunks = ruler.take(chunk_count * sizeof(ChunkRecord));
    freed = ruler.take(chunk_count * sizeof(Word));
    busy = ruler.take(busy_words * sizeof(Word));
    entries = ruler.take(chunk_count * chunk_units * sizeof(Word));
    members = ruler.take(config.members * sizeof(MemberRecord));
    pins = ruler.take(std::uint64_t{config.members} * config.pins * sizeof(PinRecord));
    waits = ruler.take(config.wait_slots * sizeof(WaitRecord));
    dedup_buckets = (config.dedup_ids + bucket_cells - 1) / bucket_cells;
    dedup = ruler.take(dedup_buckets * bucket_cells * sizeof(DedupCell<Word>));
    payload = ruler.take(chunk_count * chunk_bytes, page);
    total = payload + chunk_count * chunk_bytes;
}

std::uint64_t checksum_of(const Header& header) noexcept {
    const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
    std::uint64_t sum = 0xcbf29ce484222325;
    for (std::size_t i = 0; i < offsetof(Header, checksum); ++i)
        sum = (sum ^ bytes[i]) * 0x100000001b3;
    return sum;
}

}  // namespace green::ipc::shm
