// What holds for frames whichever way they travel.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/control.capnp.h>
#include <green/ipc/frame_stream.hpp>
#include <green/ipc/message.hpp>
#include <green/socket.hpp>
#include <green/sys.hpp>

#include "document.capnp.h"
#include "frame_pairs.hpp"
#include "frame_texts.hpp"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::bytes_of;
using tests::in_little_memory;
using tests::in_memory;
using tests::MakePair;
using tests::over_a_socket;
using tests::over_pipes;
using tests::pattern;
using tests::run_green_for_real;
using tests::text_of;
using tests::uncoalesced;
namespace ipc = green::ipc;

namespace {

const std::vector<MakePair> ways{&over_pipes, &over_a_socket, &uncoalesced, &in_memory};

/// Keeps this thread on its processor, and calls something where it would give that away, which it
/// does not do, and where it falls asleep.
class OnOneProcessor final : public green::sys::Injector {
 public:
    explicit OnOneProcessor(std::function<void()> leaves)
        : leaves_{std::move(leaves)}, outer_{green::sys::set_injector(this)} {
        ::sched_getaffinity(0, sizeof before_, &before_);
        cpu_set_t here;
        CPU_ZERO(&here);
        CPU_SET(::sched_getcpu(), &here);
        ::sched_setaffinity(0, sizeof here, &here);
    }
    ~OnOneProcessor() override {
        green::sys::set_injector(outer_);
        ::sched_setaffinity(0, sizeof before_, &before_);
    }
    int before(green::sys::Call call, int fd) noexcept override {
        const bool is_yield = call == green::sys::Call::sched_yield;
        const bool is_sleep = call == green::sys::Call::epoll_wait;
        yields += is_yield ? 1 : 0;
        sleeps += is_sleep ? 1 : 0;
        if (is_yield || is_sleep) leaves_();
        if (is_yield) return EINTR;
        return outer_ != nullptr ? outer_->before(call, fd) : 0;
    }
    int yields = 0;
    int sleeps = 0;

 private:
    std::function<void()> leaves_;
    green::sys::Injector* outer_;
    cpu_set_t before_{};
};

}  // namespace

TEST_CASE("frames: who waits alone lets a peer on his processor go first, and does not sleep",
          "[ipc][frame]") {
    const MakePair make = GENERATE(&uncoalesced, &in_memory);
    run_green_for_real([make] {
        constexpr int frames = 10;  // less than after which the hub has its turn
        bool is_awaited = false;
        std::optional<ipc::FrameStream> peer;
        OnOneProcessor here{[&] {
            if (std::exchange(is_awaited, false)) CHECK(peer->put(bytes_of("answer")));
        }};
        auto [left, right] = make();
        peer = std::move(left);
        // One that was held up by somebody else sleeps the next time: then once more.
        for (int round = 0; round < 100; ++round) {
            green::idle();
            here.yields = here.sleeps = 0;
            for (int i = 0; i < frames; ++i) {
                is_awaited = true;
                CHECK(text_of(right.get(1h)) == "answer");
            }
            if (here.yields == frames && here.sleeps == 0) return;
        }
        FAIL("it slept in each round");
    });
}

TEST_CASE("frames: arrive whole, in order, empty ones too", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        auto [left, right] = make();
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

TEST_CASE("frames: what was sent comes before the end", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        auto [left, right] = make();
        left.put(bytes_of("last"));
        left.close();
        CHECK(text_of(*right.next()) == "last");
        CHECK_FALSE(right.next().has_value());
        CHECK(right.at_end());
    });
}

TEST_CASE("frames: descriptors travel with their frame", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        const auto before = tests::open_descriptors();
        {
            auto [left, right] = make();
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
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        auto [left, right] = make();
        right.close();
        CHECK_THROWS_AS(left.put(bytes_of("x")), std::system_error);
    });
}

TEST_CASE("frames: closing wakes who waits, and what comes later says closed", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        const tests::Errors errors;
        auto [left, right] = make();
        auto reader = green::spawn([&stream = right] { stream.next(); });
        green::idle();
        right.shutdown();
        right.shutdown();
        CHECK_THROWS_AS(reader.get(), green::Closed);
        CHECK_THROWS_AS(right.put(bytes_of("x")), green::Closed);
        CHECK_THROWS_AS(right.next(), green::Closed);
    });
}

TEST_CASE("frames: get gives a frame or throws, get_for gives nothing at its limit",
          "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        auto [left, right] = make();
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

TEST_CASE("frames: killed and timed-out putters and getters never lose step", "[ipc][frame]") {
    const MakePair make =
        GENERATE(&over_pipes, &over_a_socket, &uncoalesced, &in_memory, &in_little_memory);
    const auto seed = tests::seed();
    INFO("GREENSUP_SEED=" << seed);
    std::mt19937_64 random{seed};
    run_green_for_real([&] {
        auto [left, right] = make();
        ipc::FrameStream& out = left;
        ipc::FrameStream& in = right;
        constexpr unsigned frames = 600;
        std::vector<bool> certain(frames), received(frames);
        unsigned last = 0;
        const auto take = [&](const ipc::Frame& frame) {
            unsigned number = 0;
            std::memcpy(&number, frame.bytes().data(), sizeof number);
            REQUIRE(number < frames);
            CHECK(number >= last);  // in order, each once
            last = number + 1;
            const std::string text = text_of(frame).substr(sizeof number);
            CHECK(text == pattern(text.size(), number));
            received[number] = true;
        };
        for (unsigned number = 0; number < frames; ++number) {
            std::string payload(sizeof number, '\0');
            std::memcpy(payload.data(), &number, sizeof number);
            payload += pattern(random() % 8 == 0 ? 300'000 : random() % 1500, number);
            auto putter = green::spawn([&, payload] {
                if (out.put(bytes_of(payload))) certain[number] = true;
            });
            auto getter = green::spawn([&] {
                while (auto frame = in.next(random() % 2 == 0 ? 0ms : 1ms)) take(*frame);
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
        for (unsigned number = 0; number < frames; ++number) {
            CAPTURE(number);
            CHECK((received[number] || !certain[number]));
        }
    });
}

TEST_CASE("frames: a control message comes back as it was built", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        auto [left, right] = make();
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
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        const auto before = tests::open_descriptors();
        const std::size_t walked = tests::for_each_failure(ENOBUFS, [&](const tests::FailNth&) {
            try {
                auto [left, right] = make();
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

TEST_CASE("frames: one is built where it is sent from, others wait meanwhile, and none is none",
          "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        const auto before = tests::open_descriptors();
        {
            auto [left, right] = make();
            for (const std::size_t size : {0u, 1u, 24u, 2'000'000u}) {
                auto draft = left.prepare(size);
                REQUIRE(draft);
                REQUIRE(draft->memory().size() >= size);
                const std::string text = pattern(size, 3);
                if (size > 0) std::memcpy(draft->memory().data(), text.data(), size);
                auto other = green::spawn([&end = left] { return end.put(bytes_of("other")); });
                green::idle();
                CHECK_FALSE(other.ready());
                CHECK_FALSE(left.put(bytes_of("late"), {}, 1ms));
                CHECK_THROWS_WITH(left.prepare(ipc::FrameStream::default_limit + 1),
                                  Catch::Contains("the limit is"));
                auto sent = green::spawn([&] { return draft->put(size); });
                CHECK(text_of(right.get(1h)) == text);
                CHECK(text_of(right.get(1h)) == "other");
                CHECK(sent.get());
                CHECK(other.get());
                CHECK_THROWS_AS(draft->put(size), green::UsageError);
            }
            for (const std::size_t size : {10u, 2'000'000u}) (void)left.prepare(size);
            auto short_one = left.prepare(100);
            CHECK_THROWS_WITH(short_one->put(105), Catch::Contains("where 104 were prepared"));
            short_one.reset();
            left.put(bytes_of("last"));
            CHECK(text_of(right.get(1h)) == "last");
        }
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("frames: a message that outgrows its frame arrives all the same", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        auto [left, right] = make();
        for (const std::size_t size : {10u, 400u, 3'000u, 300'000u}) {
            for (const std::size_t hint : {std::size_t{0}, size}) {
                const std::string body = pattern(size, 1);
                auto sent = green::spawn([&, &end = left] {
                    return ipc::put<Document>(
                        end,
                        [&](Document::Builder document) {
                            document.setName("document");
                            document.setBody(ipc::bytes(body));
                        },
                        {}, green::Deadline::never(), hint);
                });
                const auto message = ipc::get<Document>(right, 1h);
                CHECK(ipc::view(message->getName()) == "document");
                CHECK(ipc::view(message->getBody()) == body);
                CHECK(sent.get());
            }
        }
    });
}

TEST_CASE("frames: closing refuses while a greenlet is in, and then closes the other direction",
          "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        const tests::Errors errors;
        const auto before = tests::open_descriptors();
        {
            auto [left, right] = make();
            auto reader = green::spawn([&end = right] { return end.next(); });
            green::idle();
            CHECK_THROWS_WITH(right.close(), Catch::Contains("a greenlet waits"));
            CHECK_THROWS_AS(right.close(), green::ConcurrentUse);
            CHECK_THROWS_WITH(right.put(bytes_of("x")), Catch::Contains("closed for sending"));
            CHECK_FALSE(left.next());
            CHECK(left.at_end());
            left.put(bytes_of("still read"));
            CHECK(text_of(reader.get().value()) == "still read");
            right.close();
            CHECK_FALSE(right.is_open());
            CHECK_THROWS_AS(right.close(), green::Closed);
            CHECK_THROWS_AS(left.put(bytes_of("nobody")), std::system_error);

            auto [there, back] = make();
            std::optional<ipc::FrameDraft> draft = there.prepare(10);
            CHECK_THROWS_WITH(there.close(), Catch::Contains("a greenlet puts"));
            CHECK_THROWS_WITH(there.next(), Catch::Contains("closed for receiving"));
            CHECK_THROWS_AS(back.put(bytes_of("not read any more")), std::system_error);
            CHECK(draft->put(0));
            CHECK(back.get().size == 0);
            there.close();
            CHECK_FALSE(back.next());
        }
        green::idle();
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("frames: an end that is closed for sending goes on receiving", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        auto [left, right] = make();
        left.put(bytes_of("question"));
        auto reader = green::spawn([&end = right] {
            std::string all;
            while (auto frame = end.next()) all += text_of(*frame);
            end.put(bytes_of(all + "?"));
            return end.at_end();
        });
        green::idle();
        left.close_write();
        CHECK_THROWS_AS(left.close_write(), green::Closed);
        CHECK_THROWS_AS(left.put(bytes_of("more")), green::Closed);
        CHECK(text_of(left.get()) == "question?");
        CHECK(reader.get());
        right.close();
        CHECK_FALSE(left.next());
        left.close();
    });
}

TEST_CASE("frames: a writer that waits for room learns that nobody reads any more",
          "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    const bool only_that_direction = GENERATE(false, true);
    run_green_for_real([make, only_that_direction] {
        auto [left, right] = make();
        const std::string text = pattern(10'000, 1);
        const tests::Errors errors;
        auto writer = green::spawn([&, &end = left] {
            for (;;) end.put(bytes_of(text));
        });
        auto busy = only_that_direction ? right.prepare(10) : std::nullopt;
        green::idle();
        CHECK_FALSE(writer.ready());
        if (only_that_direction) {
            CHECK_THROWS_AS(right.close(), green::ConcurrentUse);
        } else {
            right.close();
        }
        CHECK_THROWS_AS(writer.get(1h), std::system_error);
    });
}

TEST_CASE("frames: an end travels as a parcel, and goes on where it was", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        const auto before = tests::open_descriptors();
        {
            auto [left, right] = make();
            const int numbers[] = {STDIN_FILENO};
            for (const char* text : {"one", "two"}) left.put(bytes_of(text), numbers);
            const std::string big = pattern(300'000, 1);
            auto writer =
                green::spawn([&, &end = left] { return end.put(bytes_of(big), numbers); });
            CHECK(text_of(right.get()) == "one");
            green::idle();

            CHECK(text_of(green::spawn([&end = right] { return end.get(); }).take()) == "two");
            ipc::Parcel parcel = std::move(right).pack();
            CHECK_FALSE(right.is_open());
            CHECK_THROWS_AS(right.next(), green::Closed);
            ipc::FrameStream moved = ipc::FrameStream::unpack(std::move(parcel));
            const ipc::Frame frame = moved.get();
            CHECK(text_of(frame) == big);
            CHECK(frame.descriptors.size() == 1);
            CHECK(writer.get());
            moved.put(bytes_of("back"));
            CHECK(text_of(left.get()) == "back");

            ipc::FrameStream moved_left = ipc::FrameStream::unpack(std::move(left).pack());
            moved_left.put(bytes_of("last"));
            moved_left.close();
            CHECK(text_of(moved.get()) == "last");
            CHECK_FALSE(moved.next());
            // A parcel that nobody opens is an end that was closed.
            auto [there, back] = make();
            { const ipc::Parcel dropped = std::move(back).pack(); }
            CHECK_FALSE(there.next());
        }
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("frames: an end that is used, or lends a frame, is not packed", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        auto [left, right] = make();
        std::optional<ipc::Frame> frame;
        auto reader = green::spawn([&, &end = right] { frame = end.next(); });
        green::idle();
        CHECK_THROWS_AS(std::move(right).pack(), green::ConcurrentUse);
        left.put(bytes_of("x"));
        CHECK(reader.join());
        if (make == &in_memory) {
            CHECK_THROWS_WITH(std::move(right).pack(), Catch::Contains("still lies in"));
        }
        left.put(bytes_of("y"));
        CHECK(text_of(right.get()) == "y");
        right.close();
        CHECK_THROWS_AS(std::move(right).pack(), green::Closed);
    });
}

TEST_CASE("frames: what is no parcel of an end is refused, and nothing of it stays open",
          "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    run_green_for_real([make] {
        const auto before = tests::open_descriptors();
        {
            auto [left, right] = make();
            ipc::Parcel parcel = std::move(right).pack();
            ipc::Parcel fewer{parcel.bytes, {}};
            CHECK_THROWS_AS(ipc::FrameStream::unpack(std::move(fewer)), green::ProtocolError);
            ipc::Parcel cut{{parcel.bytes.begin(), parcel.bytes.begin() + 20},
                            std::move(parcel.descriptors)};
            CHECK_THROWS_AS(ipc::FrameStream::unpack(std::move(cut)), green::ProtocolError);
            CHECK_THROWS_AS(ipc::FrameStream::unpack({}), green::ProtocolError);
        }
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("frames: who expects a schema is told of another one, or of none", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    const ipc::Schema job{0x1234, "Job"};
    const ipc::Schema reply{0xabcd, "Reply"};
    run_green_for_real([&] {
        auto [left, right] = make();
        left.expect(job, reply);
        right.expect(reply, job);
        left.put(bytes_of("a"));
        left.put(bytes_of("b"));
        CHECK(text_of(right.get()) == "a");
        right.put(bytes_of("c"));
        CHECK(text_of(left.get()) == "c");
        // One that has travelled still knows.
        ipc::FrameStream moved = ipc::FrameStream::unpack(std::move(right).pack());
        CHECK_THROWS_WITH(moved.expect(job, job),
                          Catch::Contains("sends Reply (0x000000000000abcd)"));
        moved.expect(reply, job);
        CHECK(text_of(moved.get()) == "b");

        auto [wrong, reader] = make();
        wrong.expect(reply, job);
        reader.expect(reply, job);
        wrong.put(bytes_of("x"));
        for (int i = 0; i < 2; ++i) {
            CHECK_THROWS_AS(reader.get(), green::ProtocolError);
        }

        auto [plain, strict] = make();
        strict.expect({}, job);
        plain.put(bytes_of("x"));
        CHECK_THROWS_WITH(strict.get(), Catch::Contains("without saying what; Job"));

        auto [speaks, listens] = make();  // to who reads bytes
        speaks.expect(job, {});
        speaks.put(bytes_of("x"));
        CHECK(text_of(listens.get()) == "x");
    });
}

TEST_CASE("frames: an end belongs to one process", "[ipc][frame]") {
    const MakePair make = GENERATE(from_range(ways));
    auto [ours, theirs] = make();
    const pid_t child = ::fork();  // neither side has a hub yet
    REQUIRE(child >= 0);
    if (child == 0) {
        bool refused = false;
        try {
            theirs.put(bytes_of("x"));
        } catch (const green::WrongProcess&) {
            refused = true;
        }
        try {
            theirs.close();
            refused = false;
        } catch (const green::WrongProcess&) {
        }
        ours.shutdown();
        ipc::FrameStream mine = ipc::FrameStream::unpack(std::move(theirs).pack());
        mine.put(bytes_of(refused ? "refused" : "not refused"));
        mine.flush();
        ::_exit(0);
    }
    theirs.shutdown();
    run_green_for_real([&end = ours, child] {
        CHECK(text_of(end.get()) == "refused");
        CHECK_FALSE(end.next());
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(status == 0);
        end.close();
    });
}
