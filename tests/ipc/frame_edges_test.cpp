// Frames where something goes wrong, or is asked for at the edge.

#include <algorithm>
#include <csignal>
#include <cstring>
#include <limits>
#include <optional>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

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
#include "support/descriptor_limit.hpp"
#include "support/faults.hpp"
#include "support/in_a_child.hpp"
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

TEST_CASE("frame edges: what was accepted goes before the end", "[ipc][frame]") {
    const bool only_sending = GENERATE(false, true);
    const bool later = GENERATE(false, true);
    const MakePair make = GENERATE(&over_pipes, &over_a_socket);
    run_green_for_real([&] {
        auto [left, right] = make();
        const std::string text = pattern(1000, 1);
        const int accepted = fill(left, text);
        CHECK(accepted > 64);
        if (later) green::sleep(1ms);  // somebody waits to send the rest
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
