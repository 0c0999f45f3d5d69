// Frames where something goes wrong, or is asked for at the edge.

#include <algorithm>
#include <csignal>
#include <cstring>
#include <limits>
#include <optional>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/ipc/message.hpp>
#include <green/socket.hpp>

#include "document.capnp.h"
#include "frame_pairs.hpp"
#include "frame_texts.hpp"
#include "frames/memory_file.hpp"
#include "loop/ev_reactor.hpp"
#include "sched/hub.hpp"
#include "support/faults.hpp"
#include "support/in_a_child.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::bytes_of;
using tests::fill;
using tests::in_little_memory;
using tests::MakePair;
using tests::over_a_socket;
using tests::over_pipes;
using tests::pattern;
using tests::run_green_for_real;
using tests::text_of;
namespace ipc = green::ipc;

TEST_CASE("frame edges: what waits for the end of the turn goes before the hub does",
          "[ipc][frame]") {
    run_green_for_real([] {
        auto [raw, socket] = green::Stream::pair();
        std::optional<ipc::FrameStream> left;
        {
            const green::detail::Hub hub{green::detail::make_ev_reactor()};
            left.emplace(std::move(socket.fd()));
            auto puts_at_last = green::spawn([&left] {
                struct AtLast {
                    ipc::FrameStream& end;
                    ~AtLast() {
                        end.put(bytes_of("four"));
                        end.put(bytes_of("five"));
                    }
                } const at_last{*left};
                green::sleep(1h);
            });
            green::yield();
            for (const char* text : {"one", "two", "three"}) left->put(bytes_of(text));
        }
        ipc::FrameStream right{std::move(raw.fd())};
        for (const char* text : {"one", "two", "three", "four", "five"}) {
            const std::optional<ipc::Frame> frame = right.next(green::Deadline::passed());
            REQUIRE(frame);
            CHECK(text_of(*frame) == text);
        }
    });
}

TEST_CASE("frame edges: a forked child leaves alone what it has where a large frame was built",
          "[ipc][frame]") {
    constexpr std::size_t size = 100'000;
    std::optional<ipc::MemoryFile> file{std::in_place, size};
    std::memset(file->memory(), 'x', size);
    const bool moves = GENERATE(false, true);
    const int status = tests::in_a_child([&] {
        // Nothing of the parent's is there.
        void* const there = ::mmap(file->memory(), size, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (there != file->memory()) return 1;
        std::memset(there, 'y', size);
        if (moves) {
            try {
                (void)std::move(*file).seal();
                return 2;
            } catch (const std::system_error& error) {
                if (error.code().value() != EBUSY) return 3;
            }
        }
        file.reset();
        const auto* const bytes = static_cast<const char*>(there);
        return std::all_of(bytes, bytes + size, [](char it) { return it == 'y'; }) ? 0 : 4;
    });
    CHECK(status == 0);
    const green::Fd sealed = std::move(*file).seal();
    const auto words = ipc::map_sealed(sealed, size);
    CHECK(std::memcmp(words.begin(), std::string(size, 'x').data(), size) == 0);
}

TEST_CASE("frame edges: a frame that outlives its end leaves the ring to others", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = in_little_memory();
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
        auto [left, right] = in_little_memory();
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
    const MakePair make = GENERATE(&over_pipes, &over_a_socket, &in_little_memory);
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
    const MakePair make = GENERATE(&over_pipes, &over_a_socket, &in_little_memory);
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

TEST_CASE("frame edges: in a forked child ends leave the turn of the parent's hub one by one",
          "[ipc][frame]") {
    run_green_for_real([] {
        auto first =
            std::make_unique<std::pair<ipc::FrameStream, ipc::FrameStream>>(tests::over_pipes());
        auto second = tests::over_pipes();
        first->first.put(bytes_of("first"));
        second.first.put(bytes_of("second"));  // both wait for the end of this turn
        auto child = green::fork_process([&] {
            first.reset();
            return std::move(second.first).pack().descriptors.empty() ? 1 : 0;
        });
        CHECK(child.join() == green::ExitStatus{green::ExitStatus::Kind::exited, 0, false});
        CHECK(text_of(first->second.get(1h)) == "first");
        CHECK(text_of(second.second.get(1h)) == "second");
    });
}

TEST_CASE("frame edges: a fork does not stop a large frame that is being built", "[ipc][frame]") {
    run_green_for_real([] {
        auto [left, right] = in_little_memory();
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
    ipc::FrameStream& itself = right;
    right = std::move(itself);
    CHECK(right.is_open());
    ipc::FrameStream elsewhere = std::move(left);
    CHECK_FALSE(left.is_open());
    CHECK_FALSE(left.at_end());
    CHECK_THROWS_WITH(left.put(bytes_of("x")), Catch::Contains("moved away"));
    left.shutdown();
    elsewhere.shutdown();
    right.shutdown();
}

TEST_CASE("frame edges: a hello is heard whatever the limit", "[ipc][frame]") {
    run_green_for_real([] {
        const ipc::Schema small{1, "small"};
        const ipc::Schema with_a_long_name{1, std::string(300, 'n')};
        for (const ipc::Schema& schema : {small, with_a_long_name}) {
            for (const bool in_memory : {false, true}) {
                auto [left, right] =
                    in_memory ? ipc::ring_pair({.limit = 4}) : ipc::frame_pair({.limit = 4});
                left.expect(schema, schema);
                right.expect(schema, schema);
                left.put(bytes_of("fits"));
                CHECK(text_of(right.get(10s)) == "fits");
            }
        }
    });
}

TEST_CASE("frame edges: a draft can be written to until it goes, whoever closes its end",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket, &in_little_memory);
    const std::size_t size = GENERATE(1'000, 1'000'000);
    run_green_for_real([&] {
        auto [left, right] = make();
        int accepted = 0;
        if (make != &in_little_memory) {  // so that something waits behind which it was made
            accepted = fill(left, pattern(1000, 1));
            auto reader = green::spawn([&, &end = right] {
                for (int i = 0; i < accepted; ++i) (void)end.get();
            });
            reader.join();
        }
        auto draft = left.prepare(size);
        left.shutdown();
        std::memset(draft->memory().data(), 'x', size);
        CHECK_THROWS_AS(draft->put(size), green::Closed);
    });
}

TEST_CASE("frame edges: a draft for much can become a frame of nothing", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket, &in_little_memory);
    run_green_for_real([make] {
        auto [left, right] = make();
        CHECK(left.prepare(200'000)->put(0));
        CHECK(right.get().size == 0);
        left.put(bytes_of("next"));
        CHECK(text_of(right.get()) == "next");
    });
}

TEST_CASE("frame edges: who keeps a draft holds up nothing that was put before", "[ipc][frame]") {
    const MakePair make = GENERATE(&over_pipes, &over_a_socket);
    run_green_for_real([make] {
        auto [left, right] = make();
        const std::string text = pattern(1000, 1);
        const int accepted = fill(left, text);
        std::optional<ipc::FrameDraft> none = left.prepare(10, 0ms);
        CHECK_FALSE(none);  // not before all of that has gone
        auto drafts = green::spawn([&, &end = left] {
            auto draft = end.prepare(10);
            green::sleep(1h);
        });
        for (int i = 0; i < accepted; ++i) CHECK(text_of(right.get(10s)) == text);
        drafts.kill();
    });
}
