// Frames over pipes, with a socket beside them for descriptors and large payloads.

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <random>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/frame_stream.hpp>

#include "frame_pairs.hpp"
#include "frame_texts.hpp"
#include "frames/descriptors.hpp"
#include "frames/frame_header.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::bytes_of;
using tests::fill;
using tests::pattern;
using tests::run_green_for_real;
using tests::text_of;
namespace ipc = green::ipc;
namespace sys = green::sys;

namespace {

constexpr ipc::StreamOptions at_once{.coalesce = false};
const int numbers[] = {STDIN_FILENO};

/// Asks the system itself: a pair that has no pipes where it could must fail here.
bool has_pipes() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    constexpr int no_signal = 0x100;  // RWF_NOSIGNAL, for headers older than it
    char byte = 0;
    const iovec one{&byte, 1};
    const bool has = ::pwritev2(ends[1], &one, 1, -1, no_signal) == 1;
    ::close(ends[0]);
    ::close(ends[1]);
    const auto before = tests::open_descriptors();
    const auto pair = ipc::frame_pair();
    REQUIRE(tests::open_descriptors() == before + (has ? 6 : 2));
    if (!has) WARN("left out: no write to a pipe without a signal here (RWF_NOSIGNAL)");
    return has;
}

/// One end of a pair, and by hand what a peer of it writes.
struct ByHand {
    ByHand() {
        auto [left, right] = ipc::frame_pair(at_once);
        reader.emplace(std::move(right));
        ends = std::move(left).pack().descriptors;
    }
    void to_pipe(std::span<const std::byte> bytes) const {
        REQUIRE(::write(ends[2].number(), bytes.data(), bytes.size()) ==
                static_cast<ssize_t>(bytes.size()));
    }
    void to_pipe(const std::string& text) const { to_pipe(bytes_of(text)); }
    void header(std::size_t bytes, std::uint16_t descriptors = 0,
                ipc::FrameKind kind = ipc::FrameKind::message) const {
        std::array<std::byte, ipc::FrameHeader::size> header;
        ipc::FrameHeader{static_cast<std::uint32_t>(bytes), descriptors, kind}.write(header);
        to_pipe(header);
    }
    void to_socket(const std::string& text, std::span<const int> with = {}) const {
        REQUIRE(ipc::send_with(ends[0].number(), bytes_of(text), with).value ==
                static_cast<std::intptr_t>(text.size()));
    }

    std::optional<ipc::FrameStream> reader;
    std::vector<green::Fd> ends;  // socket, in, out
};

/// The same end once more, as a forked child has it.
ipc::Parcel copy_of(const ipc::Parcel& parcel) {
    ipc::Parcel copy;
    copy.bytes = parcel.bytes;
    for (const green::Fd& fd : parcel.descriptors) {
        copy.descriptors.emplace_back(::fcntl(fd.number(), F_DUPFD_CLOEXEC, 0));
        REQUIRE(copy.descriptors.back().is_open());
    }
    return copy;
}

/// So full that not even a header has room.
class Full {
 public:
    explicit Full(ipc::FrameStream& end) : large_{fill(end, text_)}, tiny_{fill(end, "")} {}
    /// All that was put comes to the other end.
    void take(ipc::FrameStream& other) const {
        for (int i = 0; i < large_; ++i) CHECK(text_of(other.get(10s)) == text_);
        for (int i = 0; i < tiny_; ++i) CHECK(other.get(10s).size == 0);
    }

 private:
    std::string text_ = pattern(1000, 1);
    int large_;
    int tiny_;
};

}  // namespace

TEST_CASE("frame pipes: a system without what they need has a socket alone", "[ipc][frame]") {
    if (!has_pipes()) return;
    const auto [call, error] = GENERATE(table<sys::Call, int>(
        {{sys::Call::pwritev2, EOPNOTSUPP}, {sys::Call::pipe2, ENFILE}, {sys::Call::read, EIO}}));
    const auto before = tests::open_descriptors();
    run_green_for_real([call = call, error = error, before] {
        const auto make = [&] {
            const tests::FailNth none{0, error, call, true};
            return ipc::frame_pair();
        };
        const auto already = tests::open_descriptors();
        auto [left, right] = make();
        CHECK(tests::open_descriptors() == already + 2);
        for (const std::size_t size : {10, 100'000}) {
            left.put(bytes_of(pattern(size, 1)), numbers);
            const ipc::Frame frame = right.get();
            CHECK(text_of(frame) == pattern(size, 1));
            CHECK(frame.descriptors.size() == 1);
        }
        left.close();
        CHECK_FALSE(right.next());
    });
    CHECK(tests::open_descriptors() == before);
}

TEST_CASE("frame pipes: whatever is put, descriptors and large ones arrive in step",
          "[ipc][frame]") {
    const bool coalesces = GENERATE(true, false);
    const auto seed = tests::seed();
    INFO("GREENSUP_SEED=" << seed);
    std::mt19937_64 random{seed};
    run_green_for_real([&] {
        const auto before = tests::open_descriptors();
        {
            auto [left, right] = ipc::frame_pair({.coalesce = coalesces});
            constexpr unsigned frames = 3000;
            const auto size_of = [](unsigned number) -> std::size_t {
                constexpr std::size_t sizes[] = {0,     1,      100,    4096,    32 * 1024 - 1,
                                                 32768, 32'769, 70'000, 400'000, 9};
                return number % 100 == 0 ? 3'000'000 : sizes[number * 7 % 10];
            };
            const std::vector<int> many(200, STDIN_FILENO);
            const auto descriptors_of = [&](unsigned number) {
                return std::span{many}.first(number % 5 == 0 ? number % 3 + (number % 50) * 4 : 0);
            };
            auto writer = green::spawn([&, &end = left] {
                for (unsigned number = 0; number < frames; ++number) {
                    const std::string text = pattern(size_of(number), number);
                    if (number % 3 == 0) {
                        auto draft = end.prepare(text.size() + random() % 50);
                        std::memcpy(draft->memory().data(), text.data(), text.size());
                        draft->put(text.size(), descriptors_of(number));
                    } else {
                        end.put(bytes_of(text), descriptors_of(number));
                    }
                }
                end.close_write();
            });
            for (unsigned number = 0; number < frames; ++number) {
                std::optional<ipc::Frame> frame;
                while (!frame) {
                    frame = right.next(random() % 4 == 0 ? green::Deadline{0ms}
                                                         : green::Deadline::never());
                    if (!frame) green::yield();
                }
                REQUIRE(frame->size == size_of(number));
                REQUIRE(text_of(*frame) == pattern(frame->size, number));
                REQUIRE(frame->descriptors.size() == descriptors_of(number).size());
            }
            CHECK_FALSE(right.next());
            writer.get();
            right.put(bytes_of("the other direction goes on"));
            CHECK(left.get().size == 27);
        }
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("frame pipes: who has no room sends nothing, unless its descriptors went ahead",
          "[ipc][frame]") {
    if (!has_pipes()) return;
    const std::size_t size = GENERATE(3000, 2'000'000);
    const bool is_killed = GENERATE(false, true);
    const bool with_descriptor = GENERATE(false, true);
    run_green_for_real([&] {
        const tests::Errors errors;
        auto [left, right] = ipc::frame_pair(at_once);
        const std::string one = pattern(size, 5);
        const Full full{left};
        const auto with = with_descriptor ? std::span{numbers} : std::span<const int>{};
        if (is_killed) {
            auto putter = green::spawn([&, &end = left] { end.put(bytes_of(one), with); });
            green::idle();
            putter.kill();
        } else {
            CHECK(left.put(bytes_of(one), with, 1ms) == with_descriptor);
        }
        auto next = green::spawn([&end = left] { end.put(bytes_of("next"), numbers); });
        full.take(right);
        if (with_descriptor) {
            const ipc::Frame frame = right.get(10s);
            CHECK(text_of(frame) == one);
            CHECK(frame.descriptors.size() == 1);
        }
        const ipc::Frame frame = right.get(10s);
        CHECK(text_of(frame) == "next");
        CHECK(frame.descriptors.size() == 1);
        next.get();
    });
}

TEST_CASE("frame pipes: who closes the end of one that waits sends whole frames", "[ipc][frame]") {
    if (!has_pipes()) return;
    // Its descriptors go ahead, although the pipe is full: then all of it goes.
    const bool with_descriptor = GENERATE(false, true);
    run_green_for_real([&] {
        const tests::Errors errors;
        auto [left, right] = ipc::frame_pair(at_once);
        const std::string large = pattern(2'000'000, 5);
        const Full full{left};
        auto putter = green::spawn([&, &end = left] {
            end.put(bytes_of(large), with_descriptor ? std::span{numbers} : std::span<const int>{});
        });
        green::idle();
        CHECK_FALSE(putter.ready());
        left.shutdown();
        CHECK_THROWS_AS(putter.get(), green::Closed);
        full.take(right);
        if (with_descriptor) {
            const ipc::Frame frame = right.get(10s);
            CHECK(text_of(frame) == large);
            CHECK(frame.descriptors.size() == 1);
        }
        CHECK_FALSE(right.next(10s));
        CHECK(right.at_end());
    });
}

TEST_CASE("frame pipes: the end of sending holds for every copy, and comes last", "[ipc][frame]") {
    const bool much = GENERATE(false, true);
    run_green_for_real([&] {
        auto [left, right] = ipc::frame_pair(at_once);
        const pid_t child = ::fork();  // which has copies of both ends
        REQUIRE(child >= 0);
        if (child == 0) {
            ::pause();
            ::_exit(0);
        }
        std::size_t sent = much ? 0 : 1;
        if (much) {
            const std::string text = pattern(1000, 1);
            while (left.put(bytes_of(text), numbers, 0ms)) ++sent;
        } else {
            left.put(bytes_of("last"));
        }
        left.close_write();
        std::size_t received = 0;
        while (right.next(10s)) ++received;
        CHECK(right.at_end());
        CHECK(received == sent);
        CHECK_FALSE(right.next());
        right.put(bytes_of("back"));
        CHECK(text_of(left.get(10s)) == "back");
        ::kill(child, SIGKILL);
        REQUIRE(::waitpid(child, nullptr, 0) == child);
    });
}

TEST_CASE("frame pipes: who has another copy of an end that was closed is told so",
          "[ipc][frame]") {
    if (!has_pipes()) return;
    run_green_for_real([] {
        auto [left, right] = ipc::frame_pair(at_once);
        ipc::Parcel parcel = std::move(left).pack();
        ipc::Parcel same = copy_of(parcel);
        left = ipc::FrameStream::unpack(std::move(parcel));
        ipc::FrameStream other = ipc::FrameStream::unpack(std::move(same));
        left.put(bytes_of("last"));
        left.close_write();
        CHECK(text_of(right.get(10s)) == "last");
        CHECK_FALSE(right.next(10s));
        CHECK(right.at_end());
        CHECK_THROWS_WITH(other.put(bytes_of("more")), Catch::Contains("Broken pipe"));
        right.put(bytes_of("back"));
        CHECK(text_of(left.get(10s)) == "back");
    });
}

TEST_CASE("frame pipes: who waits for room is told that nobody reads, whoever has copies",
          "[ipc][frame]") {
    if (!has_pipes()) return;
    run_green_for_real([] {
        const tests::Errors errors;
        auto [left, right] = ipc::frame_pair(at_once);
        ipc::Parcel parcel = std::move(right).pack();
        const ipc::Parcel copies = copy_of(parcel);
        right = ipc::FrameStream::unpack(std::move(parcel));
        fill(left, pattern(1000, 1));
        fill(right, pattern(1000, 1));
        auto putter = green::spawn([&end = left] {
            while (end.put(bytes_of(pattern(1000, 1)), {}, 10s)) {
            }
        });
        auto keeps_it_open = green::spawn([&end = right] { end.put(bytes_of(pattern(1000, 1))); });
        green::idle();
        CHECK_FALSE(putter.ready());
        CHECK_THROWS_AS(right.close(), green::ConcurrentUse);  // it reads no more from here on
        CHECK_THROWS_WITH(putter.get(), Catch::Contains("Broken pipe"));
        keeps_it_open.kill();
    });
}

TEST_CASE("frame pipes: the end inside a frame is an error, wherever it comes", "[ipc][frame]") {
    if (!has_pipes()) return;
    run_green_for_real([] {
        const auto fails = [](ByHand& peer, const char* why) {
            peer.ends.clear();
            CHECK_THROWS_WITH(peer.reader->get(10s), Catch::Contains(why));
            CHECK_THROWS_AS(peer.reader->get(10s), green::ProtocolError);
        };
        {
            ByHand peer;
            peer.to_pipe("GSF");
            fails(peer, "after 3 of 16 bytes");
        }
        {
            ByHand peer;
            peer.header(10);
            fails(peer, "after 16 of 26 bytes");
        }
        {
            ByHand peer;
            peer.header(10);
            peer.to_pipe("012345678");
            fails(peer, "after 25 of 26 bytes");
        }
        for (const std::size_t sent : {0, 39'999}) {
            ByHand peer;
            peer.header(40'000);
            peer.to_socket(pattern(sent, 1));
            fails(peer, ("after " + std::to_string(16 + sent) + " of 40016 bytes").c_str());
        }
    });
}

TEST_CASE("frame pipes: a peer that keeps no step is an error", "[ipc][frame]") {
    if (!has_pipes()) return;
    const auto before = tests::open_descriptors();
    run_green_for_real([] {
        const auto fails = [](ByHand& peer, const char* why) {
            CHECK_THROWS_WITH(peer.reader->get(10s), Catch::Contains(why));
            CHECK_THROWS_AS(peer.reader->get(10s), green::ProtocolError);
        };
        {
            ByHand peer;
            peer.header(1, 1);
            peer.to_pipe("x");
            fails(peer, "without the descriptors that it announced");
        }
        {
            ByHand peer;
            const int two[] = {STDIN_FILENO, STDIN_FILENO};
            peer.to_socket("t", two);
            peer.header(1, 1);
            peer.to_pipe("x");
            fails(peer, "or with others");
        }
        {
            ByHand peer;
            peer.header(40'000);
            peer.to_socket(pattern(40'000, 1), numbers);
            fails(peer, "that no frame has announced");
        }
        {
            ByHand peer;
            peer.header(0, 0, static_cast<ipc::FrameKind>(3));
            fails(peer, "damaged frame header");
        }
        {
            ByHand peer;
            peer.header(0xffff'ffff);
            fails(peer, "the limit is");
        }
        {
            ByHand peer;  // who only says hello would keep the reader in next(), whatever its limit
            for (int i = 0; i < 2; ++i) {
                peer.header(8, 0, ipc::FrameKind::hello);
                peer.to_pipe("of bytes");
            }
            fails(peer, "a second hello");
        }
    });
    CHECK(tests::open_descriptors() == before);
}

TEST_CASE("frame pipes: who looks for descriptors looks once, whatever a peer sends instead",
          "[ipc][frame]") {
    if (!has_pipes()) return;
    run_green_for_real([] {
        ByHand peer;
        ipc::Parcel parcel = std::move(*peer.reader).pack();
        const green::Fd socket{::dup(parcel.descriptors[0].number())};
        peer.reader = ipc::FrameStream::unpack(std::move(parcel));
        peer.header(1, 1);
        peer.to_pipe("x");
        peer.to_socket(pattern(64 * 1024, 1));
        CHECK_THROWS_AS(peer.reader->get(10s), green::ProtocolError);
        int left = 0;
        REQUIRE(::ioctl(socket.number(), FIONREAD, &left) == 0);
        CHECK(left == 64 * 1024 - 1);
    });
}

TEST_CASE("frame pipes: an end that travels in the middle of a large frame goes on",
          "[ipc][frame]") {
    if (!has_pipes()) return;
    run_green_for_real([] {
        ByHand peer;
        const std::string large = pattern(40'000, 1);
        peer.to_socket("t", numbers);
        peer.header(large.size(), 1);
        peer.header(6);
        peer.to_pipe("behind");
        peer.to_socket(large.substr(0, 12'345));
        CHECK_FALSE(peer.reader->next(0ms));
        for (int i = 0; i < 2; ++i) {
            peer.reader = ipc::FrameStream::unpack(std::move(*peer.reader).pack());
            CHECK_FALSE(peer.reader->next(0ms));
        }
        peer.to_socket(large.substr(12'345));
        const ipc::Frame frame = peer.reader->get(10s);
        CHECK(text_of(frame) == large);
        CHECK(frame.descriptors.size() == 1);
        CHECK(text_of(peer.reader->get(10s)) == "behind");
    });
}

TEST_CASE(
    "frame pipes: who waits for the pipe goes on at the socket, once others have sent the header",
    "[ipc][frame]") {
    if (!has_pipes()) return;
    run_green_for_real([] {
        auto [left, right] = ipc::frame_pair();
        ipc::Parcel parcel = std::move(left).pack();
        std::array<std::byte, ipc::FrameHeader::size> header;
        ipc::FrameHeader{}.write(header);
        int empty = 0;  // until the pipe is full
        while (::write(parcel.descriptors[2].number(), header.data(), header.size()) > 0) ++empty;
        ipc::FrameStream writer = ipc::FrameStream::unpack(std::move(parcel));
        const std::string large = pattern(8 << 20, 1);
        auto draft = writer.prepare(large.size());
        std::memcpy(draft->memory().data(), large.data(), large.size());
        green::idle();  // a turn begins, which is short from here on
        draft->put(large.size());
        auto putter = green::spawn([&] { return writer.flush(20s); });
        // In the same turn: at its end goes the header, and as much as has room.
        auto getter = green::spawn([&, &end = right] {
            while (empty > 0 && end.next(0ms)) --empty;
            return end.get(10s);
        });
        CHECK(text_of(getter.take()) == large);
        CHECK(empty == 0);
        CHECK(putter.get());
    });
}

TEST_CASE("frame pipes: a large frame that outlives its putter is finished, for each copy",
          "[ipc][frame]") {
    run_green_for_real([] {
        const tests::Errors errors;
        auto [left, right] = ipc::frame_pair(at_once);
        const std::string large = pattern(8 << 20, 1);
        auto putter = green::spawn([&, &end = left] { end.put(bytes_of(large), numbers); });
        green::idle();
        CHECK_FALSE(putter.ready());
        putter.kill();
        CHECK_THROWS_AS(std::move(left).pack(), std::exception);  // not all has gone
        left.close();
        const ipc::Frame frame = right.get(10s);
        CHECK(text_of(frame) == large);
        CHECK(frame.descriptors.size() == 1);
        CHECK_FALSE(right.next(10s));
        CHECK(right.at_end());
    });
}

TEST_CASE("frame pipes: any call may fail; nothing leaks and the other side gets whole frames",
          "[ipc][frame]") {
    const bool coalesces = GENERATE(true, false);
    const int error = GENERATE(ENOBUFS, EPIPE, EAGAIN);
    run_green_for_real([&] {
        const auto before = tests::open_descriptors();
        const std::size_t made = tests::for_each_failure(error, [&](const tests::FailNth&) {
            try {
                (void)ipc::frame_pair();
            } catch (const std::system_error&) {
            }
        });
        CHECK(made >= 3);
        CHECK(tests::open_descriptors() == before);

        const std::string large = pattern(100'000, 1);
        const std::pair<std::size_t, std::size_t> wanted[] = {
            {5, 0}, {4, 1}, {100'000, 1}, {100'000, 1}};
        std::size_t walked = 0;
        for (bool fired = true; fired; ++walked) {
            INFO("the call that fails: " << walked);
            auto [left, right] = ipc::frame_pair({.coalesce = coalesces});
            bool failed = false;
            {
                const tests::FailNth failure{walked, error};
                try {
                    left.put(bytes_of("small"));
                    left.put(bytes_of("with"), numbers);
                    left.put(bytes_of(large), numbers);
                    left.prepare(large.size())->put(large.size(), numbers);
                    left.flush();
                    left.close_write();
                } catch (const std::system_error&) {
                    failed = true;
                }
                left.shutdown();
                fired = failure.fired();
            }
            std::size_t got = 0;
            try {
                while (const auto frame = right.next(10s)) {
                    REQUIRE(got < std::size(wanted));
                    CHECK(std::pair{frame->size, frame->descriptors.size()} == wanted[got++]);
                }
                CHECK(right.at_end());
            } catch (const green::ProtocolError& left_early) {
                CHECK(fired);
                CHECK_THAT(left_early.what(), Catch::Contains("in the middle of a frame"));
            }
            if (!failed && (!fired || error == EAGAIN)) CHECK(got == std::size(wanted));
        }
        CHECK(walked >= 8);
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("frame pipes: a peer that is killed in the middle of a large frame is an error",
          "[ipc][frame]") {
    auto [ours, theirs] = ipc::frame_pair(at_once);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ours.shutdown();
        ipc::FrameStream end = ipc::FrameStream::unpack(std::move(theirs).pack());
        const std::string large(16 << 20, 'x');
        end.put(bytes_of("whole"), numbers);
        end.put(bytes_of(large), numbers);
        ::_exit(0);
    }
    theirs.shutdown();
    ipc::Parcel parcel = std::move(ours).pack();
    for (int there = 0; there < 100'000;)  // of the large one
        REQUIRE(::ioctl(parcel.descriptors[0].number(), FIONREAD, &there) == 0);
    ::kill(child, SIGKILL);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    run_green_for_real([&] {
        ipc::FrameStream end = ipc::FrameStream::unpack(std::move(parcel));
        CHECK(text_of(end.get(10s)) == "whole");
        CHECK_THROWS_WITH(end.get(10s), Catch::Contains("in the middle of a frame"));
        CHECK_THROWS_AS(end.put(bytes_of("x")), std::system_error);
    });
}
