#include <dirent.h>
#include <fcntl.h>

#include <green/sys.hpp>

#include "shm_support.hpp"
#include "support/faults.hpp"

using namespace shm_test;
using Catch::Matchers::Contains;

namespace {

int open_descriptors() {
    int count = 0;
    DIR* directory = ::opendir("/proc/self/fd");
    while (::readdir(directory) != nullptr) ++count;
    ::closedir(directory);
    return count;
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

/// Fails the nth call that reaches the door.
class FailNth : public green::sys::Injector {
 public:
    FailNth(std::size_t nth, int error)
        : nth_{nth}, error_{error}, before_{green::sys::set_injector(this)} {}
    ~FailNth() override { green::sys::set_injector(before_); }
    int before(green::sys::Call call, int) noexcept override {
        if (call == green::sys::Call::munmap || call == green::sys::Call::close) return 0;
        return seen_++ == nth_ ? error_ : 0;
    }
    [[nodiscard]] bool has_fired() const { return seen_ > nth_; }

 private:
    std::size_t nth_;
    int error_;
    std::size_t seen_ = 0;
    green::sys::Injector* before_;
};

std::vector<std::byte> read_all(const std::string& path) {
    std::vector<std::byte> bytes(1 << 20);
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t got = ::read(fd, bytes.data(), bytes.size());
    ::close(fd);
    bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return bytes;
}

void write_all(const std::string& path, std::span<const std::byte> bytes) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    REQUIRE(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    ::close(fd);
}

}  // namespace

TEST_CASE("queue segment: what was made can be opened, and holds what was put", "[ipc][queue]") {
    const Queue queue;
    send(*queue.join(1), 42);
    const Segment again = Segment::open(queue.directory.file(), 0xfeed);
    CHECK(again.config() == small_config());
    CHECK(again.geometry().total == queue.segment().geometry().total);
    CHECK(status(again).ready == 1);
    CHECK_FALSE(exists(queue.directory.file("q.new")));
}

TEST_CASE("queue segment: the file is the owner's alone, close-on-exec, and has all of its memory",
          "[ipc][queue]") {
    const Directory directory;
    const Segment segment = Segment::create(directory.file(), small_config());
    struct stat file {};
    REQUIRE(::stat(directory.file().c_str(), &file) == 0);
    CHECK((file.st_mode & 0777) == 0600);
    CHECK(static_cast<std::uint64_t>(file.st_size) == segment.geometry().total);
    CHECK(static_cast<std::uint64_t>(file.st_blocks) * 512 >= segment.geometry().total);
}

TEST_CASE(
    "queue segment: an existing file is never overwritten, a draft left by a killed keeper is",
    "[ipc][queue]") {
    const Directory directory;
    write_all(directory.file("q.new"), std::vector<std::byte>(100));
    { const Segment segment = Segment::create(directory.file(), small_config()); }
    CHECK_THROWS_WITH(Segment::create(directory.file(), small_config()), Contains("File exists"));
    CHECK(Segment::open(directory.file()).config() == small_config());
}

TEST_CASE("queue segment: what is replaced goes when the new one, or room for it, is there",
          "[ipc][queue]") {
    const Directory directory;
    const std::uint64_t identity = Segment::create(directory.file(), small_config()).identity();
    Config other = small_config();
    other.capacity *= GENERATE(2, 1);
    other.payload_bytes /= other.capacity == small_config().capacity ? 2 : 1;
    const auto replace = [&] { return Segment::replace(directory.file(), other); };
    const auto there = [&] { return Segment::open(directory.file()); };
    SECTION("whatever cannot be made") {
        bool has_fired = true;
        for (std::size_t nth = 0; has_fired; ++nth) {
            const std::uint64_t before = there().identity();
            const FailNth plan{nth, EIO};
            bool is_made = true;
            try {
                (void)replace();
            } catch (const std::system_error&) {
                is_made = false;
            }
            has_fired = plan.has_fired();
            if (!is_made) CHECK(there().identity() == before);
        }
        CHECK(there().config() == other);
    }
    SECTION("room for one of them alone") {
        const tests::FailNth full{0, ENOSPC, green::sys::Call::fallocate};
        CHECK(replace().config() == other);
        CHECK(there().config() == other);
    }
    SECTION("not even that") {
        if (other.capacity == small_config().capacity) return;  // a smaller one has room
        const tests::FailNth full{0, ENOSPC, green::sys::Call::fallocate, true};
        CHECK_THROWS_WITH(replace(), Contains("No space left") && Contains(directory.file()));
        CHECK(there().identity() == identity);
    }
    CHECK_FALSE(exists(directory.file("q.new")));
}

TEST_CASE("queue segment: its bytes lie where the reference page says", "[ipc][queue]") {
    CHECK(sizeof(Header) == 208);
    CHECK(offsetof(Header, config) == 24);
    CHECK(offsetof(Header, config.capacity) == 48);
    CHECK(offsetof(Header, config.wait_slots) == 60);
    CHECK(offsetof(Header, config.dedup_ids) == 64);
    CHECK(offsetof(Header, checksum) == 200);
    CHECK(offsetof(SlotRecord, sequence) == 24);
    CHECK(offsetof(SlotRecord, not_before) == 48);
    CHECK(offsetof(SlotRecord, killers) == 72);
    const std::uint64_t magic = segment_magic;
    CHECK(std::memcmp(&magic, "GNQUEUE1", 8) == 0);
}

TEST_CASE("queue segment: another schema than the one asked for is refused", "[ipc][queue]") {
    const Queue queue;
    CHECK_THROWS_WITH(Segment::open(queue.directory.file(), 1),
                      Contains("schema") && Contains(queue.directory.file()));
}

TEST_CASE("queue segment: every flipped bit of a header is noticed", "[ipc][queue]") {
    const Directory directory;
    { const Segment segment = Segment::create(directory.file(), small_config()); }
    const std::vector<std::byte> good = read_all(directory.file());
    for (std::size_t at = 0; at < sizeof(Header); ++at) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            std::vector<std::byte> bad = good;
            bad[at] ^= std::byte{1} << bit;
            const int fd = ::open(directory.file().c_str(), O_WRONLY | O_CLOEXEC);
            REQUIRE(::pwrite(fd, bad.data() + at, 1, static_cast<off_t>(at)) == 1);
            REQUIRE_THROWS_AS(Segment::open(directory.file()), SegmentError);
            if (at == offsetof(Header, version))  // not another version, whose file would be moved
                REQUIRE_THROWS_WITH(Segment::open(directory.file()), Contains("checksum"));
            REQUIRE(::pwrite(fd, good.data() + at, 1, static_cast<off_t>(at)) == 1);
            ::close(fd);
        }
    }
    CHECK_NOTHROW(Segment::open(directory.file()));
}

TEST_CASE("queue segment: a header that lies consistently is still held against the file",
          "[ipc][queue]") {
    const Directory directory;
    { const Segment segment = Segment::create(directory.file(), small_config()); }
    const std::vector<std::byte> good = read_all(directory.file());
    const auto opened_with = [&](auto change) -> std::string {
        std::vector<std::byte> bytes = good;
        Header header;
        std::memcpy(&header, bytes.data(), sizeof header);
        change(header);
        header.checksum = checksum_of(header);
        std::memcpy(bytes.data(), &header, sizeof header);
        write_all(directory.file("other"), bytes);
        try {
            (void)Segment::open(directory.file("other"));
            return "opened";
        } catch (const SegmentError& error) {
            return error.what();
        }
    };
    CHECK_THAT(opened_with([](Header& h) { h.magic ^= 1; }),
               Contains("magic") && Contains(directory.file("other")));
    CHECK_THAT(opened_with([](Header& h) { h.version = 77; }), Contains("version 77"));
    const std::string earlier = opened_with([](Header& h) { h.version = first_alike_version; });
    CHECK_THAT(earlier, Contains("version " + std::to_string(first_alike_version)));
    CHECK(status(Segment::open_to_look(directory.file("other"))).free == small_config().capacity);
    (void)opened_with([](Header& h) { h.version = first_alike_version - 1; });
    CHECK_THROWS_AS(Segment::open_to_look(directory.file("other")), VersionError);
    CHECK_THAT(opened_with([](Header& h) { h.header_bytes = 8; }), Contains("its size"));
    CHECK_THAT(opened_with([](Header& h) { h.total_bytes += 4096; }), Contains("do not add up"));
    CHECK_THAT(opened_with([](Header& h) { h.config.capacity = 0; }), Contains("capacity must be"));
    CHECK_THAT(opened_with([](Header& h) { h.config.capacity = 9000; }), Contains("do not add up"));
    CHECK_THAT(opened_with([](Header& h) { h.config.members = 5000; }),
               Contains("members must be"));
    CHECK_THAT(opened_with([](Header& h) { h.config.pins = 0; }), Contains("pins must be"));
    CHECK_THAT(opened_with([](Header& h) { h.config.wait_slots = 257; }),
               Contains("wait_slots must be"));
    CHECK_THAT(opened_with([](Header& h) { h.config.payload_bytes = 1; }),
               Contains("payload_bytes must be"));
    CHECK_THAT(opened_with([](Header& h) { h.config.payload_bytes = ~0ull; }),
               Contains("payload_bytes must be"));
    CHECK_THAT(opened_with([](Header& h) { h.config.max_message = ~0ull; }),
               Contains("max_message"));
    CHECK_THAT(opened_with([](Header& h) { h.config.schema_id = 5; }), Contains("opened"));
}

TEST_CASE("queue segment: a file of any other length is refused, with its path and the figures",
          "[ipc][queue]") {
    const Directory directory;
    std::uint64_t total = 0;
    {
        const Segment segment = Segment::create(directory.file(), small_config());
        total = segment.geometry().total;
    }
    for (const std::uint64_t size :
         {std::uint64_t{0}, std::uint64_t{8}, std::uint64_t{sizeof(Header)}, std::uint64_t{4096},
          total - 1}) {
        std::vector<std::byte> bytes = read_all(directory.file());
        bytes.resize(size);
        write_all(directory.file("other"), bytes);
        CHECK_THROWS_WITH(Segment::open(directory.file("other")),
                          Contains("truncated") && Contains(directory.file("other")) &&
                              Contains(std::to_string(size)));
    }
    REQUIRE(::truncate(directory.file().c_str(), static_cast<off_t>(total + 1)) == 0);
    CHECK_THROWS_WITH(Segment::open(directory.file()), Contains("longer"));
}

TEST_CASE("queue segment: what is no regular file is refused", "[ipc][queue]") {
    const Directory directory;
    CHECK_THROWS_AS(Segment::open(directory.path()), std::system_error);
    REQUIRE(::symlink("/etc/passwd", directory.file().c_str()) == 0);
    CHECK_THROWS_AS(Segment::open(directory.file()), std::system_error);
    CHECK_THROWS_AS(Segment::create(directory.file(), small_config()), std::system_error);
    CHECK_THROWS_AS(Segment::open("/dev/null"), SegmentError);
}

TEST_CASE("queue segment: impossible figures are refused before anything is made", "[ipc][queue]") {
    const Directory directory;
    Config config = small_config();
    config.max_message = config.payload_bytes + 1;
    CHECK_THROWS_WITH(Segment::create(directory.file(), config), Contains("max_message"));
    CHECK_FALSE(exists(directory.file()));
}

TEST_CASE("queue segment: whichever call fails, creation leaves no descriptor and no file",
          "[ipc][queue]") {
    const Directory directory;
    const int before = open_descriptors();
    std::size_t nth = 0;
    for (;; ++nth) {
        bool has_fired = false;
        {
            FailNth plan{nth, ENOSPC};
            std::unique_ptr<Keeper> keeper;
            try {
                keeper =
                    std::make_unique<Keeper>(Segment::create(directory.file(), small_config()));
            } catch (const std::system_error& error) {
                CHECK(error.code().value() == ENOSPC);
            }
            has_fired = plan.has_fired();
        }
        REQUIRE(open_descriptors() == before);
        CHECK_FALSE(exists(directory.file("q.new")));
        if (exists(directory.file())) {
            CHECK_NOTHROW(Segment::open(directory.file()));  // complete, or not there
            ::unlink(directory.file().c_str());
        }
        if (!has_fired) break;
    }
    CHECK(nth > 8);
}

TEST_CASE(
    "queue segment: whichever call fails, opening leaves no descriptor and the file as it was",
    "[ipc][queue]") {
    const Queue queue;
    const std::vector<std::byte> content = read_all(queue.directory.file());
    const int before = open_descriptors();
    for (std::size_t nth = 0;; ++nth) {
        bool has_fired = false;
        {
            FailNth plan{nth, EIO};
            try {
                const Segment segment = Segment::open(queue.directory.file());
            } catch (const std::system_error& error) {
                CHECK_THAT(error.what(), Contains(queue.directory.file()));
            }
            has_fired = plan.has_fired();
        }
        REQUIRE(open_descriptors() == before);
        if (!has_fired) break;
    }
    CHECK(read_all(queue.directory.file()) == content);
}

// The record of a member that does not exist was read.
TEST_CASE("queue segment: an owner out of range is a complaint of the audit", "[ipc][queue]") {
    const Queue queue{small_config()};
    queue.segment().slot(0).state.store(SlotWord{SlotState::leased, max_owner, 1, 0}.pack());
    const Owner owner = GENERATE(nobody, small_config().members + 1, max_owner);
    queue.segment().chunk(0).state.store(ChunkWord{ChunkState::current, owner, 0, 1}.pack());
    const std::vector<std::string> complaints = audit(queue.segment());
    CHECK_THAT(complaints, Catch::VectorContains(std::string("slot 0 is in an impossible state")));
    CHECK_THAT(complaints,
               Catch::VectorContains(std::string("chunk 0 is filled by somebody who is gone")));
}

// It was counted before the first member.
TEST_CASE("queue segment: a lease of nobody is nobody's in the figures", "[ipc][queue]") {
    const Queue queue{small_config()};
    queue.segment().slot(0).state.store(SlotWord{SlotState::leased, nobody, 1, 0}.pack());
    const Status now = status(queue.segment());
    CHECK(now.leased == 1);
    CHECK(now.leases == std::vector<std::uint32_t>(small_config().members));
}
