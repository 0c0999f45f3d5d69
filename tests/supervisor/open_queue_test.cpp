// A queue's segment in the supervisor's hands: what it does takes turns with everything else, and a
// configuration that is refused has changed none.

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/fd.hpp>
#include <green/greenlet.hpp>

#include "edition.hpp"
#include "queue/keeper.hpp"
#include "queue/member.hpp"
#include "refusal.hpp"
#include "segment_aside.hpp"
#include "support/descriptor_limit.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "support/temp_dir.hpp"
#include "support/text_files.hpp"

using namespace greensup;
namespace shm = green::ipc::shm;

namespace {

class Directory : public tests::TempDir {
 public:
    [[nodiscard]] std::string queue(const std::string& name) const {
        return *this / (name + ".queue");
    }
};

QueueConfig queue_of(const std::string& name, std::uint64_t capacity = 64) {
    QueueConfig queue;
    queue.name = name;
    queue.capacity = capacity;
    queue.max_bytes = 1 << 20;
    queue.max_message = 1 << 10;
    return queue;
}

Config config_of(std::vector<QueueConfig> queues) {
    Config config;
    config.queues = std::move(queues);
    return config;
}

/// One that takes part, as a worker does that is given the queue.
shm::Member join(const OpenQueue& queue, shm::Owner owner) {
    static std::vector<int> descriptors;
    descriptors = queue.descriptors();
    return {shm::Segment::adopt(descriptors[0], queue.path()), owner,
            std::span{descriptors}.subspan(1)};
}

void put(shm::Member& member) {
    shm::Reservation reservation;
    REQUIRE(member.try_reserve(64, reservation) == shm::Shortage::none);
    member.put(reservation, 64);
}

/// How often somebody else has his turn while `act` goes on.
template <class F>
unsigned turns_during(F&& act) {
    unsigned turns = 0;
    auto other = green::spawn([&] {
        for (;;) {
            green::yield();
            ++turns;
        }
    });
    green::yield();
    turns = 0;
    act();
    other.kill();
    return turns;
}

}  // namespace

TEST_CASE("open queue: to mend and to count many slots leaves the hub to others meanwhile",
          "[supervisor]") {
    tests::run_green_for_real([] {
        constexpr unsigned capacity = 1u << 17;
        const Directory directory;
        const auto queue = OpenQueue::open(directory.path(), queue_of("q", capacity));
        {
            auto member = join(*queue, 1);
            put(member);
        }
        CHECK(turns_during([&] { CHECK(queue->figures().ready == 1); }) >= capacity / 20'000);
        CHECK(turns_during([&] { queue->repair(1); }) >= 3 * capacity / 5000);
        CHECK(queue->figures().ready == 1);
    });
}

TEST_CASE("open queue: the end of one that was taken out of the file leaves the hub to others",
          "[supervisor]") {
    tests::run_green_for_real([] {
        constexpr unsigned capacity = 1u << 17;
        const Directory directory;
        const auto path = directory.queue("q");
        auto queue = OpenQueue::open(directory.path(), queue_of("q", capacity));
        queue->set_in_file(false);
        const auto is_there = [&] { return std::filesystem::exists(path); };
        SECTION("and removes it then") {
            queue.reset();
            unsigned turns = 0;
            for (; is_there() && turns < capacity; ++turns) green::yield();
            CHECK(turns >= capacity / 20'000);
            CHECK(turns < capacity);
        }
        SECTION("and is waited for before the run directory is given away") {
            queue.reset();
            CHECK(is_there());
            OpenQueue::wait_for_ends();
            CHECK_FALSE(is_there());
        }
        SECTION("and removes it also if another one was found meanwhile") {
            queue.reset();
            green::yield();
            (void)OpenQueue::open(directory.path(), queue_of("other"));
            OpenQueue::wait_for_ends();
            CHECK_FALSE(is_there());
        }
        SECTION("and leaves it to who has found it meanwhile") {
            queue.reset();
            green::yield();
            queue = OpenQueue::open(directory.path(), queue_of("q", capacity));
            green::idle();
            CHECK(is_there());
        }
        SECTION("but not where the supervisor ends too") {
            queue->set_last_turn();
            queue.reset();
            CHECK_FALSE(is_there());
        }
    });
}

TEST_CASE("open queue: two who die at once are mended after each other, also after a kill",
          "[supervisor]") {
    tests::run_green_for_real([] {
        const Directory directory;
        const auto queue = OpenQueue::open(directory.path(), queue_of("q", 1u << 15));
        const auto segment = shm::Segment::open(queue->path());
        for (const shm::Owner owner : {1u, 2u, 3u}) {
            auto member = join(*queue, owner);
            put(member);
            shm::Lease lease;
            REQUIRE(member.try_get(lease) == shm::Got::message);
        }
        auto killed = green::spawn([&] { queue->repair(1); });
        auto second = green::spawn([&] { queue->repair(2); });
        auto third = green::spawn([&] { queue->repair(3); });
        for (int i = 0; i < 3; ++i) green::yield();
        killed.kill();
        CHECK(segment.member(1).pid.load() != 0);
        second.join();
        third.join();
        CHECK(segment.member(2).pid.load() == 0);
        CHECK(segment.member(3).pid.load() == 0);
        queue->repair(1);
        CHECK(segment.member(1).pid.load() == 0);
        CHECK(queue->figures().ready == 3);
        CHECK(shm::audit(segment).empty());
    });
}

TEST_CASE("open queue: who is refused for one queue has changed no other", "[supervisor]") {
    tests::run_green_for_real([] {
        const Directory directory;
        auto first = queue_of("a");
        auto second = queue_of("b");
        {
            Editor editor{directory.path()};
            const auto edition = editor.make(nullptr, config_of({first, second}), 1);
            for (const auto& [name, queue] : edition->queues) {
                auto member = join(*queue, 1);
                put(member);
            }
        }
        const auto generation_of = [&](const std::string& name) {
            return shm::Segment::open(directory.queue(name)).control().generation.load();
        };
        const auto lease_of = [&](const std::string& name) {
            return shm::Segment::open(directory.queue(name)).control().lease.load();
        };
        const auto generation = generation_of("a");
        const auto lease = lease_of("a");
        first.lease = green::Duration{7};
        unsigned room = 1000;  // for more descriptors
        SECTION("messages of another schema") { second.schema = "Job"; }
        SECTION("figures that make no sense") { second.capacity = 0; }
        SECTION("damage") {
            shm::Segment::open(directory.queue("b")).slot(15).state.store(~std::uint64_t{0});
        }
        SECTION("one that cannot be made") {
            second.name = "c";  // nobody can make a file where a directory stands
            std::filesystem::create_directory(directory.queue("c") + ".new");
        }
        SECTION("one that cannot be remade, with nothing in it but what a dead one was putting") {
            auto segment = shm::Segment::open(directory.queue("b"));
            for (unsigned slot = 0; slot < 64; ++slot) {
                auto& state = segment.slot(slot).state;
                const auto word = shm::SlotWord::of(state.load());
                if (word.state == shm::SlotState::ready)
                    state.store(word.freed().reserved_by(1).pack());
            }
            second.capacity = 128;
            std::filesystem::create_directory(directory.queue("b") + ".new");
        }
        SECTION("descriptors for one queue and not for two") { room = 100; }
        Editor editor{directory.path()};
        {
            const tests::FewMoreDescriptors few{room};
            CHECK_THROWS_AS(editor.make(nullptr, config_of({first, second}), 1), Refusal);
        }
        CHECK(generation_of("a") == generation);
        CHECK(lease_of("a") == lease);
        CHECK_FALSE(std::filesystem::exists(directory.queue("c")));
    });
}

TEST_CASE("open queue: an empty one makes way for one that can be made", "[supervisor]") {
    tests::run_green_for_real([] {
        const Directory directory;
        const auto path = directory.queue("q");
        {
            shm::Config config;
            config.capacity = 64;
            config.payload_bytes = config.max_message = 1 << 20;
            shm::Keeper{shm::Segment::create(path, config)}.recover();
        }
        SECTION("of other figures") {}
        SECTION("of another version") {
            green::Fd file{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
            shm::Header header;
            REQUIRE(::pread(file.number(), &header, sizeof header, 0) == sizeof header);
            header.version = shm::first_alike_version;
            header.checksum = shm::checksum_of(header);
            REQUIRE(::pwrite(file.number(), &header, sizeof header, 0) == sizeof header);
        }
        const auto before = tests::text_of(path);
        auto queue = queue_of("q", 1 << 16);
        {
            const int error = GENERATE(ENOSPC, EDQUOT);
            const tests::FailNth full{0, error, green::sys::Call::fallocate, true};
            try {
                (void)OpenQueue::open(directory.path(), queue);
                FAIL("there is no room for it");
            } catch (const Refusal& refusal) {
                CHECK_THAT(refusal.what(), Catch::Contains("queues.q:") && Catch::Contains(path));
                CHECK_THAT(refusal.hint(), Catch::Contains("lower max_bytes"));
            }
        }
        CHECK((tests::text_of(path) == before));
        CHECK(OpenQueue::open(directory.path(), queue)->figures().ready == 0);
    });
}

TEST_CASE("open queue: what a creation left that was killed does not stay", "[supervisor]") {
    tests::run_green_for_real([] {
        const Directory directory;
        const auto queue = OpenQueue::open(directory.path(), queue_of("q"));
        {
            auto member = join(*queue, 1);
            put(member);
        }
        for (const char* name : {"q", "unnamed"})
            std::ofstream{directory.queue(name) + ".new"} << "half of it";
        tell_of_the_unnamed(directory.path(), config_of({queue_of("q")}));
        CHECK_FALSE(std::filesystem::exists(directory.queue("unnamed") + ".new"));
        const auto again = OpenQueue::open(directory.path(), queue_of("q"));
        CHECK_FALSE(std::filesystem::exists(directory.queue("q") + ".new"));
        CHECK(again->figures().ready == 1);
    });
}

TEST_CASE("open queue: a name that is used still is not given to another schema", "[supervisor]") {
    tests::run_green_for_real([] {
        const Directory directory;
        Editor editor{directory.path()};
        auto draining = editor.make(nullptr, config_of({queue_of("q")}), 1);
        {
            auto member = join(*draining->queues.at("q"), 1);
            put(member);
        }
        auto without = editor.make(draining.get(), config_of({}), 2);
        auto other = queue_of("q");
        other.schema = "Job";
        CHECK_THROWS_WITH(
            editor.make(without.get(), config_of({other}), 3),
            Catch::Contains("\"Job\"") && Catch::Contains("still use") && Catch::Contains("bytes"));
        CHECK(draining->queues.at("q")->figures().ready == 1);
        // Of the same schema it goes on, with the figures that it has.
        auto same = queue_of("q", 128);
        const auto again = editor.make(without.get(), config_of({same}), 3);
        CHECK(again->queues.at("q") == draining->queues.at("q"));
        CHECK(again->config.queue("q")->capacity == 64);
    });
}

TEST_CASE("open queue: once the old one is gone, empty, its name is free for another schema",
          "[supervisor]") {
    tests::run_green_for_real([] {
        const Directory directory;
        Editor editor{directory.path()};
        auto draining = editor.make(nullptr, config_of({queue_of("q")}), 1);
        auto other = queue_of("q");
        other.schema = "Job";
        CHECK_THROWS_AS(editor.make(nullptr, config_of({other}), 2), Refusal);
        draining.reset();
        CHECK(editor.make(nullptr, config_of({other}), 2)->queues.size() == 1);
    });
}
