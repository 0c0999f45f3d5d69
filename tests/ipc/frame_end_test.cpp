// The end of frames: what still goes, what does not, and who may bring it about.

#include <csignal>
#include <cstring>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/frame_stream.hpp>

#include "frame_pairs.hpp"
#include "frame_texts.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::bytes_of;
using tests::fill;
using tests::in_little_memory;
using tests::MakePair;
using tests::over_a_socket;
using tests::over_an_uncoalesced_socket;
using tests::over_pipes;
using tests::pattern;
using tests::run_green_for_real;
using tests::text_of;
using tests::uncoalesced;
namespace ipc = green::ipc;

TEST_CASE("frame edges: what was accepted goes before the end", "[ipc][frame]") {
    const bool only_sending = GENERATE(false, true);
    const bool later = GENERATE(false, true);
    const MakePair make = GENERATE(&over_pipes, &over_a_socket);
    run_green_for_real([&] {
        auto [left, right] = make();
        const std::string text = pattern(1000, 1);
        const int accepted = fill(left, text);
        CHECK(accepted > 64);
        if (later) green::idle();  // somebody waits to send the rest
        only_sending ? left.close_write() : left.close();
        int received = 0;
        while (auto frame = right.next(10s)) {
            CHECK(text_of(*frame) == text);
            ++received;
        }
        CHECK(right.at_end());
        CHECK(received == accepted);
    });
}

TEST_CASE("frame edges: an end that tells its closing has closed, whoever has a copy of it",
          "[ipc][frame]") {
    const bool much = GENERATE(false, true);
    const bool travels = GENERATE(false, true);
    const auto make = GENERATE(&ipc::frame_pair, &tests::over_socket);
    run_green_for_real([&] {
        auto [left, right] = make({.tells_close = true});
        if (travels) left = ipc::FrameStream::unpack(std::move(left).pack());
        const pid_t child = ::fork();  // which has copies of both ends
        REQUIRE(child >= 0);
        if (child == 0) {
            ::pause();
            ::_exit(0);
        }
        const int sent = much ? fill(left, pattern(1000, 1)) : 0;
        left.shutdown();
        int received = 0;
        while (right.next(10s)) ++received;
        CHECK(right.at_end());
        CHECK(received == sent);
        ::kill(child, SIGKILL);
        REQUIRE(::waitpid(child, nullptr, 0) == child);
    });
}

TEST_CASE("frame edges: an end that tells its closing tells none that was refused",
          "[ipc][frame]") {
    const auto make = GENERATE(&ipc::frame_pair, &tests::over_socket);
    run_green_for_real([&] {
        auto [left, right] = make({.tells_close = true});
        auto reader = green::spawn([&end = right] { return text_of(end.get(10s)); });
        green::idle();
        CHECK_THROWS_AS(right.close(), green::ConcurrentUse);
        CHECK(right.put(bytes_of("open")));
        CHECK(text_of(left.get(10s)) == "open");
        left.put(bytes_of("still read"));
        CHECK(reader.get() == "still read");
        right.close();
        CHECK_FALSE(left.next(10s));
        CHECK(left.at_end());
    });
}

TEST_CASE("frame edges: an end that one greenlet uses refuses him nothing", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket);
    enum class Then { closes, closes_sending, packs };
    const Then then = GENERATE(Then::closes, Then::closes_sending, Then::packs);
    run_green_for_real([&] {
        const std::string body = pattern(20'000, 1);
        // After some of them a rest waits for him who sends it.
        for (int frames = 10; frames < 60; ++frames) {
            auto [left, right] = make();
            auto producer = green::spawn([&, &end = left] {
                for (int i = 0; i < frames; ++i) {
                    auto draft = end.prepare(body.size());
                    std::memcpy(draft->memory().data(), body.data(), body.size());
                    draft->put(body.size());
                }
                if (then == Then::closes) return end.close();
                if (then == Then::closes_sending) return end.close_write();
                end.flush();
                (void)std::move(end).pack();
            });
            for (int i = 0; i < frames; ++i) CHECK(text_of(right.get(10s)) == body);
            CHECK_NOTHROW(producer.get());
            CHECK_FALSE(right.next(10s));
            CHECK((right.at_end() || then == Then::closes_sending));
        }
    });
}

TEST_CASE("frame edges: who waits behind a rest that is being sent is in put()", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket);
    run_green_for_real([make] {
        auto [left, right] = make();
        const std::string text = pattern(1000, 1);
        const int accepted = fill(left, text);
        green::idle();  // somebody waits to send the rest
        auto putter =
            green::spawn([&, &end = left] { return end.put(bytes_of("the last")) && end.flush(); });
        green::idle();
        CHECK_THROWS_AS(left.close_write(), green::ConcurrentUse);
        CHECK_THROWS_WITH(left.close(), Catch::Contains("a greenlet puts"));
        CHECK_FALSE(putter.ready());
        for (int i = 0; i < accepted; ++i) CHECK(text_of(right.get(10s)) == text);
        CHECK(text_of(right.get(10s)) == "the last");
        CHECK(putter.get());
        left.close();
        CHECK_FALSE(right.next(10s));
    });
}

TEST_CASE("frame edges: what had not begun to go when its end was shut down is never sent",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&uncoalesced, &over_an_uncoalesced_socket, &in_little_memory);
    run_green_for_real([make] {
        auto [left, right] = make();
        const int accepted = fill(left, pattern(700, 1)) + fill(left, "");
        auto putter = green::spawn([&, &end = left] { end.put(bytes_of(pattern(700, 2))); });
        green::idle();
        CHECK_FALSE(putter.ready());
        left.shutdown();
        CHECK_THROWS_AS(putter.get(), green::Closed);
        int received = 0;
        while (const auto frame = right.next(10s)) {
            CHECK(text_of(*frame) != pattern(700, 2));
            ++received;
        }
        CHECK(right.at_end());
        CHECK(received == accepted);
    });
}
