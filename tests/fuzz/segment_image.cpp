#include "segment_image.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdlib.h>

#include "fuzz.hpp"
#include "queue/crash_point.hpp"
#include "queue/keeper.hpp"
#include "queue/member.hpp"

namespace fuzz {
namespace {

using namespace green::ipc::shm;

struct Died {};
CrashPoint fatal{};

/// Does something as one who dies at that point.
template <class Act>
void die_at(CrashPoint point, Act&& act) {
    fatal = point;
    crash_hook = [](CrashPoint passed) {
        if (passed == fatal) throw Died{};
    };
    try {
        act();
        expect(false, "the image's actor has survived");
    } catch (const Died&) {
    }
    crash_hook = nullptr;
}

void put(Member& member, std::size_t size) {
    Reservation reservation;
    expect(member.try_reserve(size, reservation) == Shortage::none, "no room in the image");
    std::memset(reservation.memory.data(), 'm', size);
    member.put(reservation, size);
}

Lease get(Member& member) {
    Lease lease;
    expect(member.try_get(lease) == Got::message, "nothing in the image");
    return lease;
}

void fill(Keeper& keeper, Member& one, Member& two) {
    for (const std::size_t size : {90u, 80u, 100u, 1500u, 700u, 60u, 9000u, 1800u, 200u})
        put(one, size);

    Lease delayed = get(one);
    expect(one.nack_until(delayed, 1000), "no nack in the image");
    Lease rejected = get(one);
    expect(one.reject(rejected), "no reject in the image");
    Reservation once;
    expect(one.try_reserve(50, once) == Shortage::none, "no room in the image");
    expect(one.put_once(once, 50, {1, 2}, 1) == Entered::published, "no id in the image");

    const Lease taken_away = get(two);  // ends as a ZOMBIE that `two` reads
    expect(keeper.take_back(taken_away.slot, taken_away.word), "no lease in the image");
    Lease again = get(one);
    expect(one.ack(again), "no ack in the image");
    Lease acked = get(two);
    die_at(CrashPoint::ack_committed, [&] { (void)two.ack(acked); });
    Lease returned = get(two);
    expect(two.nack(returned), "no nack in the image");
    (void)get(two);
    (void)get(one);
    Reservation reserved;
    expect(one.try_reserve(300, reserved) == Shortage::none, "no room in the image");
    die_at(CrashPoint::extent_claimed, [&] { put(two, 90); });
    expect(two.doorbell() >= 0, "no wait slot in the image");
    two.arm(Interest::items);
    two.arm(Interest::memory, 5000);
}

}  // namespace

Config segment_config() {
    Config config;
    config.schema_id = 7;
    config.capacity = 14;
    config.members = 3;
    config.pins = 4;
    config.wait_slots = 2;
    config.dedup_ids = 8;
    config.payload_bytes = std::uint64_t{8} * 4096;
    config.max_message = std::uint64_t{4} * 4096;
    return config;
}

std::vector<std::byte> segment_image() {
    std::string folder = std::filesystem::temp_directory_path() / "greensup-XXXXXX";
    expect(::mkdtemp(folder.data()) != nullptr, "no folder for the image");
    const std::string path = folder + "/q";
    std::vector<std::byte> image;
    {
        Keeper keeper{Segment::create(path, segment_config())};
        keeper.recover();
        Settings settings;
        settings.has_dead_letter = true;
        settings.max_deliveries = 3;
        keeper.configure(settings);
        Member one{Segment::open(path), 1, keeper.doorbells()};
        Member two{Segment::open(path), 2, keeper.doorbells()};
        fill(keeper, one, two);
        // Before the two can leave in order.
        std::ifstream file{path, std::ios::binary};
        const std::vector<char> bytes{std::istreambuf_iterator<char>{file}, {}};
        const auto* const first = reinterpret_cast<const std::byte*>(bytes.data());
        image.assign(first, first + bytes.size());
    }
    std::filesystem::remove_all(folder);
    return image;
}

}  // namespace fuzz
