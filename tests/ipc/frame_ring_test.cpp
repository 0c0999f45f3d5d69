// Frames in memory that both ends share.

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/frame_stream.hpp>

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

constexpr ipc::RingOptions small{.capacity = 4096};

}  // namespace

TEST_CASE("frame ring: a full one suspends only its writer, who goes on when a frame is let go",
          "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::ring_pair(small);
        const std::string text = pattern(1000, 1);
        int written = 0;
        auto writer = green::spawn([&, &end = left] {
            for (; written < 10; ++written) end.put(bytes_of(text));
        });
        green::idle();
        CHECK(written == 4);
        {
            std::vector<ipc::Frame> kept;
            for (int i = 0; i < 4; ++i) kept.push_back(right.get(1h));
            CHECK_FALSE(right.get_for(5ms));  // all of the ring is still read
            CHECK(written == 4);
            kept.erase(kept.begin());
            CHECK(text_of(right.get(1h)) == text);
            for (const ipc::Frame& frame : kept) CHECK(text_of(frame) == text);
        }
        for (int i = 5; i < 10; ++i) CHECK(text_of(right.get(1h)) == text);
        CHECK(writer.join(1h));
    });
}

TEST_CASE("frame ring: a large frame goes beside it, in its turn", "[ipc][frame]") {
    const auto before = tests::open_descriptors();
    run_green_for_real([] {
        auto [left, right] = ipc::ring_pair(small);
        const int numbers[] = {STDIN_FILENO, STDOUT_FILENO};
        for (const std::size_t size : {2040u, 2041u, 5'000'000u}) {
            const std::string text = pattern(size, 5);
            left.put(bytes_of("before"));
            left.put(bytes_of(text), numbers);
            left.put(bytes_of("behind"));
            CHECK(text_of(right.get()) == "before");
            const ipc::Frame frame = right.get();
            CHECK(text_of(frame) == text);
            CHECK(frame.descriptors.size() == 2);
            CHECK(text_of(right.get()) == "behind");
        }
    });
    CHECK(tests::open_descriptors() == before);
}

TEST_CASE("frame ring: one for one direction goes one way only", "[ipc][frame]") {
    run_green_for_real([] {
        const auto before = tests::open_descriptors();
        {
            auto [reader, writer] = ipc::ring_pipe(small);
            writer.put(bytes_of("there"));
            CHECK(text_of(reader.get(1h)) == "there");
            CHECK_THROWS_AS(reader.put(bytes_of("back")), green::UsageError);
            CHECK_THROWS_AS(writer.next(), green::UsageError);
            reader.close();
            CHECK_THROWS_AS(writer.put(bytes_of("nobody")), std::system_error);
        }
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("frame ring: a frame outlives its end, and both ends", "[ipc][frame]") {
    run_green_for_real([] {
        std::optional<ipc::Frame> frame;
        {
            auto [left, right] = ipc::ring_pair();
            left.put(bytes_of("kept"));
            frame = right.next();
        }
        CHECK(text_of(*frame) == "kept");
    });
}

TEST_CASE("frame ring: descriptors wait for the socket's room, and never fall out of step",
          "[ipc][frame]") {
    const auto before = tests::open_descriptors();
    run_green_for_real([] {
        const tests::Errors errors;
        auto [left, right] = ipc::ring_pair();
        const int numbers[] = {STDIN_FILENO};
        std::vector<bool> sent(2000);
        bool killed = false;
        auto writer = green::spawn([&, &end = left] {
            for (std::size_t i = 0; i < sent.size(); ++i) {
                const std::string text = std::to_string(i);
                try {
                    if (i % 2 == 0) {
                        end.put(bytes_of(text));
                    } else {
                        end.put(bytes_of(text), numbers);
                    }
                    sent[i] = true;
                } catch (const green::GreenletExit&) {
                    killed = true;
                    sent[i] = false;
                }
            }
        });
        green::idle();
        CHECK_FALSE(writer.ready());  // the socket is full
        writer.kill_soon();
        std::size_t last = 0;
        std::size_t received = 0;
        auto reader = green::spawn([&, &end = right] {
            while (auto frame = end.next()) {
                const auto number = std::stoul(text_of(*frame));
                CHECK(number >= last);
                last = number + 1;
                CHECK(sent[number]);
                CHECK(frame->descriptors.size() == number % 2);
                ++received;
            }
        });
        CHECK(writer.join(1h));
        left.close();
        CHECK(reader.join(1h));
        CHECK(killed);
        CHECK(received == sent.size() - 1);
    });
    CHECK(tests::open_descriptors() == before);
}

TEST_CASE("frame ring: another process is at the other end, and its death is an end",
          "[ipc][frame]") {
    auto [ours, theirs] = ipc::ring_pair(small);
    const pid_t child = ::fork();  // neither side has a hub yet
    REQUIRE(child >= 0);
    if (child == 0) {
        ours.shutdown();
        ipc::FrameStream mine = ipc::FrameStream::unpack(std::move(theirs).pack());
        for (int i = 0;; ++i) {
            const auto frame = mine.next();
            if (!frame) ::_exit(1);
            mine.put(frame->bytes());
        }
    }
    theirs.shutdown();
    run_green_for_real([&end = ours, child] {
        for (int i = 0; i < 1000; ++i) {
            const std::string text = pattern(static_cast<std::size_t>(i * 13 % 3000), 1);
            end.put(bytes_of(text));
            REQUIRE(text_of(end.get(1h)) == text);
        }
        auto waiting = green::spawn([&] { return end.next(); });
        green::idle();
        ::kill(child, SIGKILL);
        CHECK_FALSE(waiting.get().has_value());
        CHECK(end.at_end());
        CHECK_THROWS_AS(end.put(bytes_of("x")), std::system_error);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        end.close();
    });
}

TEST_CASE("frame ring: a look for the reader that fails costs nobody his turn", "[ipc][frame]") {
    run_green_for_real([] {
        auto [reader, writer] = ipc::ring_pipe(small);
        auto draft = writer.prepare(100);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            reader.shutdown();  // its copy, which the writer has to look after
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        {
            const tests::FailNth refusal{0, ENOBUFS, green::sys::Call::sendmsg};
            CHECK_THROWS_AS(draft->put(8), std::system_error);
            CHECK(refusal.fired());
        }
        CHECK(writer.put(bytes_of("next"), {}, 1h));
        CHECK(text_of(reader.get()) == "next");
        // What failed is done once more.
        reader.close();
        CHECK_THROWS_AS(writer.put(bytes_of("nobody")), std::system_error);
    });
}
