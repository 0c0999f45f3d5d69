#pragma once
// What the tests of the shared-memory queue have in common: a place for segments, a small queue,
// and messages that prove themselves whole.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <poll.h>
#include <random>
#include <string>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include "queue/keeper.hpp"
#include "queue/member.hpp"

namespace shm_test {

using namespace green::ipc::shm;

/// A directory that is removed with the files in it; in memory where possible.
class Directory {
 public:
    Directory() {
        std::string pattern = (::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") +
                              std::string{"/greensup-XXXXXX"};
        if (::mkdtemp(pattern.data()) == nullptr) std::abort();
        path_ = pattern;
    }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;
    ~Directory() {
        for (const char* name : {"q", "q.new", "other"}) ::unlink(file(name).c_str());
        ::rmdir(path_.c_str());
    }
    [[nodiscard]] std::string file(const std::string& name = "q") const {
        return path_ + "/" + name;
    }
    [[nodiscard]] const std::string& path() const { return path_; }

 private:
    std::string path_;
};

inline Config small_config() {
    Config config;
    config.schema_id = 0xfeed;
    config.capacity = 8;
    config.members = 6;
    config.pins = 8;
    config.wait_slots = 8;
    config.payload_bytes = 16 * 4096;
    config.max_message = 8 * 4096;
    return config;
}

/// A fresh queue with its keeper.
struct Queue {
    explicit Queue(const Config& config = small_config())
        : keeper{std::make_unique<Keeper>(Segment::create(directory.file(), config))} {
        keeper->recover();
        keeper->configure(Settings{});
        (void)keeper->sweep(1);
    }
    /// Has process-private state only, so each test process makes its own.
    [[nodiscard]] std::unique_ptr<Member> join(Owner owner) const {
        return std::make_unique<Member>(Segment::open(directory.file()), owner,
                                        keeper->doorbells());
    }
    [[nodiscard]] const Segment& segment() const { return keeper->segment(); }

    Directory directory;
    std::unique_ptr<Keeper> keeper;
};

/// The state of one slot, as a word taken apart.
inline SlotWord slot_of(const Segment& segment, std::uint32_t slot) {
    return SlotWord::of(segment.slot(slot).state.load());
}

/// Fills memory so that any mixture of two messages is noticed.
inline void write_message(std::span<std::byte> into, std::uint64_t id) {
    std::uint64_t value = id * 0x9e3779b97f4a7c15 + into.size();
    for (std::size_t at = 0; at < into.size(); at += 8) {
        const std::uint64_t word = at == 0 ? id : value;
        std::memcpy(into.data() + at, &word, std::min<std::size_t>(8, into.size() - at));
        value = value * 6364136223846793005 + 1442695040888963407;
    }
}

inline std::uint64_t id_of(std::span<const std::byte> message) {
    std::uint64_t id = 0;
    std::memcpy(&id, message.data(), std::min<std::size_t>(8, message.size()));
    return id;
}

inline bool is_whole(std::span<const std::byte> message) {
    if (message.size() < 8) return false;
    std::vector<std::byte> expected(message.size());
    write_message(expected, id_of(message));
    return std::memcmp(expected.data(), message.data(), message.size()) == 0;
}

inline bool is_zero(std::span<const std::byte> memory) {
    for (const std::byte byte : memory) {
        if (byte != std::byte{0}) return false;
    }
    return true;
}

inline Shortage try_send(Member& member, std::uint64_t id, std::size_t size = 100) {
    Reservation reservation;
    const Shortage shortage = member.try_reserve(size, reservation);
    if (shortage != Shortage::none) return shortage;
    write_message(reservation.memory.first(size), id);
    member.put(reservation, size);
    return Shortage::none;
}

inline void send(Member& member, std::uint64_t id, std::size_t size = 100) {
    REQUIRE(try_send(member, id, size) == Shortage::none);
}

inline Lease receive(Member& member) {
    Lease lease;
    REQUIRE(member.try_get(lease) == Got::message);
    REQUIRE(is_whole(lease.message));
    return lease;
}

/// The next message's lease, which is taken away from the member.
inline Lease receive_and_lose(const Queue& queue, Member& member) {
    const Lease lost = receive(member);
    REQUIRE(queue.keeper->take_back(lost.slot, lost.word));
    return lost;
}

/// Whether a doorbell has been rung since the last look.
inline bool is_rung(int fd) {
    pollfd ready{fd, POLLIN, 0};
    if (::poll(&ready, 1, 0) != 1) return false;
    std::uint64_t count = 0;
    return ::read(fd, &count, sizeof count) == sizeof count;
}

/// A time at which every lease that was taken at 0 is over.
inline constexpr std::int64_t late = 40'000'000'000;

/// All that is due for the keeper, in slices of the size given.
inline Sweep sweep_all(Keeper& keeper, std::int64_t now, std::size_t budget = 4096) {
    for (;;) {
        const Sweep sweep = keeper.sweep(now, budget);
        const bool is_due = sweep.due != 0 && sweep.due <= now;
        if (sweep.is_done && !is_due) return sweep;
    }
}

/// The ids of all that is left, each acked.
inline std::vector<std::uint64_t> drain(Member& member) {
    std::vector<std::uint64_t> ids;
    Lease lease;
    while (member.try_get(lease) == Got::message) {
        REQUIRE(is_whole(lease.message));
        ids.push_back(id_of(lease.message));
        REQUIRE(member.ack(lease));
    }
    return ids;
}

/// Nothing contradicts the protocol. Prints what does.
inline bool is_sound(const Segment& segment) {
    const std::vector<std::string> complaints = audit(segment);
    for (const std::string& complaint : complaints) UNSCOPED_INFO(complaint);
    return complaints.empty();
}

/// Everything is where it was at the beginning. Nobody takes part any more.
inline bool is_like_new(const Segment& segment) {
    const Status now = status(segment);
    const Space where = space(segment);
    UNSCOPED_INFO("free slots " << now.free << " of " << segment.config().capacity
                                << ", free bytes " << where.free << " of " << where.total);
    return is_sound(segment) && now.free == segment.config().capacity && where.free == where.total;
}

/// A seed that can be given from outside; the test prints it when it fails.
inline std::uint64_t seed() {
    const char* given = std::getenv("GREENSUP_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
}

}  // namespace shm_test
