// Whatever a peer says first, and instead, and again: who expects a schema is given frames only
// after a hello of that schema, and who has refused once refuses for good. Then two honest ends, of
// any schemas, by either way to travel: they agree if their schemas are the same, also when one of
// them has travelled in between.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include <green/errors.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/socket.hpp>

#include "frame_play.hpp"

using namespace green;
using ipc::Frame;
using ipc::FrameStream;
using ipc::Schema;

namespace {

constexpr std::uint64_t expected = 7;
constexpr std::size_t limit = std::size_t{4} << 10;
constexpr std::size_t longest_name = 200;

/// A peer that follows no rule, and what it has said so far, as docs/reference/frame.md has it.
class Liar {
 public:
    Liar() {
        auto [mine, theirs] = green::Stream::pair();
        socket_ = std::move(mine.fd());
        end_.emplace(FrameStream{std::move(theirs.fd()), {limit}});
        end_->expect({}, {expected, "expected"});
    }
    void say(fuzz::Input& input) {
        const std::size_t what = input.below(8);
        if (what == 0) return send(input.bytes(input.below(64)));
        const bool is_hello = what < 6;
        const auto name = input.bytes(input.below(what == 1 ? 255 : 32));
        std::vector<std::byte> payload(name.begin(), name.end());
        if (what > 1) {
            const std::uint64_t id = what > 3 ? expected : input.number<std::uint64_t>();
            const auto first = std::as_bytes(std::span{&id, 1});
            payload.insert(payload.begin(), first.begin(), first.end());
        }
        const auto size = static_cast<std::uint32_t>(payload.size());
        const std::uint32_t kind = is_hello ? 1U << 16 : 0;
        const std::array<std::uint32_t, 4> header{0x31465347, size, kind, ~(size ^ kind)};
        send(std::as_bytes(std::span{header}));
        send(payload);
    }
    /// All that is there.
    void listen() {
        try {
            while (const auto frame = end_->next(Deadline::passed())) {
                fuzz::expect(!has_refused_, "a frame behind a refusal");
                fuzz::expect(may_have_been_right(), "a frame without a hello of the schema");
                fuzz::read_all(frame->bytes());
            }
            fuzz::expect(!has_refused_, "no refusal any more");
        } catch (const ProtocolError&) {
            has_refused_ = true;
        }
    }
    void leave() {
        socket_.close();
        listen();
        fuzz::expect(has_refused_ || end_->at_end(), "no end, and no error");
    }

 private:
    void send(std::span<const std::byte> bytes) {
        if (bytes.empty()) return;
        said_.insert(said_.end(), bytes.begin(), bytes.end());
        (void)sys::send(socket_.number(), bytes.data(), bytes.size());
    }
    /// Whether the first frame of all is a hello of the schema.
    [[nodiscard]] bool may_have_been_right() const {
        std::array<std::uint32_t, 4> header{};
        std::uint64_t id = 0;
        if (said_.size() < sizeof header + sizeof id) return false;
        std::memcpy(header.data(), said_.data(), sizeof header);
        std::memcpy(&id, said_.data() + sizeof header, sizeof id);
        return header[2] >> 16 == 1 && header[1] >= sizeof id &&
               header[1] <= sizeof id + longest_name && id == expected;
    }

    Fd socket_;
    std::optional<FrameStream> end_;
    std::vector<std::byte> said_;
    bool has_refused_ = false;
};

void lie(fuzz::Input& input) {
    Liar liar;
    while (!input.empty()) {
        liar.say(input);
        if (input.below(2) == 0) liar.listen();
    }
    liar.leave();
}

Schema schema(fuzz::Input& input) {
    const auto name = input.bytes(input.number<std::uint8_t>());
    return {input.below(3), {reinterpret_cast<const char*>(name.data()), name.size()}};
}

/// What one side sends the other gets, or it refuses.
bool goes(FrameStream& from, FrameStream& to, const std::string& text) {
    (void)from.put(std::as_bytes(std::span{text}), {}, Deadline::passed());
    (void)from.flush(Deadline::passed());
    try {
        const auto frame = to.next(Deadline::passed());
        fuzz::expect(frame.has_value(), "an honest frame did not arrive");
        const auto bytes = frame->bytes();
        fuzz::expect(std::equal(bytes.begin(), bytes.end(), std::as_bytes(std::span{text}).begin()),
                     "an honest frame was changed");
        return true;
    } catch (const ProtocolError&) {
        return false;
    }
}

void be_honest(fuzz::Input& input) {
    auto [a, b] = input.below(2) == 0 ? ipc::frame_pair() : ipc::ring_pair({.capacity = 4096});
    FrameStream left = std::move(a);
    FrameStream right = std::move(b);
    const std::array<Schema, 4> says{schema(input), schema(input), schema(input), schema(input)};
    left.expect(says[0], says[1]);
    right.expect(says[2], says[3]);
    const bool there = says[3].id == 0 || says[0].id == says[3].id;
    const bool back = says[1].id == 0 || says[2].id == says[1].id;
    for (int rounds = 0; rounds < 4; ++rounds) {
        const std::size_t what = input.below(4);
        if (what == 0) left = FrameStream::unpack(std::move(left).pack());
        if (what == 1) right = FrameStream::unpack(std::move(right).pack());
        if (what != 2) fuzz::expect(goes(left, right, "there") == there, "a wrong refusal there");
        if (what != 3) fuzz::expect(goes(right, left, "back") == back, "a wrong refusal back");
        if (!there || !back) return;  // an end that has refused does not go on, nor travel
    }
}

void play(fuzz::Input input) {
    if (input.below(2) == 0) return lie(input);
    be_honest(input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::play_frames(limit, play, data, size);
    return 0;
}
