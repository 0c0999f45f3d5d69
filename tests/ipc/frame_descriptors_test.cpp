// Descriptors that go with frames where there are too many of them, or no numbers left.

#include <algorithm>
#include <csignal>
#include <cstring>
#include <optional>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/socket.hpp>

#include "frame_pairs.hpp"
#include "frame_texts.hpp"
#include "support/descriptor_limit.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::bytes_of;
using tests::in_little_memory;
using tests::MakePair;
using tests::over_a_socket;
using tests::over_pipes;
using tests::pattern;
using tests::run_green_for_real;
using tests::text_of;
using tests::uncoalesced;
namespace ipc = green::ipc;

namespace {

/// While it lives, too many descriptors of this user are on their way for another one.
class TooManyOnTheirWay final : public green::sys::Injector {
 public:
    TooManyOnTheirWay() : outer_{green::sys::set_injector(this)} {}
    ~TooManyOnTheirWay() override { green::sys::set_injector(outer_); }
    TooManyOnTheirWay(const TooManyOnTheirWay&) = delete;
    TooManyOnTheirWay& operator=(const TooManyOnTheirWay&) = delete;
    int before(green::sys::Call call, int) noexcept override {
        if (call != green::sys::Call::sendmsg) return 0;
        ++refused_;
        return ETOOMANYREFS;
    }
    /// Until the system has refused so often.
    void await(int refusals) const {
        const auto limit = std::chrono::steady_clock::now() + 10s;
        while (refused_ < refusals) {
            REQUIRE(std::chrono::steady_clock::now() < limit);
            green::sleep(100us);
        }
    }
    /// The same; who was refused last has only just begun to wait.
    void catch_at(int refusals) const {
        const auto limit = std::chrono::steady_clock::now() + 10s;
        while (refused_ < refusals) {
            if (std::chrono::steady_clock::now() >= limit) FAIL("nobody is refused");
            green::yield();
        }
    }

 private:
    Injector* outer_;
    int refused_ = 0;
};

}  // namespace

TEST_CASE("frame edges: who has slept for room can send what goes over the socket",
          "[ipc][frame]") {
    run_green_for_real([] {
        const int numbers[] = {STDIN_FILENO};
        const std::string large = pattern(5000, 1);
        const bool with_descriptor = GENERATE(false, true);
        auto [left, right] = in_little_memory();
        const std::string text = pattern(1000, 1);
        auto writer = green::spawn([&, &end = left] {
            for (int i = 0; i < 5; ++i) end.put(bytes_of(text));
            return with_descriptor ? end.put(bytes_of("d"), numbers) : end.put(bytes_of(large));
        });
        green::idle();  // the reactor has reported the socket, and the report was dropped
        CHECK_FALSE(writer.ready());
        for (int i = 0; i < 5; ++i) CHECK(text_of(right.get(1h)) == text);
        CHECK(text_of(right.get(10s)) == (with_descriptor ? "d" : large));
        CHECK(writer.get());
    });
}

#ifndef __SANITIZE_ADDRESS__  // whose checks take a descriptor now and then
TEST_CASE("frame edges: descriptors that did not fit into this process are an error for good",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket, &in_little_memory);
    run_green_for_real([make] {
        auto [left, right] = make();
        const int numbers[] = {STDIN_FILENO};
        for (const char* text : {"one", "two"}) left.put(bytes_of(text), numbers);
        green::idle();
        {
            const tests::FewMoreDescriptors none{0};
            CHECK_THROWS_WITH(right.get(), Catch::Contains("lost on the way"));
        }
        CHECK_THROWS_WITH(right.get(), Catch::Contains("lost on the way"));
        CHECK_THROWS_AS(right.next(0ms), green::ProtocolError);
    });
}
#endif

TEST_CASE("frame edges: too many descriptors on their way are waited for", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_a_socket, &uncoalesced, &in_little_memory);
    const std::size_t size = GENERATE(std::size_t{10}, std::size_t{100'000});
    run_green_for_real([make, size] {
        auto [left, right] = make();
        const int numbers[] = {STDIN_FILENO};
        const std::string text = pattern(size, 1);
        std::optional<TooManyOnTheirWay> many{std::in_place};
        auto first = green::spawn([&, &end = left] { return end.put(bytes_of(text), numbers); });
        auto second = green::spawn([&end = left] { return end.put(bytes_of("second")); });
        many->await(3);
        SECTION("and then it goes, and what is behind it") {
            many.reset();
            const ipc::Frame frame = right.get(10s);
            CHECK(text_of(frame) == text);
            CHECK(frame.descriptors.size() == 1);
            CHECK(text_of(right.get(10s)) == "second");
            CHECK(first.get());
            CHECK(second.get());
        }
        SECTION("and an end that goes meanwhile sends whole frames, all that it has accepted") {
            std::vector<std::string> wanted{text, "second"};
            const auto accepted = static_cast<std::size_t>(first.ready() + second.ready());
            left.shutdown();
            many.reset();
            std::vector<std::string> got;
            while (const std::optional<ipc::Frame> frame = right.next(10s))
                got.push_back(text_of(*frame));
            CHECK(right.at_end());
            CHECK(got.size() >= accepted);
            wanted.resize(std::min(wanted.size(), got.size()));
            CHECK(got == wanted);
            first.join();
            second.join();
        }
        // Who sends the rest for them may stand in his last wait for fewer.
        CHECK(green::hub_join(10s));
    });
}

TEST_CASE("frame edges: who gives up waiting for fewer on their way has sent nothing",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&uncoalesced, &in_little_memory);
    const std::size_t size = GENERATE(std::size_t{10}, std::size_t{100'000});
    run_green_for_real([make, size] {
        auto [left, right] = make();
        const int numbers[] = {STDIN_FILENO};
        const std::string text = pattern(size, 1);
        const std::size_t before = tests::open_descriptors();
        {
            const TooManyOnTheirWay many;
            CHECK_FALSE(left.put(bytes_of(text), numbers, 5ms));
            many.await(1);  // a slow machine has no time for a second look
            CHECK_FALSE(left.put(bytes_of(text), numbers, green::Deadline::passed()));
            auto killed =
                green::spawn([&, &end = left] { return end.put(bytes_of(text), numbers); });
            many.await(5);
            killed.kill();
            CHECK(killed.outcome() == green::Outcome::exited);
        }
        left.put(bytes_of("next"), numbers);
        const ipc::Frame frame = right.get(10s);
        CHECK(text_of(frame) == "next");
        CHECK(frame.descriptors.size() == 1);
        // And a file that the writer keeps for the next large frame.
        const std::size_t kept = make == &in_little_memory && size > 10 ? 1 : 0;
        CHECK(tests::open_descriptors() == before + 1 + kept);
    });
}

TEST_CASE("frame edges: who waits for fewer on their way is woken when his end is closed",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&uncoalesced, &in_little_memory);
    const std::size_t size = GENERATE(std::size_t{10}, std::size_t{100'000});
    run_green_for_real([make, size] {
        const tests::Errors errors;
        auto [left, right] = make();
        const int numbers[] = {STDIN_FILENO};
        const std::string text = pattern(size, 1);
        std::optional<TooManyOnTheirWay> many{std::in_place};
        auto putter = green::spawn([&, &end = left] { return end.put(bytes_of(text), numbers); });
        many->catch_at(3);
        left.shutdown();
        // Behind those that are ready now, whatever the time.
        auto next = green::spawn([&] { return putter.ready(); });
        CHECK(next.get());
        CHECK_THROWS_AS(putter.get(), green::Closed);
        many.reset();
        CHECK(green::hub_join(10s));  // who sends what was accepted
    });
}

TEST_CASE("frame edges: more descriptors than a frame takes are refused, whatever its size",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket, &in_little_memory);
    run_green_for_real([make] {
        auto [left, right] = make();
        const std::vector<int> numbers(ipc::FrameStream::most_descriptors + 1, STDIN_FILENO);
        for (const std::size_t size : {1u, 1000u, 40'000u}) {
            CHECK_THROWS_WITH(left.put(bytes_of(pattern(size, 1)), numbers),
                              Catch::Contains("201 descriptors"));
        }
        left.put(bytes_of(pattern(40'000, 1)), std::span{numbers}.first(200));
        CHECK(right.get().descriptors.size() == 200);
    });
}

TEST_CASE("frame edges: as many descriptors as the kernel passes at once harm nobody",
          "[ipc][frame]") {
    run_green_for_real([] {
        const auto before = tests::open_descriptors();
        for (const int count : {201, 202, 253}) {
            auto [raw, end] = green::Stream::pair();
            ipc::FrameStream reader{std::move(end.fd())};
            const std::vector<int> numbers(static_cast<std::size_t>(count), STDIN_FILENO);
            alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 253)]{};
            char byte = 'G';
            iovec part{&byte, 1};
            msghdr message{};
            message.msg_iov = &part;
            message.msg_iovlen = 1;
            message.msg_control = control;
            message.msg_controllen = CMSG_SPACE(sizeof(int) * numbers.size());
            cmsghdr* const header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(sizeof(int) * numbers.size());
            std::memcpy(CMSG_DATA(header), numbers.data(), sizeof(int) * numbers.size());
            REQUIRE(::sendmsg(raw.fd().number(), &message, 0) == 1);
            raw.write_all("not a frame of ours");
            CHECK_THROWS_AS(reader.get(), green::ProtocolError);
        }
        CHECK(tests::open_descriptors() == before);
    });
}
