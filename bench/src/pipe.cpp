// greensup's side of the pipe cases: frames between two processes, the payload copied in and out.
#include <algorithm>
#include <optional>
#include <utility>

#include <green/ipc/frame_stream.hpp>

#include "two_processes.hpp"

namespace {

using Pair = std::pair<green::ipc::FrameStream, green::ipc::FrameStream>;

template <Pair (*make)()>
class Pipe {
 public:
    explicit Pipe(const bench::Options&) : pair_{make()} {}
    void attach_sender() {
        pair_.second.shutdown();
        // A copy that was forked belongs to the parent.
        pair_.first = green::ipc::FrameStream::unpack(std::move(pair_.first).pack());
    }
    void attach_receiver() { pair_.first.shutdown(); }
    void send(std::span<const std::byte> message) { pair_.first.put(message); }
    std::size_t receive(std::span<std::byte> into) {
        const auto frame = pair_.second.next();
        const auto bytes = frame->bytes();
        std::copy(bytes.begin(), bytes.end(), into.begin());
        return bytes.size();
    }

 private:
    Pair pair_;
};

Pair over_a_ring() { return green::ipc::ring_pair(); }
Pair over_a_socket() { return green::ipc::frame_pair({.coalesce = false}); }
Pair coalesced() { return green::ipc::frame_pair(); }

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"pipe_ring", bench::messages_per_second<Pipe<&over_a_ring>>},
                       {"pipe_stream", bench::messages_per_second<Pipe<&over_a_socket>>},
                       {"pipe_stream_coalesced", bench::messages_per_second<Pipe<&coalesced>>}});
}
