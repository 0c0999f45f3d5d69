// Frames through the kernel: over pipes with a socket beside them, and over a socket alone.

#include <algorithm>
#include <cstring>
#include <random>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/control.capnp.h>
#include <green/ipc/frame_stream.hpp>
#include <green/ipc/message.hpp>
#include <green/socket.hpp>

#include "frame_pairs.hpp"
#include "frame_texts.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::bytes_of;
using tests::MakePair;
using tests::over_a_socket;
using tests::over_pipes;
using tests::pattern;
using tests::run_green_for_real;
using tests::text_of;
namespace ipc = green::ipc;

TEST_CASE("frames: one of ten megabytes suspends only its writer", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket);
    run_green_for_real([make] {
        auto [left, right] = make();
        const std::string sent = pattern(10 << 20, 3);
        auto writer = green::spawn([&, &stream = left] { stream.put(bytes_of(sent)); });
        green::idle();
        CHECK_FALSE(writer.ready());
        bool ticked = false;
        green::spawn([&] { ticked = true; });
        auto frame = right.next();
        CHECK(ticked);
        CHECK(text_of(*frame) == sent);
        CHECK(writer.join());
    });
}

TEST_CASE("frames: the end inside a frame is an error", "[ipc][frame]") {
    run_green_for_real([] {
        for (const std::size_t cut : {1u, 15u, 16u, 17u}) {
            auto [raw, end] = green::Stream::pair();
            ipc::FrameStream reader{std::move(end.fd())};
            auto [source, sink] = green::Stream::pair();
            ipc::FrameStream writer{std::move(source.fd())};
            writer.put(bytes_of("payload"));
            std::vector<char> wire(64);
            const std::size_t size = sink.read_some(std::span{wire});
            REQUIRE(size == 16 + 7);
            raw.write_all(std::string_view{wire.data(), cut});
            raw.close();
            CHECK_THROWS_AS(reader.get(), green::ProtocolError);
        }
    });
}

TEST_CASE("frames: what is no frame, or too large a one, is refused before anything is allocated",
          "[ipc][frame]") {
    run_green_for_real([] {
        auto [raw, end] = green::Stream::pair();
        ipc::FrameStream reader{std::move(end.fd())};
        raw.write_all("GET / HTTP/1.1\r\n\r\n");
        CHECK_THROWS_AS(reader.get(), green::ProtocolError);

        auto [small, peer] = ipc::frame_pair({.limit = 100});
        CHECK_THROWS_AS(small.put(bytes_of(std::string(101, 'x'))), green::UsageError);
        auto [source, sink] = green::Stream::pair();
        ipc::FrameStream big{std::move(source.fd())};
        ipc::FrameStream strict{std::move(sink.fd()), {.limit = 100}};
        auto writer = green::spawn([&] { big.put(bytes_of(std::string(101, 'x'))); });
        CHECK_THROWS_WITH(strict.get(), Catch::Contains("101 bytes; the limit is 100"));
        writer.join();
    });
}

TEST_CASE("frames: a limit covers the whole message and keeps the stream in step", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket);
    run_green_for_real([make] {
        auto [left, right] = make();
        CHECK_FALSE(right.next(10ms).has_value());
        CHECK_FALSE(right.at_end());
        const std::string big = pattern(4 << 20, 1);
        // Its first bytes go, so it counts as sent, and is finished behind the caller's back.
        CHECK(left.put(bytes_of(big), {}, 10ms));
        auto next = green::spawn([&stream = left] { return stream.put(bytes_of("next")); });
        CHECK(text_of(*right.next()) == big);
        CHECK(text_of(*right.next()) == "next");
        CHECK(next.get());
    });
}

TEST_CASE("frames: a putter killed in mid-frame, for whatever reason, leaves the stream in step",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket);
    run_green_for_real([make] {
        const tests::Errors errors;
        const std::exception_ptr reasons[] = {std::make_exception_ptr(green::GreenletExit{}),
                                              std::make_exception_ptr(std::runtime_error("boom")),
                                              std::make_exception_ptr(5)};
        for (const std::exception_ptr& reason : reasons) {
            auto [left, right] = make();
            const std::string big = pattern(4 << 20, 1);
            auto putter = green::spawn([&, &stream = left] { stream.put(bytes_of(big)); });
            green::idle();  // its first bytes have gone
            CHECK(putter.kill(reason));
            auto next = green::spawn([&stream = left] { return stream.put(bytes_of("next")); });
            CHECK(text_of(*right.next()) == big);
            CHECK(text_of(*right.next()) == "next");
            CHECK(next.get());
        }
    });
}

TEST_CASE("frames: a deadline under which a putter left does not cut the frame it began",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket);
    run_green_for_real([make] {
        const tests::Errors errors;
        auto [left, right] = make();
        const std::string big = pattern(4 << 20, 1);
        {
            const green::DeadlineScope limit{1ms};
            CHECK_THROWS_AS(left.put(bytes_of(big)), green::Timeout);
            CHECK_THROWS_AS(green::spawn([] { green::sleep(1h); }).get(), green::Timeout);
        }
        CHECK(text_of(*right.next()) == big);
        CHECK(left.put(bytes_of("next")));
        CHECK(text_of(*right.next()) == "next");
    });
}
