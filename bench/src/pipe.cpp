// greensup's side of the pipe cases: frames between two processes, the payload copied in, and out
// of a ring. A stream's frame has come into memory of its own.
#include <algorithm>
#include <utility>

#include <green/ipc/frame_stream.hpp>

#include "two_processes.hpp"

namespace {

using green::ipc::FrameStream;
using Pair = std::pair<FrameStream, FrameStream>;

template <Pair (*make)()>
class Pipe {
 public:
    explicit Pipe(const bench::Options&) : pair_{make()} {}
    void attach_sender() { choose(pair_.first, pair_.second); }
    void attach_receiver() { choose(pair_.second, pair_.first); }
    void send(std::span<const std::byte> message) { end_->put(message); }
    std::size_t receive(std::span<std::byte> into) {
        const auto frame = next();
        const auto bytes = frame.bytes();
        std::copy_n(bytes.begin(), std::min(bytes.size(), into.size()), into.begin());
        return bytes.size();
    }

 protected:
    green::ipc::Frame next() {
        auto frame = end_->next();
        if (!frame) throw std::runtime_error("the end of the stream");
        return std::move(*frame);
    }

 private:
    void choose(FrameStream& mine, FrameStream& theirs) {
        theirs.shutdown();
        // A copy that was forked belongs to the parent: it is made this process's own.
        mine = FrameStream::unpack(std::move(mine).pack());
        end_ = &mine;
    }

    Pair pair_;
    FrameStream* end_ = nullptr;
};

template <Pair (*make)()>
class OwnMemory : public Pipe<make> {
 public:
    using Pipe<make>::Pipe;
    std::span<const std::byte> receive() {
        frame_ = {};  // its memory is the next one's
        frame_ = Pipe<make>::next();
        return frame_.bytes();
    }

 private:
    green::ipc::Frame frame_;
};

using OverRing = Pipe<[] { return green::ipc::ring_pair(); }>;
using OverSocket = OwnMemory<[] { return green::ipc::frame_pair({.coalesce = false}); }>;
using Coalesced = OwnMemory<[] { return green::ipc::frame_pair(); }>;

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"pipe_ring", bench::messages_per_second<OverRing>},
                       {"pipe_ring_rtt", bench::round_trip_ns<OverRing>},
                       {"pipe_stream", bench::messages_per_second<OverSocket>},
                       {"pipe_stream_coalesced", bench::messages_per_second<Coalesced>}});
}
