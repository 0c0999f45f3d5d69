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

#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green_for_real;
namespace ipc = green::ipc;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span{text});
}
std::string text_of(const ipc::Frame& frame) {
    return {reinterpret_cast<const char*>(frame.bytes().data()), frame.size};
}
// Differs from frame to frame, and within it, so that a lost step shows.
std::string pattern(std::size_t size, unsigned seed) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + seed) % 26);
    return text;
}

}  // namespace

TEST_CASE("frames: arrive whole, in order, empty ones too", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::frame_pair();
        for (const std::size_t size : {0u, 1u, 7u, 8u, 100'000u}) {
            const std::string sent = pattern(size, 1);
            auto writer = green::spawn([&, &stream = left] { return stream.put(bytes_of(sent)); });
            auto frame = right.next();
            REQUIRE(frame.has_value());
            CHECK(text_of(*frame) == sent);
            CHECK(writer.get());
        }
    });
}

TEST_CASE("frames: one of ten megabytes suspends only its writer", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::frame_pair();
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

TEST_CASE("frames: the end between two frames is an end, inside one it is an error",
          "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::frame_pair();
        left.put(bytes_of("last"));
        left.close();
        CHECK(text_of(*right.next()) == "last");
        CHECK_FALSE(right.next().has_value());
        CHECK(right.at_end());

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

        auto [small, peer] = ipc::frame_pair(100);
        CHECK_THROWS_AS(small.put(bytes_of(std::string(101, 'x'))), green::UsageError);
        auto [source, sink] = green::Stream::pair();
        ipc::FrameStream big{std::move(source.fd())};
        ipc::FrameStream strict{std::move(sink.fd()), 100};
        auto writer = green::spawn([&] { big.put(bytes_of(std::string(101, 'x'))); });
        CHECK_THROWS_WITH(strict.get(), Catch::Contains("101 bytes; the limit is 100"));
        writer.join();
    });
}

TEST_CASE("frames: descriptors travel with their frame", "[ipc][frame]") {
    run_green_for_real([] {
        const auto before = tests::open_descriptors();
        {
            auto [left, right] = ipc::frame_pair();
            int ends[2];
            REQUIRE(::pipe(ends) == 0);
            const green::Fd reading{ends[0]};
            {
                const green::Fd writing{ends[1]};
                const int numbers[] = {writing.number()};
                left.put(bytes_of("without"));
                left.put(bytes_of("with"), numbers);
                left.put(bytes_of("without again"));
            }
            CHECK(right.next()->descriptors.empty());
            auto frame = right.next();
            REQUIRE(frame->descriptors.size() == 1);
            CHECK((::fcntl(frame->descriptors[0].number(), F_GETFD) & FD_CLOEXEC) != 0);
            CHECK(::write(frame->descriptors[0].number(), "x", 1) == 1);
            char byte = 0;
            CHECK(::read(reading.number(), &byte, 1) == 1);
            CHECK(right.next()->descriptors.empty());
        }
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("frames: a peer that is gone is an error for the writer and no signal", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::frame_pair();
        right.close();
        CHECK_THROWS_AS(left.put(bytes_of("x")), std::system_error);
    });
}

TEST_CASE("frames: closing wakes who waits, and what comes later says closed", "[ipc][frame]") {
    run_green_for_real([] {
        const tests::Errors errors;
        auto [left, right] = ipc::frame_pair();
        auto reader = green::spawn([&stream = right] { stream.next(); });
        green::idle();
        right.close();
        CHECK_THROWS_AS(reader.get(), green::Closed);
        CHECK_THROWS_AS(right.put(bytes_of("x")), green::Closed);
        CHECK_THROWS_AS(right.next(), green::Closed);
    });
}

TEST_CASE("frames: get gives a frame or throws, get_for gives nothing at its limit",
          "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::frame_pair();
        CHECK_THROWS_AS(right.get(1ms), green::Timeout);
        CHECK_FALSE(right.get_for(1ms));
        left.put(bytes_of("one"));
        left.put(bytes_of("two"));
        CHECK(text_of(right.get()) == "one");
        CHECK(text_of(right.get_for(1h).value()) == "two");
        left.close();
        CHECK_THROWS_AS(right.get(), green::Closed);
        CHECK_THROWS_AS(right.get_for(1h), green::Closed);
        CHECK_FALSE(right.next());
        CHECK(right.at_end());
    });
}

TEST_CASE("frames: a limit covers the whole message and keeps the stream in step", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::frame_pair();
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
    run_green_for_real([] {
        const tests::Errors errors;
        const std::exception_ptr reasons[] = {std::make_exception_ptr(green::GreenletExit{}),
                                              std::make_exception_ptr(std::runtime_error("boom")),
                                              std::make_exception_ptr(5)};
        for (const std::exception_ptr& reason : reasons) {
            auto [left, right] = ipc::frame_pair();
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
    run_green_for_real([] {
        const tests::Errors errors;
        auto [left, right] = ipc::frame_pair();
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

TEST_CASE("frames: killed and timed-out putters and getters never lose step", "[ipc][frame]") {
    const auto seed = tests::seed();
    INFO("GREENSUP_SEED=" << seed);
    std::mt19937_64 random{seed};
    run_green_for_real([&] {
        auto [left, right] = ipc::frame_pair();
        ipc::FrameStream& out = left;
        ipc::FrameStream& in = right;
        constexpr unsigned frames = 600;
        std::vector<bool> sent(frames), certain(frames);
        unsigned received = 0;
        unsigned last = 0;
        const auto take = [&](const ipc::Frame& frame) {
            unsigned number = 0;
            std::memcpy(&number, frame.bytes().data(), sizeof number);
            REQUIRE(number < frames);
            CHECK(number >= last);  // in order, each once
            last = number + 1;
            CHECK(sent[number]);
            const std::string text = text_of(frame).substr(sizeof number);
            CHECK(text == pattern(text.size(), number));
            ++received;
        };
        for (unsigned number = 0; number < frames; ++number) {
            std::string payload(sizeof number, '\0');
            std::memcpy(payload.data(), &number, sizeof number);
            payload += pattern(random() % 8 == 0 ? 300'000 : random() % 200, number);
            sent[number] = true;
            auto putter = green::spawn([&, payload] {
                if (out.put(bytes_of(payload))) certain[number] = true;
            });
            auto getter = green::spawn([&] {
                // The frame must not be dropped by the kill that comes after it was taken.
                const green::Shield shield;
                while (auto frame = in.next(0ms)) take(*frame);
            });
            for (auto steps = random() % 4; steps > 0; --steps) green::yield();
            if (random() % 3 == 0) putter.kill_soon();
            if (random() % 3 == 0) getter.kill_soon();
            if (random() % 2 == 0) green::joinall({putter, getter}, 1ms);
            getter.join();
            auto rest = green::spawn([&] {
                while (!putter.ready()) {
                    if (auto frame = in.next(1ms)) take(*frame);
                }
            });
            rest.join();
        }
        left.put(bytes_of(std::string(sizeof(unsigned), '\0')).first(0));
        while (auto frame = in.next()) {
            if (frame->size == 0) break;
            take(*frame);
        }
        const auto delivered_for_sure =
            static_cast<unsigned>(std::count(certain.begin(), certain.end(), true));
        CHECK(received >= delivered_for_sure);
    });
}

TEST_CASE("frames: a control message comes back as it was built", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = ipc::frame_pair();
        ipc::put<ipc::control::FromWorker>(left,
                                           [](auto message) { message.initHello().setPid(42); });
        const auto message = ipc::next<ipc::control::FromWorker>(right);
        REQUIRE(message.has_value());
        CHECK((*message)->isHello());
        CHECK((*message)->getHello().getPid() == 42);
        left.put(bytes_of("not a message at all"));
        CHECK_THROWS_AS((ipc::next<ipc::control::FromWorker>(right)), green::ProtocolError);
    });
}

TEST_CASE("frames: any system call may fail; nothing leaks and the other side sees an end",
          "[ipc][frame]") {
    run_green_for_real([] {
        const auto before = tests::open_descriptors();
        const std::size_t walked = tests::for_each_failure(ENOBUFS, [&](const tests::FailNth&) {
            try {
                auto [left, right] = ipc::frame_pair();
                const int numbers[] = {STDIN_FILENO};
                left.put(bytes_of("x"), numbers);
                const auto frame = right.next();
                CHECK(text_of(*frame) == "x");
            } catch (const std::system_error& error) {
                CHECK(error.code().value() == ENOBUFS);
            } catch (const green::ProtocolError&) {
            }
        });
        CHECK(walked >= 4);
        CHECK(tests::open_descriptors() == before);
    });
}
