// Where streams are cut, and what becomes of parts.
#include "pipe_frames.hpp"

#include <chrono>

#include <catch2/catch.hpp>

#include <green/ipc/frame_stream.hpp>

#include "wire_frames.hpp"

using namespace greensup;
using namespace std::string_literals;
using greensup::test::frame;

namespace {

constexpr std::size_t largest = 64;

/// A message of Cap'n Proto with one segment of so many words.
std::string capnp_message(std::uint32_t words, char fill) {
    const std::uint32_t header[2] = {0, words};
    return std::string(reinterpret_cast<const char*>(header), sizeof header) +
           std::string(words * 8UL, fill);
}

struct Sample {
    Cut cut;
    std::vector<std::string> messages;
};

std::vector<Sample> samples() {
    return {{Cut::lines, {"one\n", "\n", "three\n"}},
            {Cut::capnp, {capnp_message(1, 'a'), capnp_message(3, 'b'), capnp_message(0, 'c')}},
            {Cut::frames, {frame("a"), frame(""), frame("ccc")}}};
}

std::string joined(const std::vector<std::string>& parts) {
    std::string all;
    for (const auto& part : parts) all += part;
    return all;
}

}  // namespace

TEST_CASE("pipe: a stream that comes in any two parts gives whole messages and all of them",
          "[supervisor][pipe]") {
    for (const auto& [cut, messages] : samples()) {
        const auto all = joined(messages);
        for (std::size_t at = 0; at <= all.size(); ++at) {
            FrameCutter cutter{cut, largest};
            std::string whole;
            cutter.take(all.substr(0, at), whole);
            CHECK(whole.size() == last_end(cut, all, at));
            CHECK(cutter.held() == at - whole.size());
            cutter.take(all.substr(at), whole);
            CHECK(whole == all);
            cutter.finish(false, whole);
            CHECK(whole == all);
            CHECK(cutter.torn() == 0);
        }
    }
}

TEST_CASE("pipe: ends of messages are found from both sides", "[supervisor][pipe]") {
    for (const auto& [cut, messages] : samples()) {
        const auto all = joined(messages);
        std::vector<std::size_t> ends{0};
        for (const auto& message : messages) ends.push_back(ends.back() + message.size());
        for (std::size_t at = 0; at <= all.size(); ++at) {
            const auto above = std::upper_bound(ends.begin(), ends.end(), at);
            CHECK(last_end(cut, all, at) == *std::prev(above));
            CHECK(next_end(cut, all, at) == *std::lower_bound(ends.begin(), ends.end(), at));
        }
    }
    CHECK(last_end(Cut::bytes, "abc", 2) == 2);
    CHECK(next_end(Cut::bytes, "abc", 2) == 2);
}

TEST_CASE("pipe: what a writer was in the middle of", "[supervisor][pipe]") {
    std::string whole;
    SECTION("is dropped when it was killed") {
        for (const auto& [cut, messages] : samples()) {
            FrameCutter cutter{cut, largest};
            cutter.take(messages[2].substr(0, 3), whole);
            cutter.finish(false, whole);
            CHECK(whole.empty());
            CHECK(cutter.torn() == 1);
        }
    }
    SECTION("is a line when it left in peace") {
        FrameCutter cutter{Cut::lines, largest};
        cutter.take("a\nb", whole);
        cutter.finish(true, whole);
        CHECK(whole == "a\nb\n");
        CHECK(cutter.torn() == 0);
    }
    SECTION("is a part when it is no line") {
        FrameCutter cutter{Cut::capnp, largest};
        cutter.take(capnp_message(2, 'x').substr(0, 12), whole);
        cutter.finish(true, whole);
        CHECK(whole.empty());
        CHECK(cutter.torn() == 1);
    }
    SECTION("is passed on where bytes are bytes") {
        FrameCutter cutter{Cut::bytes, largest};
        cutter.take("ab", whole);
        cutter.finish(false, whole);
        CHECK(whole == "ab");
    }
}

TEST_CASE("pipe: a message that is too large is left out, and the next one is not",
          "[supervisor][pipe]") {
    const auto check = [](Cut cut, const std::string& before, const std::string& large,
                          const std::string& behind) {
        const auto all = before + large + behind;
        for (std::size_t at = 0; at <= all.size(); ++at) {
            FrameCutter cutter{cut, largest};
            std::string whole;
            cutter.take(all.substr(0, at), whole);
            CHECK(cutter.held() <= largest);
            cutter.take(all.substr(at), whole);
            CHECK(whole == before + behind);
            CHECK(cutter.refused() == 1);
            CHECK_FALSE(cutter.is_broken());
        }
    };
    check(Cut::lines, "a\n", std::string(largest, 'x') + "\n", "b\n");
    check(Cut::lines, std::string(largest - 1, 'y') + "\n", std::string(500, 'x') + "\n", "\n");
    check(Cut::capnp, capnp_message(1, 'a'), capnp_message(30, 'x'), capnp_message(7, 'b'));
    check(Cut::frames, frame("a"), frame(std::string(99, 'x')), frame("b"));
}

TEST_CASE("pipe: a stream that has lost step is not believed any more", "[supervisor][pipe]") {
    const auto [cut, nonsense] = GENERATE(table<Cut, std::string>(
        {{Cut::capnp, "\xff\xff\xff\xff"s}, {Cut::frames, std::string(16, 'x')}}));
    FrameCutter cutter{cut, largest};
    std::string whole;
    cutter.take(nonsense, whole);
    CHECK(cutter.is_broken());
    CHECK(cutter.torn() == 1);
    cutter.take(cut == Cut::capnp ? capnp_message(1, 'a') : frame("a"), whole);
    CHECK(whole.empty());
}

TEST_CASE("pipe: frames that say what comes are kept apart, and descriptors are refused",
          "[supervisor][pipe]") {
    FrameCutter cutter{Cut::frames, largest};
    std::string whole;
    const auto hello = frame("12345678Job", 0, green::ipc::FrameKind::hello);
    cutter.take(hello + frame("a") + frame("fd", 1) + frame("b"), whole);
    CHECK(cutter.hello() == hello);
    CHECK(whole == frame("a") + frame("b"));
    CHECK(cutter.refused() == 1);
}

TEST_CASE("pipe: a long line that comes byte by byte is not looked through for each of them",
          "[supervisor][pipe]") {
    constexpr std::size_t size = 1 << 18;
    FrameCutter cutter{Cut::lines, size + 1};
    std::string whole;
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < size; ++i) cutter.take("x", whole);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds{3});
    CHECK(cutter.held() == size);
    cutter.take("\n", whole);
    CHECK(whole.size() == size + 1);
    CHECK(cutter.held() == 0);
}
