// greensup's side of capnp_in_place: messages that are built in a ring between two processes and
// read there.
#include <utility>

#include <green/ipc/message.hpp>

#include "samples.hpp"

namespace {

class Pipe {
 public:
    explicit Pipe(const bench::Options& options)
        : payload_{options.payload}, pair_{green::ipc::ring_pair()} {}
    void attach_sender() {
        pair_.second.shutdown();
        // A copy that was forked belongs to the parent: it is made this process's own.
        pair_.first = green::ipc::FrameStream::unpack(std::move(pair_.first).pack());
    }
    void attach_receiver() { pair_.first.shutdown(); }

    template <class Build>
    void send(Build&& build) {
        green::ipc::put<bench::Sample>(pair_.first, std::forward<Build>(build), {},
                                       green::Deadline::never(), payload_);
    }
    template <class Look>
    void receive(Look&& look) {
        const auto message = green::ipc::get<bench::Sample>(pair_.second);
        look(*message);
    }

 private:
    std::size_t payload_;
    std::pair<green::ipc::FrameStream, green::ipc::FrameStream> pair_;
};

}  // namespace

int main(int argc, char** argv) {
    return bench::run(
        argc, argv,
        {{"capnp_in_place", bench::samples_per_second<Pipe, bench::Reading::ends>},
         {"capnp_in_place_summed", bench::samples_per_second<Pipe, bench::Reading::everything>}});
}
