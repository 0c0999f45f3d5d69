// Messages that are built where they are sent from, and read where they arrive.
#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <capnp/serialize.h>
#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/message.hpp>

#include "document.capnp.h"
#include "frame_pairs.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green_for_real;
namespace ipc = green::ipc;

namespace {

tests::Pair in_memory() { return ipc::ring_pair(); }

std::vector<std::byte> pattern(std::size_t size, unsigned seed) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed);
    return bytes;
}

bool is_pattern(capnp::Data::Reader data, std::size_t size, unsigned seed) {
    const auto expected = pattern(size, seed);
    return data.size() == size &&
           (size == 0 || std::memcmp(data.begin(), expected.data(), size) == 0);
}

/// The words of a message that is put with so many bytes of room, and received.
template <class Build>
ipc::Frame frame_of(tests::Pair& pair, std::size_t bytes, Build&& build) {
    auto sender = green::spawn(
        [&] { return ipc::put<Document>(pair.first, build, {}, green::Deadline::never(), bytes); });
    ipc::Frame frame = pair.second.get();
    CHECK(sender.get());
    return frame;
}

/// As its table says: those behind the first one.
std::uint32_t more_segments(const ipc::Frame& frame) {
    std::uint32_t more = 0;
    std::memcpy(&more, frame.words().data(), sizeof more);
    return more;
}

}  // namespace

TEST_CASE("message: data that is copied into it arrives", "[ipc][message]") {
    const tests::MakePair make = GENERATE(&tests::over_pipes, &tests::over_a_socket, &in_memory);
    const std::size_t size = GENERATE(0, 1, 1023, 1024, 4095, 4096, 5001, 100'000, 1 << 20);
    const std::size_t told = GENERATE(0, 1, 2);  // times the size, as the bytes of the message
    run_green_for_real([&] {
        auto pair = make();
        const auto body = pattern(size, 1);
        const ipc::Message<Document> message{frame_of(
            pair, told * size, [&](Document::Builder document, ipc::Attachments& attachments) {
                document.setName("before");
                document.adoptBody(attachments.copy(body));
                document.setName("behind it");
            })};
        CHECK(message->getName() == "behind it");
        CHECK(is_pattern(message->getBody(), size, 1));
    });
}

TEST_CASE("message: many pieces of data go into one, and into more room than it has",
          "[ipc][message]") {
    const tests::MakePair make = GENERATE(&tests::over_pipes, &in_memory);
    const std::size_t count = GENERATE(3, 6, 7, 8, 20);
    const std::size_t room = GENERATE(1, 3, 100);  // of the pieces
    run_green_for_real([&] {
        auto pair = make();
        const ipc::Message<Document> message{
            frame_of(pair, std::min(room, count) * 3000,
                     [&](Document::Builder document, ipc::Attachments& attachments) {
                         auto parts = document.initParts(static_cast<unsigned>(count));
                         for (unsigned i = 0; i < count; ++i) {
                             const auto part = pattern(3000 - i, i);
                             if (i % 3 == 2) {
                                 parts.set(i, ipc::bytes(part));
                             } else {
                                 parts.adopt(i, attachments.copy(part));
                             }
                         }
                         document.setName(std::string(2000, 'n'));
                     })};
        CHECK(message->getName().size() == 2000);
        const auto parts = message->getParts();
        REQUIRE(parts.size() == count);
        for (unsigned i = 0; i < count; ++i) CHECK(is_pattern(parts[i], 3000 - i, i));
    });
}

TEST_CASE("message: it is built in zeros, whatever was there before", "[ipc][message]") {
    const auto seed = tests::seed();
    INFO("GREENSUP_SEED=" << seed);
    run_green_for_real([&] {
        auto pair = ipc::ring_pair({.capacity = 1 << 13});
        const auto full = std::vector<std::byte>(3000, std::byte{0xff});
        std::mt19937_64 random{seed};
        const auto some = [&](std::size_t most) { return random() % (most + 1); };
        const auto take = [&] { (void)pair.second.get(); };
        const auto leave_something = [&] {
            const std::size_t size = some(1500);
            switch (random() % 8) {
                case 0:
                    pair.first.put(std::span{full}.first(size));
                    return take();
                case 1: {
                    std::optional<ipc::FrameDraft> draft = pair.first.prepare(size);
                    std::memset(draft->memory().data(), 0xff, draft->memory().size());
                    if (random() % 2 == 0) return;  // it is dropped
                    draft->put(some(size));
                    return take();
                }
                case 2:
                    CHECK_THROWS_AS(ipc::put<Document>(pair.first,
                                                       [&](Document::Builder document) {
                                                           document.setBody(ipc::bytes(
                                                               std::span{full}.first(size)));
                                                           throw std::runtime_error("no");
                                                       }),
                                    std::runtime_error);
                    return;
                case 3:  // more than it has room for
                    ipc::put<Document>(pair.first, [&](Document::Builder document) {
                        document.setBody(ipc::bytes(std::span{full}));
                    });
                    return take();
                case 4: {  // which goes another way
                    const int fd = 1;
                    ipc::put<Document>(
                        pair.first,
                        [&](Document::Builder document) {
                            document.setBody(ipc::bytes(std::span{full}.first(size)));
                        },
                        {&fd, 1}, green::Deadline::never(), size);
                    return take();
                }
                case 5:  // something in it is given back
                    ipc::put<Document>(
                        pair.first,
                        [&](Document::Builder document, ipc::Attachments&) {
                            auto body = document.initBody(static_cast<unsigned>(size));
                            std::memset(body.begin(), 0xff, size);
                            auto orphan = document.disownBody();
                            orphan.truncate(static_cast<unsigned>(size / 2));
                            document.adoptBody(std::move(orphan));
                        },
                        {}, green::Deadline::never(), size);
                    return take();
                case 6: {  // and of one that does not split
                    ipc::put<Document>(
                        pair.first,
                        [&](Document::Builder document) {
                            auto body = document.initBody(static_cast<unsigned>(size));
                            std::memset(body.begin(), 0xff, size);
                            document.setName("last");
                            document.disownName();
                            document.disownBody();
                        },
                        {}, green::Deadline::never(), size);
                    return take();
                }
                default:
                    return;
            }
        };
        for (int i = 0; i < 20'000; ++i) {
            leave_something();
            const std::size_t size = some(700);
            const std::size_t told = random() % 2 == 0 ? size : 2 * size;
            bool is_zero = true;
            ipc::put<Document>(
                pair.first,
                [&](Document::Builder document) {
                    is_zero = !document.hasName() && !document.hasBody() && !document.hasParts();
                    auto body = document.initBody(static_cast<unsigned>(size));
                    is_zero = is_zero && std::all_of(body.begin(), body.end(),
                                                     [](auto byte) { return byte == 0; });
                    std::memset(body.begin(), 0xff, size);
                    for (const auto part : document.initParts(3))
                        is_zero = is_zero && part.size() == 0;
                },
                {}, green::Deadline::never(), told);
            REQUIRE(is_zero);
            const auto message = ipc::get<Document>(pair.second);
            REQUIRE(message->getBody().size() == size);
            REQUIRE_FALSE(message->hasName());
        }
    });
}

TEST_CASE("message: it is built in zeros also behind a draft that had to wait", "[ipc][message]") {
    run_green_for_real([] {
        auto pair = ipc::ring_pair({.capacity = 1 << 13});
        const std::vector<std::byte> filling(1000);
        std::size_t sent = 0;
        for (int i = 0; i < 50; ++i) {
            while (pair.first.put(filling, {}, green::Deadline::passed())) ++sent;
            // It leaves zeros behind it, which the next one knows of.
            while (!ipc::put<Document>(
                pair.first, [](Document::Builder document) { document.setName("x"); }, {},
                green::Deadline::passed())) {
                (void)pair.second.get();
                --sent;
            }
            ++sent;
            auto late = green::spawn([&] {
                auto draft = pair.first.prepare(3000);
                std::memset(draft->memory().data(), 0xff, draft->memory().size());
                draft->put(8);
            });
            green::idle();
            for (; sent > 0; --sent) (void)pair.second.get();
            late.get();
            (void)pair.second.get();
            bool is_zero = true;
            ipc::put<Document>(pair.first, [&](Document::Builder document) {
                is_zero = !document.hasName() && !document.hasBody() && !document.hasParts();
                for (const auto byte : document.initBody(200)) is_zero = is_zero && byte == 0;
            });
            REQUIRE(is_zero);
            (void)pair.second.get();
        }
    });
}

TEST_CASE("message: a builder clears a draft that was not made for it", "[ipc][message]") {
    const tests::MakePair make = GENERATE(&tests::over_pipes, &in_memory);
    run_green_for_real([make] {
        auto pair = make();
        {
            const auto dirty = pair.first.prepare(1000);
            std::memset(dirty->memory().data(), 0xff, dirty->memory().size());
        }
        std::optional<ipc::FrameDraft> draft = pair.first.prepare(1000);
        std::memset(draft->memory().data(), 0xff, draft->memory().size());
        ipc::FrameBuilder builder{*draft, false};
        CHECK_FALSE(builder.initRoot<Document>().hasName());
        CHECK(builder.put({}, green::Deadline::never()));
        CHECK_FALSE(ipc::get<Document>(pair.second)->hasBody());
    });
}

TEST_CASE("message: a large one of small things lies in its frame", "[ipc][message]") {
    const bool attaches = GENERATE(false, true);
    run_green_for_real([&] {
        auto pair = in_memory();
        constexpr unsigned count = 2000;
        const auto build = [&](Document::Builder document) {
            auto parts = document.initParts(count);
            for (unsigned i = 0; i < count; ++i) parts.set(i, ipc::bytes(pattern(1 + i % 16, i)));
        };
        const auto attach = [&](Document::Builder document, ipc::Attachments&) { build(document); };
        ipc::Frame frame =
            attaches ? frame_of(pair, count * 20, attach) : frame_of(pair, count * 20, build);
        // What outgrows its frame is brought into one with a table of as many as there are.
        CHECK(more_segments(frame) == (attaches ? 7 : 0));
        CHECK(frame.size < count * 21);
        const ipc::Message<Document> message{std::move(frame)};
        const auto parts = message->getParts();
        for (unsigned i = 0; i < count; ++i) CHECK(is_pattern(parts[i], 1 + i % 16, i));
    });
}

TEST_CASE("message: what others have left in the memory does not go with it", "[ipc][message]") {
    const std::size_t size = GENERATE(1001, 5001, 300'001);
    run_green_for_real([&] {
        auto pair = ipc::ring_pair({.capacity = 1 << 20});
        const std::vector<std::byte> secret(400'000, std::byte{0xee});
        for (int i = 0; i < 10; ++i) {
            pair.first.put(secret);
            pair.second.get();
        }
        const std::vector<std::byte> body(size, std::byte{0x11});
        const ipc::Frame frame =
            frame_of(pair, size, [&](Document::Builder document, ipc::Attachments& attachments) {
                document.adoptBody(attachments.copy(body));
            });
        CHECK(std::ranges::count(frame.bytes(), std::byte{0xee}) == 0);
    });
}

TEST_CASE("message: room that is reserved is written later, and given up with the message",
          "[ipc][message]") {
    run_green_for_real([] {
        auto pair = in_memory();
        const auto give_up = [](Document::Builder document, ipc::Attachments& attachments) {
            document.adoptBody(attachments.reserve(50'000).data);
            throw std::runtime_error("no longer");
        };
        CHECK_THROWS_AS(
            ipc::put<Document>(pair.first, give_up, {}, green::Deadline::never(), 50'000),
            std::runtime_error);
        const ipc::Message<Document> message{
            frame_of(pair, 60'000, [](Document::Builder document, ipc::Attachments& attachments) {
                auto first = attachments.reserve(20'000);
                auto second = attachments.reserve(10'000);
                document.adoptBody(std::move(second.data));
                document.initParts(1).adopt(0, std::move(first.data));
                std::ranges::copy(pattern(10'000, 2), second.memory.begin());
                std::ranges::copy(pattern(20'000, 1), first.memory.begin());
            })};
        CHECK(is_pattern(message->getParts()[0], 20'000, 1));
        CHECK(is_pattern(message->getBody(), 10'000, 2));
    });
}

TEST_CASE("message: many may be kept, and go in any order", "[ipc][message]") {
    run_green_for_real([] {
        auto pair = in_memory();
        std::vector<std::optional<ipc::Message<Document>>> kept;
        for (unsigned i = 0; i < 20; ++i) {
            kept.emplace_back(frame_of(
                pair, 0, [&](Document::Builder document) { document.setName(std::to_string(i)); }));
            if (i % 3 == 0) kept[i / 2].reset();
        }
        const auto root = **kept.back();
        auto moved = std::move(kept.back());
        CHECK(root.getName() == "19");  // a reader of a message that is moved stays one
        for (unsigned i = 0; i + 1 < 20; ++i) {
            if (kept[i]) CHECK((*kept[i])->getName() == std::to_string(i));
            kept[i].reset();
        }
        CHECK((*moved)->getName() == "19");
    });
}

TEST_CASE("message: one of a size that was said lies in its frame", "[ipc][message]") {
    const std::size_t size = GENERATE(range(3200, 6700, 100));
    const bool copies = GENERATE(false, true);
    run_green_for_real([&] {
        auto pair = in_memory();
        const auto body = pattern(size, 1);
        const ipc::Frame frame =
            frame_of(pair, size, [&](Document::Builder document, ipc::Attachments& attachments) {
                if (copies) {
                    document.adoptBody(attachments.copy(body));
                } else {
                    document.setBody(ipc::bytes(body));
                }
            });
        // What outgrows its frame is brought into one with a table of as many segments as it has.
        CHECK((more_segments(frame) == 0 || more_segments(frame) == 7));
        CHECK(frame.size < size + 2000);
    });
}

TEST_CASE("message: it is put once", "[ipc][message]") {
    run_green_for_real([] {
        auto pair = in_memory();
        const auto never = green::Deadline::never();
        auto first_draft = ipc::FrameBuilder::prepare(pair.first, 256, false, never);
        ipc::FrameBuilder first{first_draft.value(), false};
        first.initRoot<Document>().setName("first");
        CHECK(first.put({}, never));
        auto second_draft = ipc::FrameBuilder::prepare(pair.first, 256, false, never);
        ipc::FrameBuilder second{second_draft.value(), false};
        second.initRoot<Document>().setName("second");
        CHECK_THROWS_AS(first.put({}, never), green::UsageError);
        CHECK(second.put({}, never));
        CHECK(ipc::get<Document>(pair.second)->getName() == "first");
        CHECK(ipc::get<Document>(pair.second)->getName() == "second");
    });
}

TEST_CASE("message: why a wait for one was ended is told as it was", "[ipc][message]") {
    run_green_for_real([] {
        auto pair = in_memory();
        const kj::Exception why{kj::Exception::Type::FAILED, __FILE__, __LINE__,
                                kj::str("nobody needs it")};
        auto waits = green::spawn([&] { (void)ipc::get<Document>(pair.second); });
        green::yield();
        waits.kill(std::make_exception_ptr(why));
        CHECK_THROWS_AS(waits.get(), kj::Exception);
    });
}

TEST_CASE("message: one that fits goes, whatever is left of the limit", "[ipc][message]") {
    run_green_for_real([] {
        auto pair = ipc::ring_pair({.limit = 5001});
        for (std::size_t size = 3800; size < 4600; size += 8) {
            const auto body = pattern(size, 1);
            REQUIRE(ipc::put<Document>(
                pair.first,
                [&](Document::Builder document, ipc::Attachments& attachments) {
                    document.adoptBody(attachments.copy(body));
                },
                {}, green::Deadline::never(), 4800));
            REQUIRE(ipc::get<Document>(pair.second)->getBody() == ipc::bytes(body));
        }
    });
}

TEST_CASE("message: one that outgrows its frame goes where the frame would have gone",
          "[ipc][message]") {
    const tests::MakePair make = GENERATE(&tests::over_pipes, &in_memory);
    run_green_for_real([make] {
        auto pair = make();
        const std::string name(100'000, 'n');
        std::optional<ipc::FrameStream> stream{std::move(pair.first)};
        green::Event built;
        const auto send = [&] {
            return green::spawn([&] {
                return ipc::put<Document>(*stream, [&](Document::Builder document) {
                    document.setName(name);
                    built.wait();
                });
            });
        };
        auto first = send();
        green::idle();
        ipc::FrameStream elsewhere{std::move(*stream)};
        built.set();
        CHECK(ipc::get<Document>(pair.second, 10s)->getName() == name);
        CHECK(first.get());

        built.clear();
        stream.emplace(std::move(elsewhere));
        auto second = send();
        green::idle();
        stream.reset();
        built.set();
        CHECK_THROWS_AS(second.get(), green::Closed);
    });
}

TEST_CASE("message: one that is kept can be read as often as one likes", "[ipc][message]") {
    run_green_for_real([] {
        auto pair = in_memory();
        const auto body = pattern(10'000, 1);
        ipc::put<Document>(
            pair.first, [&](Document::Builder document) { document.setBody(ipc::bytes(body)); }, {},
            green::Deadline::never(), body.size());
        const auto message = ipc::get<Document>(pair.second);
        for (int i = 0; i < 1000; ++i) CHECK(message->getBody().size() == body.size());
    });
}

TEST_CASE("message: the limit of a frame holds to the byte", "[ipc][message]") {
    const bool shared = GENERATE(false, true);
    run_green_for_real([&] {
        auto pair = shared ? ipc::ring_pair({.limit = 1001}) : ipc::frame_pair({.limit = 1001});
        const auto body = pattern(968, 1);
        const auto build = [&](Document::Builder document) {
            document.setBody(ipc::bytes(body));  // 1008 bytes in all
        };
        CHECK_THROWS_AS(ipc::put<Document>(pair.first, build, {}, green::Deadline::never(), 1000),
                        green::UsageError);
        auto draft = pair.first.prepare(1001);
        CHECK_THROWS_AS(draft->put(1002), green::UsageError);
        draft.reset();
        CHECK(pair.first.put(pattern(1001, 2)));
        CHECK(pair.second.get().size == 1001);
    });
}

TEST_CASE("message: data that no list of Cap'n Proto can hold is refused", "[ipc][message]") {
    const std::size_t size = GENERATE(std::size_t{1} << 29, (std::size_t{1} << 32) + 100,
                                      std::numeric_limits<std::size_t>::max());
    run_green_for_real([&] {
        auto pair = in_memory();
        const auto build = [&](Document::Builder document, ipc::Attachments& attachments) {
            CHECK_THROWS_AS(attachments.reserve(size), green::UsageError);
            document.setName("all the same");
        };
        const ipc::Message<Document> message{frame_of(pair, 10'000, build)};
        CHECK(message->getName() == "all the same");
    });
}

TEST_CASE("message: data that is dropped after all takes no leftovers to who shares no memory",
          "[ipc][message]") {
    run_green_for_real([] {
        auto pair = tests::over_a_socket();
        const std::vector<std::byte> secret(40'000, std::byte{0xee});
        for (int i = 0; i < 3; ++i) {
            auto sender = green::spawn([&] { return pair.first.put(secret); });
            pair.second.get();
        }
        const ipc::Frame frame =
            frame_of(pair, 30'000, [&](Document::Builder document, ipc::Attachments& attachments) {
                { const auto dropped = attachments.reserve(20'000); }
                document.setName("nothing");
            });
        CHECK(std::ranges::count(frame.bytes(), std::byte{0xee}) == 0);
    });
}

TEST_CASE("message: any table of segments is read as Cap'n Proto reads it", "[ipc][message]") {
    std::mt19937_64 random{tests::seed()};
    INFO("GREENSUP_SEED=" << tests::seed());
    const auto one_of = [&](std::initializer_list<std::uint64_t> some) {
        return static_cast<std::uint32_t>(some.begin()[random() % some.size()]);
    };
    for (int round = 0; round < 50'000; ++round) {
        std::vector<capnp::word> words(random() % 12);
        std::vector<std::uint32_t> halves(2 * words.size());
        for (auto& half : halves)
            half = random() % 3 != 0 ? one_of({0, 1, 2, 5, 8, 13}) : one_of({random()});
        if (!words.empty()) {
            halves[0] = one_of({0, 0, 1, 2, 0xffffffff, random()});
            halves[1] = one_of({words.size() - 1, words.size(), 0, 1, random()});
            std::memcpy(static_cast<void*>(words.data()), halves.data(), 8 * words.size());
        }
        const auto read = [&](auto&& make) -> std::string {
            try {
                const auto reader = make();
                const auto root = reader->template getRoot<Document>();
                std::string text;
                for (unsigned i = 0; i < 14; ++i)
                    text += std::to_string(reader->getSegment(i).size()) + ' ';
                return text + root.getName().cStr() + std::to_string(root.getBody().size());
            } catch (const kj::Exception& error) {
                return error.getDescription().cStr();
            }
        };
        const std::span<const capnp::word> all{words};
        const std::string ours = read([&] { return std::make_unique<ipc::WordsReader>(all); });
        const std::string theirs = read([&] {
            return std::make_unique<capnp::FlatArrayMessageReader>(
                kj::arrayPtr(all.data(), all.size()), ipc::reader_limits(all.size()));
        });
        if (ours != theirs) FAIL_CHECK(ours << " where Cap'n Proto reads " << theirs);
    }
}

TEST_CASE("message: one that outlives its thread's other things gives its memory back",
          "[ipc][message]") {
    std::thread{[] {
        // Goes after what is made later, and so after the block that is kept for the next one.
        thread_local std::optional<ipc::Message<Document>> last;
        run_green_for_real([] {
            auto pair = in_memory();
            const auto build = [](Document::Builder document) { document.setName("last"); };
            last.emplace([&] {
                ipc::Frame frame = frame_of(pair, 0, build);
                frame.keep();
                return frame;
            }());
            const ipc::Message<Document> first{frame_of(pair, 0, build)};
        });
        CHECK((*last)->getName() == "last");
    }}.join();
}
