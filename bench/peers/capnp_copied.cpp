// Peer copy: Cap'n Proto as it is used over anything that carries bytes. A message is built in
// memory of its own, brought into one piece, copied into the ring of the limit and out of it again.
#include <vector>

#include <capnp/message.h>
#include <capnp/serialize.h>

#include "ring.hpp"
#include "samples.hpp"

namespace {

template <class Ring>
class Copied {
 public:
    explicit Copied(const bench::Options& options) : copy_(options.payload / word_size + 64) {}
    void attach_sender() {}
    void attach_receiver() {}

    template <class Build>
    void send(Build&& build) {
        capnp::MallocMessageBuilder message;
        build(message.initRoot<bench::Sample>());
        const auto words = capnp::messageToFlatArray(message);
        const auto bytes = words.asBytes();
        std::memcpy(ring_.reserve(bytes.size()), bytes.begin(), bytes.size());
        ring_.commit(bytes.size());
    }

    template <class Look>
    void receive(Look&& look) {
        const auto record = ring_.peek();
        if (record.size() > copy_.size() * word_size)
            throw std::runtime_error("a message of the wrong size");
        std::memcpy(static_cast<void*>(copy_.data()), record.data(), record.size());
        ring_.release(record);
        capnp::ReaderOptions limits;
        limits.traversalLimitInWords = 4 * copy_.size() + 1024;
        capnp::FlatArrayMessageReader message{kj::arrayPtr(copy_.data(), record.size() / word_size),
                                              limits};
        look(message.getRoot<bench::Sample>());
    }

 private:
    static constexpr std::size_t word_size = sizeof(capnp::word);

    std::vector<capnp::word> copy_;
    Ring ring_;
};

template <bench::Reading reading>
double throughput(const bench::Options& options) {
    return bench::on_two_cores(options)
               ? bench::samples_per_second<Copied<bench::TwoCoreRing>, reading>(options)
               : bench::samples_per_second<Copied<bench::OneCoreRing>, reading>(options);
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"capnp_in_place", throughput<bench::Reading::ends>},
                       {"capnp_in_place_summed", throughput<bench::Reading::everything>}});
}
