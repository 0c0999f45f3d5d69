// What the supervisor makes of queues that an earlier one has left.

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include <catch2/catch.hpp>

#include "queue/keeper.hpp"
#include "queue/member.hpp"
#include "shell_support.hpp"
#include "support/roles.hpp"
#include "support/run_green.hpp"
#include "support/text_files.hpp"

using namespace greensup;
using namespace greensup::test;
namespace shm = green::ipc::shm;

namespace {

const std::string worker = "[workers.a]\nkind = \"hub\"\n" + role("hub_worker");

/// A supervisor that has not begun, and the segment of its queue q.
struct Leftover {
    explicit Leftover(const std::string& toml) : running{worker} {
        running.await_settled();
        running.process().signal(SIGTERM);
        REQUIRE(running.end().success());
        std::filesystem::create_directories(directory());
        std::filesystem::permissions(directory(), std::filesystem::perms::owner_all);
        running.write(toml);
    }
    [[nodiscard]] std::string directory() const { return running.run_dir() + "/queues"; }
    [[nodiscard]] std::string path() const { return directory() + "/q.queue"; }

    /// Makes the segment, with so many messages; `use` may do something with them.
    void make(int messages, std::uint64_t schema = 0,
              const std::function<void(shm::Member&)>& use = {}) const {
        shm::Config config;
        config.schema_id = schema;
        config.capacity = 16;
        config.payload_bytes = 1 << 20;
        config.max_message = 1 << 10;
        shm::Keeper keeper{shm::Segment::create(path(), config)};
        keeper.recover();
        keeper.configure({});
        shm::Member member{shm::Segment::open(path()), 1, keeper.doorbells()};
        for (int i = 0; i < messages; ++i) {
            shm::Reservation reservation;
            REQUIRE(member.try_reserve(64, reservation) == shm::Shortage::none);
            member.put(reservation, 64);
        }
        if (use) use(member);
    }
    void change_version(std::uint32_t version) const {
        std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
        shm::Header header;
        file.read(reinterpret_cast<char*>(&header), sizeof header);
        header.version = version;
        header.checksum = shm::checksum_of(header);
        file.seekp(0);
        file.write(reinterpret_cast<const char*>(&header), sizeof header);
        REQUIRE(file.good());
    }

    [[nodiscard]] std::string bytes() const { return tests::text_of(path()); }

    Running running;
};

void take_one(shm::Member& member) {
    shm::Lease lease;
    REQUIRE(member.try_get(lease) == shm::Got::message);
}

}  // namespace

TEST_CASE("shell: a segment of another version is put aside with its messages, and holds up nobody",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Leftover left("[queues.q]\n" + worker);
        std::uint32_t version = shm::segment_version - 1;
        std::string aside = left.path() + ".v" + std::to_string(version);
        std::string told = "queue.set_aside queue=q messages=3 path=" + aside;
        SECTION("one that can be counted") { left.make(3); }
        SECTION("one whose name is taken already") {
            left.make(3);
            std::ofstream(aside) << "an earlier one";
            aside += ".2";
            told += ".2";
        }
        SECTION("one that cannot be counted") {
            left.make(3);
            version = 1;
            aside = left.path() + ".v1";
            told = "queue.set_aside queue=q messages=\"not known\" path=" + aside;
        }
        SECTION("one that is damaged") {
            left.make(0);
            shm::Segment::open(left.path()).slot(3).state.store(~std::uint64_t{0});
            told = "queue.set_aside queue=q messages=\"not known\" path=" + aside;
        }
        SECTION("an empty one") {
            left.make(0);
            aside.clear();
            told = "queue.replaced queue=q";
        }
        left.change_version(version);
        left.running.start();
        const auto status = left.running.await_settled();
        CHECK(status.queues.at(0).ready == 0);
        INFO(left.running.log());
        CHECK(left.running.log().find(told) != std::string::npos);
        if (aside.empty()) return;
        CHECK(std::filesystem::file_size(aside) > 1 << 20);
        left.running.process().signal(SIGTERM);
        CHECK(left.running.end().success());
        CHECK(left.running.log().find("queue.put_back") == std::string::npos);
        left.running.start();
        left.running.await_settled();
        CHECK(std::filesystem::exists(aside));
        CHECK(left.running.log().find("queue.aside queue=q path=" + aside) != std::string::npos);
    });
}

TEST_CASE("shell: what was put aside of a queue that the file does not name is told of at a start",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Leftover left("[queues.r]\n" + worker);
        left.make(3);
        const auto aside = left.path() + ".v1";
        std::filesystem::rename(left.path(), aside);
        left.running.start();
        left.running.await_settled();
        INFO(left.running.log());
        CHECK(left.running.log().find("warning queue.aside queue=q path=" + aside +
                                      " why=\"another version of greensup has made it, and the "
                                      "file has no such queue; to get at its messages, stop, "
                                      "rename it to " +
                                      left.path() + " and run") != std::string::npos);
        CHECK(std::filesystem::exists(aside));
    });
}

TEST_CASE("shell: a segment that was put aside gets its name back when the start is refused",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Leftover left("[queues.q]\n[queues.r]\n" + worker);
        left.make(3);
        left.change_version(shm::segment_version - 1);
        const auto before = left.bytes();
        SECTION("by another queue") {
            std::filesystem::create_directory(left.directory() + "/r.queue.new");
        }
        SECTION("by this one") {
            // Nothing can be made here.
            std::filesystem::create_directory(left.path() + ".new");
        }
        left.running.start();
        CHECK(left.running.end().code == 73);
        INFO(left.running.log());
        CHECK(left.running.log().find("queue.set_aside queue=q") != std::string::npos);
        CHECK(left.running.log().find("queue.put_back queue=q") != std::string::npos);
        CHECK((left.bytes() == before));  // a megabyte is not to be printed
        for (const auto& file : std::filesystem::directory_iterator{left.directory()})
            CHECK(file.path().native().find(".queue.v") == std::string::npos);
    });
}

TEST_CASE("shell: a segment is not put aside at all where another queue is seen to be refused",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Leftover left("[queues.q]\n[queues.r]\n" + worker);
        left.make(3);
        left.change_version(shm::segment_version - 1);
        const auto before = left.bytes();
        std::ofstream(left.directory() + "/r.queue") << "no segment";
        left.running.start();
        CHECK(left.running.end().code == 73);
        INFO(left.running.log());
        CHECK(left.running.log().find("queue.set_aside") == std::string::npos);
        CHECK((left.bytes() == before));  // a megabyte is not to be printed
    });
}

TEST_CASE("shell: a segment that the file does not name is told of, and removed if it is empty",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Leftover left("[queues.r]\n" + worker);
        std::string told = "warning queue.unnamed queue=q messages=2 path=" + left.path();
        bool stays = true;
        SECTION("one with messages") { left.make(2); }
        SECTION("one with messages that another version has made") {
            left.make(2);
            left.change_version(shm::segment_version - 1);
        }
        SECTION("one whose message somebody had in hand") { left.make(2, 0, take_one); }
        SECTION("one that is damaged") {
            left.make(0);
            shm::Segment::open(left.path()).slot(3).state.store(~std::uint64_t{0});
            told = "warning queue.unnamed queue=q messages=\"not known\" path=" + left.path();
        }
        SECTION("what is no segment") {
            std::ofstream(left.path()) << "no segment";
            told = "warning queue.unnamed queue=q messages=\"not known\" path=" + left.path();
        }
        SECTION("an empty one") {
            left.make(0);
            told = "info queue.removed queue=q path=" + left.path();
            stays = false;
        }
        const auto before = stays ? left.bytes() : std::string{};
        left.running.start();
        left.running.await_settled();
        INFO(left.running.log());
        CHECK(left.running.log().find(told) != std::string::npos);
        CHECK(std::filesystem::exists(left.path()) == stays);
        left.running.process().signal(SIGTERM);
        CHECK(left.running.end().success());
        if (stays) CHECK((left.bytes() == before));  // a megabyte is not to be printed
    });
}

TEST_CASE("shell: messages of one schema are not handed out as those of another",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Leftover left("[queues.q]\ncapacity = 16\nschema = \"Job\"\n" + worker);
        left.make(2, 0xfeed, take_one);
        const auto before = left.bytes();
        left.running.start();
        CHECK(left.running.end().code == 73);
        CHECK((left.bytes() == before));  // a megabyte is not to be printed
        const auto log = left.running.log();
        INFO(log);
        CHECK(log.find(left.running.file() + ":7:10: error[E016]: queues.q.schema: \"Job\" is not "
                                             "the schema of the 2 messages") != std::string::npos);
        CHECK(log.find("until the queue is empty") != std::string::npos);
        CHECK(shm::status(shm::Segment::open(left.path())).leased == 1);
    });
}

TEST_CASE("shell: a damaged segment is refused and left as it is", "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Leftover left("[queues.q]\ncapacity = 16\nlease = \"7s\"\n" + worker);
        left.make(2, 0, take_one);
        shm::Segment::open(left.path()).slot(15).state.store(~std::uint64_t{0});
        const auto before = left.bytes();
        left.running.start();
        CHECK(left.running.end().code == 73);
        CHECK((left.bytes() == before));  // a megabyte is not to be printed
        CHECK(left.running.log().find("slot 15 is in an impossible state") != std::string::npos);
    });
}

TEST_CASE("shell: what the last holders had in hand comes back by the rules of the new start",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Leftover left(
            "[queues.letters]\nconsumers = []\n[queues.q]\ndead_letter = \"letters\"\n"
            "max_deliveries = 1\nconsumers = []\n" +
            worker);
        left.make(2, 0, take_one);
        left.running.start();
        left.running.await_settled();
        Running::until([&] { return left.running.status().queues.at(0).ready == 1; });
        const auto queue = left.running.status().queues.at(1);
        CHECK(queue.moved == 1);
        CHECK(queue.ready == 1);
    });
}

TEST_CASE("shell: an end does not wait for what was given back for long after it",
          "[supervisor][shell]") {
    tests::run_green_for_real([] {
        Leftover left("[queues.q]\nproducers = []\nconsumers = [\"a\"]\n" + worker);
        left.make(1, 0, [](shm::Member& member) {
            shm::Lease lease;
            REQUIRE(member.try_get(lease) == shm::Got::message);
            const auto hour = std::chrono::nanoseconds{1h}.count();
            REQUIRE(member.nack_until(lease, shm::Moment::present().now + hour));
        });
        left.running.start();
        left.running.await_settled();
        left.running.process().signal(SIGTERM);
        CHECK(left.running.end().success());
        INFO(left.running.log());
        CHECK(left.running.log().find("shutdown.waits") == std::string::npos);
        CHECK(left.running.log().find("shutdown.keeps queue=q messages=1") != std::string::npos);
        CHECK(shm::status(shm::Segment::open(left.path())).delayed == 1);
    });
}
