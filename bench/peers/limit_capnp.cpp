// The limit of Cap'n Proto between two processes: a message is built in the memory of a ring
// (ring.hpp) and read there.
#include <array>

#include <capnp/message.h>

#include "ring.hpp"
#include "samples.hpp"

namespace {

template <class Ring>
class InPlace {
 public:
    explicit InPlace(const bench::Options& options)
        : words_{beside_payload + (options.payload + word_size - 1) / word_size} {}
    void attach_sender() {}
    void attach_receiver() {}

    template <class Build>
    void send(Build&& build) {
        auto* const memory = reinterpret_cast<capnp::word*>(ring_.reserve(words_ * word_size));
        // A builder takes for granted that its memory is zeroed. The payload comes last, and is
        // written over but for the rest of its last word.
        std::memset(static_cast<void*>(memory), 0, beside_payload * word_size);
        std::memset(static_cast<void*>(memory + words_ - 1), 0, word_size);
        capnp::FlatMessageBuilder message{kj::arrayPtr(memory, words_)};
        build(message.template initRoot<bench::Sample>());
        ring_.commit(message.getSegmentsForOutput()[0].size() * word_size);
    }

    template <class Look>
    void receive(Look&& look) {
        const auto record = ring_.peek();
        const std::array segments{kj::arrayPtr(reinterpret_cast<const capnp::word*>(record.data()),
                                               record.size() / word_size)};
        capnp::ReaderOptions limits;
        limits.traversalLimitInWords = 4 * segments[0].size() + 1024;
        capnp::SegmentArrayMessageReader message{kj::arrayPtr(segments.data(), segments.size()),
                                                 limits};
        look(message.getRoot<bench::Sample>());
        ring_.release(record);
    }

 private:
    static constexpr std::size_t word_size = sizeof(capnp::word);
    // Words of a Sample: the pointer to it, its three of scalars, two pointers, "worker-1" with its
    // zero.
    static constexpr std::size_t beside_payload = 8;

    std::size_t words_;
    Ring ring_;
};

template <bench::Reading reading>
double throughput(const bench::Options& options) {
    return bench::on_two_cores(options)
               ? bench::samples_per_second<InPlace<bench::TwoCoreRing>, reading>(options)
               : bench::samples_per_second<InPlace<bench::OneCoreRing>, reading>(options);
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"capnp_in_place", throughput<bench::Reading::ends>},
                       {"capnp_in_place_summed", throughput<bench::Reading::everything>}});
}
