// Frames where something goes wrong, or is asked for at the edge.

#include <csignal>
#include <cstring>
#include <limits>
#include <optional>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/ipc/message.hpp>
#include <green/socket.hpp>

#include "document.capnp.h"
#include "frame_texts.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::bytes_of;
using tests::pattern;
using tests::run_green_for_real;
using tests::text_of;
namespace ipc = green::ipc;

namespace {

using Pair = std::pair<ipc::FrameStream, ipc::FrameStream>;
using MakePair = Pair (*)();

Pair over_a_socket() { return ipc::frame_pair(); }
Pair in_memory() { return ipc::ring_pair({.capacity = 4096}); }

/// No more descriptors for this process than it has now.
class NoDescriptors {
 public:
    NoDescriptors() {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        const green::Fd next{::dup(STDIN_FILENO)};
        const rlimit none{static_cast<rlim_t>(next.number()), before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    }
    ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    NoDescriptors(const NoDescriptors&) = delete;
    NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
    rlimit before_{};
};

}  // namespace

TEST_CASE("frame edges: who has slept for room can send what goes over the socket",
          "[ipc][frame]") {
    run_green_for_real([] {
        const int numbers[] = {STDIN_FILENO};
        const std::string large = pattern(5000, 1);
        const bool with_descriptor = GENERATE(false, true);
        auto [left, right] = in_memory();
        const std::string text = pattern(1000, 1);
        auto writer = green::spawn([&, &end = left] {
            for (int i = 0; i < 5; ++i) end.put(bytes_of(text));
            return with_descriptor ? end.put(bytes_of("d"), numbers) : end.put(bytes_of(large));
        });
        green::sleep(5ms);  // the reactor has reported the socket, and the report was dropped
        CHECK_FALSE(writer.ready());
        for (int i = 0; i < 5; ++i) CHECK(text_of(right.get(1h)) == text);
        CHECK(text_of(right.get(10s)) == (with_descriptor ? "d" : large));
        CHECK(writer.get());
    });
}

#ifndef __SANITIZE_ADDRESS__  // whose checks take a descriptor now and then
TEST_CASE("frame edges: descriptors that did not fit into this process are an error for good",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&over_a_socket, &in_memory);
    run_green_for_real([make] {
        auto [left, right] = make();
        const int numbers[] = {STDIN_FILENO};
        for (const char* text : {"one", "two"}) left.put(bytes_of(text), numbers);
        green::idle();
        {
            const NoDescriptors none;
            CHECK_THROWS_WITH(right.get(), Catch::Contains("lost on the way"));
        }
        CHECK_THROWS_WITH(right.get(), Catch::Contains("lost on the way"));
        CHECK_THROWS_AS(right.next(0ms), green::ProtocolError);
    });
}
#endif

TEST_CASE("frame edges: a frame that outlives its end leaves the ring to others", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = in_memory();
        const std::string text = pattern(1000, 1);
        left.put(bytes_of(text));
        std::optional<ipc::Frame> kept = right.next();
        // Another process goes on reading: here by a copy of the end, as a fork makes one.
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            // What the parent still reads is not the child's to give back.
            kept.reset();
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(status == 0);
        for (int i = 0; i < 3; ++i) left.put(bytes_of(text));
        CHECK_FALSE(left.put(bytes_of(text), {}, 1ms));  // the first is held
        CHECK(text_of(*kept) == text);
        right.shutdown();
        kept.reset();
        CHECK_THROWS_AS(left.put(bytes_of(text)), std::system_error);
    });
}

TEST_CASE("frame edges: a frame that was kept holds up nobody", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = in_memory();
        auto writer = green::spawn([&end = left] {
            for (int i = 0; i < 100; ++i) end.put(bytes_of(pattern(500, 1)));
            end.close();
        });
        ipc::Frame first = right.get();
        first.keep();
        int received = 1;
        while (auto frame = right.next()) ++received;
        CHECK(received == 100);
        CHECK(text_of(first) == pattern(500, 1));
        writer.get();
    });
}

TEST_CASE("frame edges: a frame whose end was closed meanwhile is not sent", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_a_socket, &in_memory);
    const std::size_t size = GENERATE(10, 100'000);
    run_green_for_real([&] {
        const tests::Errors errors;
        const auto before = tests::open_descriptors();
        {
            auto [left, right] = make();
            auto draft = left.prepare(size);
            auto waits = green::spawn([&end = left] { return end.put(bytes_of("behind it")); });
            auto gets = green::spawn([&end = left] { return end.next(); });
            auto gets_too = green::spawn([&end = left] { return end.next(); });
            green::idle();
            left.shutdown();
            for (auto* one : {&gets, &gets_too}) CHECK_THROWS_AS(one->get(1h), green::Closed);
            CHECK_THROWS_AS(waits.get(1h), green::Closed);
            CHECK_THROWS_AS(draft->put(5), green::Closed);
            CHECK_FALSE(right.next());
            CHECK_FALSE(right.next());

            auto [there, back] = make();
            auto late = there.prepare(size);
            back.close();
            CHECK_THROWS_AS(late->put(5), std::system_error);
        }
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("frame edges: who only asks and never waits learns of a peer that was killed",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&over_a_socket, &in_memory);
    auto [ours, theirs] = make();
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ours.shutdown();
        ::pause();
        ::_exit(1);
    }
    theirs.shutdown();
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    run_green_for_real([&end = ours] {
        CHECK_FALSE(end.next(0ms));
        CHECK(end.at_end());
        CHECK_THROWS_AS(
            [&] {
                for (int i = 0; i < 10'000; ++i) end.put(bytes_of("x"), {}, 0ms);
            }(),
            std::system_error);
        end.close();
    });
}

TEST_CASE("frame edges: the limit is of what was asked for", "[ipc][frame]") {
    const auto make = [](bool ring) {
        return ring ? ipc::ring_pair({.capacity = 4096, .limit = 100})
                    : ipc::frame_pair({.limit = 100});
    };
    const bool ring = GENERATE(false, true);
    run_green_for_real([&] {
        auto [left, right] = make(ring);
        CHECK(left.limit() == 100);
        CHECK(left.prepare(100)->put(100));
        CHECK(right.get().size == 100);
        CHECK_THROWS_WITH(left.prepare(101), Catch::Contains("101 bytes; the limit is 100"));
        for (const std::size_t most : {std::numeric_limits<std::size_t>::max(),
                                       std::numeric_limits<std::size_t>::max() - 3}) {
            CHECK_THROWS_AS(left.prepare(most), green::UsageError);
        }
        // What a message is given room for is a guess, and no reason to refuse it.
        ipc::put<Document>(left, [](Document::Builder document) { document.setName("x"); });
        CHECK(ipc::view(ipc::get<Document>(right)->getName()) == "x");
        CHECK_THROWS_AS(ipc::put<Document>(left,
                                           [](Document::Builder document) {
                                               document.setName(std::string(100, 'x').c_str());
                                           }),
                        green::UsageError);
    });
    const std::size_t too_much = std::size_t{1} << 32;
    CHECK_THROWS_AS(ipc::frame_pair({.limit = too_much}), green::UsageError);
    CHECK_THROWS_AS(ipc::ring_pair({.limit = too_much}), green::UsageError);
}

TEST_CASE("frame edges: a fork does not stop a large frame that is being built", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = in_memory();
        auto draft = left.prepare(100'000);
        std::memset(draft->memory().data(), 'x', 100'000);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            ::pause();
            ::_exit(0);
        }
        CHECK(draft->put(100'000));
        CHECK(text_of(right.get()) == std::string(100'000, 'x'));
        ::kill(child, SIGKILL);
        REQUIRE(::waitpid(child, nullptr, 0) == child);
    });
}

TEST_CASE("frame edges: an end that was moved away says so", "[ipc][frame]") {
    auto [left, right] = over_a_socket();
    ipc::FrameStream elsewhere = std::move(left);
    CHECK_FALSE(left.is_open());
    CHECK_FALSE(left.at_end());
    CHECK_THROWS_WITH(left.put(bytes_of("x")), Catch::Contains("moved away"));
    left.shutdown();
    elsewhere.shutdown();
    right.shutdown();
}
