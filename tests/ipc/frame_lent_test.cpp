// Frames too large for a ring, in files that both ends keep.

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/detail/poll_node.hpp>
#include <green/green.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/sys.hpp>

#include "frame_texts.hpp"
#include "frames/descriptors.hpp"
#include "frames/lent_file.hpp"
#include "frames/memory_file.hpp"
#include "ring/ring_writer.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::bytes_of;
using tests::pattern;
using tests::run_green_for_real;
using tests::text_of;
namespace ipc = green::ipc;
namespace sys = green::sys;

namespace {

constexpr ipc::RingOptions small{.capacity = 4096};
constexpr std::size_t large = 100'000;

/// Counts the files that are made while it lives.
class FilesMade final : public sys::Injector {
 public:
    FilesMade() : outer_{sys::set_injector(this)} {}
    FilesMade(const FilesMade&) = delete;
    FilesMade& operator=(const FilesMade&) = delete;
    ~FilesMade() override { (void)sys::set_injector(outer_); }
    int before(sys::Call call, int fd) noexcept override {
        count += call == sys::Call::memfd_create;
        return outer_ != nullptr ? outer_->before(call, fd) : 0;
    }
    int count = 0;

 private:
    Injector* outer_;
};

}  // namespace

TEST_CASE("frame lent: those that are let go one after the other lie in one file", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::ring_pair(small);
        const FilesMade made;
        for (unsigned i = 0; i < 100; ++i) {
            left.put(bytes_of(pattern(large + i, i)));
            CHECK(text_of(right.get(1h)) == pattern(large + i, i));
        }
        CHECK(made.count == 1);
        // One that is not sent is given back, too.
        { const auto draft = left.prepare(large); }
        left.put(bytes_of("small"));
        CHECK(text_of(right.get(1h)) == "small");
        left.put(bytes_of(pattern(large, 7)));
        CHECK(text_of(right.get(1h)) == pattern(large, 7));
        CHECK(made.count == 1);
        // A larger one takes the place of that one, or another.
        left.put(bytes_of(pattern(10 * large, 8)));
        CHECK(text_of(right.get(1h)) == pattern(10 * large, 8));
        left.put(bytes_of(pattern(10 * large, 9)));
        CHECK(text_of(right.get(1h)) == pattern(10 * large, 9));
        CHECK(made.count == 2);
    });
}

TEST_CASE("frame lent: who keeps many holds nobody up", "[ipc][frame]") {
    const auto before = tests::open_descriptors();
    run_green_for_real([] {
        auto [left, right] = ipc::ring_pair(small);
        left.put(bytes_of("small"));
        const ipc::Frame first = right.get(1h);  // room comes free in order: none does
        std::vector<ipc::Frame> kept;
        for (unsigned i = 0; i < 12; ++i) {
            left.put(bytes_of(pattern(large, i)));
            kept.push_back(right.get(1h));
        }
        for (unsigned i = 0; i < 12; ++i) CHECK(text_of(kept[i]) == pattern(large, i));
        kept.erase(kept.begin(), kept.begin() + 6);
        for (unsigned i = 12; i < 18; ++i) {
            left.put(bytes_of(pattern(large, i)));
            kept.push_back(right.get(1h));
        }
        for (unsigned i = 6; i < 18; ++i) CHECK(text_of(kept[i - 6]) == pattern(large, i));
        left.shutdown();
        right.shutdown();
        for (unsigned i = 6; i < 18; ++i) CHECK(text_of(kept[i - 6]) == pattern(large, i));
        CHECK(text_of(first) == "small");
    });
    CHECK(tests::open_descriptors() == before);
}

TEST_CASE("frame lent: a writer waits for a file while its reader is behind", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::ring_pair(small);
        const FilesMade made;
        unsigned written = 0;
        auto writer = green::spawn([&, &end = left] {
            for (; written < 20; ++written) end.put(bytes_of(pattern(large, written)));
        });
        green::idle();
        CHECK(written == ipc::Depot::places);
        CHECK_FALSE(left.put(bytes_of("not even this"), {}, 1ms));  // it keeps the turn
        for (unsigned i = 0; i < 20; ++i) CHECK(text_of(right.get(1h)) == pattern(large, i));
        CHECK(writer.join(1h));
        CHECK(made.count == ipc::Depot::places);

        // One that gives up, or whose reader goes.
        for (unsigned i = 0; i < ipc::Depot::places; ++i) left.put(bytes_of(pattern(large, i)));
        CHECK_FALSE(left.put(bytes_of(pattern(large, 9)), {}, 5ms));
        auto waiting = green::spawn([&, &end = left] { end.put(bytes_of(pattern(large, 9))); });
        green::idle();
        CHECK_FALSE(waiting.ready());
        right.shutdown();
        CHECK_THROWS_AS(waiting.get(), std::system_error);
    });
}

TEST_CASE("frame lent: a writer who waits for a file hears of each that comes free",
          "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::ring_pair(small);
        for (unsigned i = 0; i < ipc::Depot::places; ++i) left.put(bytes_of(pattern(large, i)));
        std::vector<ipc::Frame> kept;
        while (kept.size() + 1 < ipc::Depot::places) kept.push_back(right.get(1h));
        auto writer = green::spawn([&, &end = left] { end.put(bytes_of(pattern(large, 9))); });
        green::idle();
        // One is still on its way. Meanwhile the hub has fallen asleep.
        CHECK_FALSE(left.put(bytes_of("not even this"), {}, 1ms));
        CHECK_FALSE(writer.ready());
        kept.erase(kept.begin() + 1);
        CHECK(writer.join(10s));
        CHECK(text_of(right.get(1h)) == pattern(large, ipc::Depot::places - 1));
        CHECK(text_of(right.get(1h)) == pattern(large, 9));
    });
}

TEST_CASE("frame lent: an end that travels knows the files, or makes others", "[ipc][frame]") {
    const auto before = tests::open_descriptors();
    run_green_for_real([] {
        auto [left, right] = ipc::ring_pair(small);
        for (unsigned i = 0; i < 3; ++i) left.put(bytes_of(pattern(large << i, i)));
        for (unsigned i = 0; i < 2; ++i) CHECK(text_of(right.get(1h)) == pattern(large << i, i));
        left.put(bytes_of(pattern(large, 3)));  // in a file that the reader knows
        const ipc::Frame kept = right.get(1h);  // the one in the third file
        right = ipc::FrameStream::unpack(std::move(right).pack());
        CHECK(text_of(kept) == pattern(large << 2, 2));
        CHECK(text_of(right.get(1h)) == pattern(large, 3));
        left = ipc::FrameStream::unpack(std::move(left).pack());
        for (unsigned i = 4; i < 12; ++i) {
            left.put(bytes_of(pattern(large, i)));
            CHECK(text_of(right.get(1h)) == pattern(large, i));
        }
        CHECK(text_of(kept) == pattern(large << 2, 2));
    });
    CHECK(tests::open_descriptors() == before);
}

TEST_CASE("frame lent: a copy of a frame in a forked child gives nothing back", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::ring_pair(small);
        left.put(bytes_of(pattern(large, 1)));
        {
            std::optional<ipc::Frame> kept = right.get(1h);
            auto child = green::fork_process([&] {
                kept.reset();
                return 0;
            });
            CHECK(child.join() == green::ExitStatus{green::ExitStatus::Kind::exited, 0, false});
            for (unsigned i = 2; i < 8; ++i) {
                left.put(bytes_of(pattern(large, i)));
                CHECK(text_of(right.get(1h)) == pattern(large, i));
            }
            CHECK(text_of(*kept) == pattern(large, 1));
        }
    });
}

TEST_CASE("frame lent: nor does a copy of a draft", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::ring_pair(small);
        std::optional<ipc::FrameDraft> draft = left.prepare(large);
        auto child = green::fork_process([&] {
            draft.reset();
            return 0;
        });
        CHECK(child.join() == green::ExitStatus{green::ExitStatus::Kind::exited, 0, false});
        std::memset(draft->memory().data(), 'a', large);
        draft->put(large);
        draft.reset();
        const ipc::Frame kept = right.get(1h);
        left.put(bytes_of(pattern(large, 2)));
        CHECK(text_of(right.get(1h)) == pattern(large, 2));
        CHECK(text_of(kept) == std::string(large, 'a'));
    });
}

TEST_CASE("frame lent: whichever call fails, the stream stays in step", "[ipc][frame]") {
    const int error = GENERATE(ENOMEM, EMFILE);
    const auto before = tests::open_descriptors();
    run_green_for_real([error] {
        const std::size_t failures = tests::for_each_failure(error, [](const tests::FailNth&) {
            auto ends = [] {
                try {
                    return std::optional{ipc::ring_pair(small)};
                } catch (const std::system_error&) {
                    return std::optional<std::pair<ipc::FrameStream, ipc::FrameStream>>{};
                }
            }();
            if (!ends) return;
            auto& [left, right] = *ends;
            std::vector<unsigned> sent;
            for (unsigned i = 0; i < 3; ++i) {
                try {
                    left.put(bytes_of(pattern(large << i, i)));
                    sent.push_back(i);
                } catch (const std::system_error&) {
                }
            }
            for (const unsigned i : sent) {
                for (;;) {
                    try {
                        const std::string text = text_of(right.get(1h));
                        CHECK(text == pattern(large << i, i));
                        break;
                    } catch (const std::system_error&) {  // it is there still
                    }
                }
            }
        });
        CHECK(failures > 20);
    });
    CHECK(tests::open_descriptors() == before);
}

namespace {

/// A peer who writes what he likes into the ring.
class Hostile {
 public:
    explicit Hostile(ipc::FrameStream end)
        : parcel_{std::move(end).pack()},
          memory_{ipc::ring::RingMemory::adopt(std::move(parcel_.descriptors.at(1)))},
          writer_{memory_} {}
    void publish(ipc::ring::RecordHeader header) {
        last_ = writer_.room(0);
        REQUIRE(last_ != nullptr);
        (void)writer_.publish(header, 0);
    }
    void publish_instead(ipc::ring::RecordHeader header) {
        std::memcpy(last_ - sizeof header, &header, sizeof header);
    }
    void send(int fd) {
        const std::byte token{};
        CHECK(ipc::send_with(parcel_.descriptors.at(0).number(), {&token, 1}, std::array{fd}).ok());
    }

 private:
    ipc::Parcel parcel_;
    ipc::ring::RingMemory memory_;
    ipc::ring::RingWriter writer_;
    std::byte* last_ = nullptr;
};

}  // namespace

TEST_CASE("frame lent: a file that is none, or not there, is refused", "[ipc][frame]") {
    using ipc::ring::Kind;
    run_green_for_real([] {
        auto [right, left] = ipc::ring_pipe(small);
        Hostile peer{std::move(left)};
        const auto refused = [&, &end = right] {
            CHECK_THROWS_AS(end.get(1h), green::ProtocolError);
        };
        SECTION("that never came") { peer.publish({1, Kind::again, 0}); }
        SECTION("of no such place") { peer.publish({1, Kind::again, ipc::Depot::places}); }
        SECTION("without its descriptor") { peer.publish({1, Kind::lent, 0}); }
        SECTION("of an unknown kind") { peer.publish({1, Kind{5}, 0}); }
        SECTION("for good, though it may become another one") {
            peer.publish({0, Kind{5}, 0});
            refused();
            peer.publish_instead({0, Kind::here, 0});
        }
        SECTION("that is smaller") {
            const auto file = ipc::LentFile::create(4096);
            peer.send(file->fd().number());
            peer.publish({4097, Kind::lent, 0, 1});
        }
        SECTION("that is larger than any that is kept") {
            const auto file = ipc::LentFile::create(ipc::Depot::largest + 1);
            peer.send(file->fd().number());
            peer.publish({1, Kind::lent, 0, 1});
        }
        SECTION("that can be cut off") {
            const green::Fd file{static_cast<int>(
                sys::must(sys::memfd_create("plain", MFD_ALLOW_SEALING), "memfd"))};
            REQUIRE(sys::ftruncate(file.number(), 1 << 20).ok());
            peer.send(file.number());
            peer.publish({1, Kind::lent, 0, 1});
        }
        SECTION("that was not made for it") {
            const green::Fd file{static_cast<int>(
                sys::must(sys::memfd_create("other", MFD_ALLOW_SEALING), "memfd"))};
            REQUIRE(sys::ftruncate(file.number(), 1 << 20).ok());
            REQUIRE(
                sys::fcntl(file.number(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
                    .ok());
            peer.send(file.number());
            peer.publish({1, Kind::lent, 0, 1});
        }
        SECTION("and no more than that is believed") {
            const auto file = ipc::LentFile::create(4096);
            peer.send(file->fd().number());
            peer.publish({4096, Kind::lent, 3, 1});
            CHECK(right.get(1h).size == 4096);
            peer.publish({4097, Kind::again, 3});
        }
        refused();
    });
}

TEST_CASE("frame lent: memory of huge pages is refused, whoever sends it", "[ipc][frame]") {
    constexpr std::size_t bytes = 2 << 20;
    const auto make = [](unsigned flags, int seals) {
        green::Fd file{::memfd_create("pages", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags)};
        if (!file.is_open() || ::ftruncate(file.number(), bytes) != 0) {
            WARN("left out: this system makes no file of huge pages");
            return green::Fd{};
        }
        REQUIRE(::fcntl(file.number(), F_ADD_SEALS, seals) == 0);
        return file;
    };
    constexpr int cannot_be_cut = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    const green::Fd lent = make(MFD_HUGETLB, cannot_be_cut);
    const green::Fd sealed = make(MFD_HUGETLB, cannot_be_cut | F_SEAL_WRITE);
    if (!lent.is_open() || !sealed.is_open()) return;
    CHECK_THROWS_WITH(ipc::LentFile::adopt(lent, bytes), Catch::Contains("huge pages"));
    CHECK_THROWS_WITH(ipc::map_sealed(sealed, bytes), Catch::Contains("huge pages"));
    CHECK(ipc::map_sealed(make(0, cannot_be_cut | F_SEAL_WRITE), bytes).size() ==
          bytes / sizeof(capnp::word));
}
