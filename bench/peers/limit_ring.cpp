// The limit of messages of bytes between two processes: a ring (ring.hpp), copied in and out.
#include "ring.hpp"
#include "two_processes.hpp"

namespace {

template <class Ring>
void put(Ring& ring, std::span<const std::byte> message) {
    std::memcpy(ring.reserve(message.size()), message.data(), message.size());
    ring.commit(message.size());
}

template <class Ring>
std::size_t get(Ring& ring, std::span<std::byte> buffer) {
    const auto record = ring.peek();
    std::memcpy(buffer.data(), record.data(), std::min(record.size(), buffer.size()));
    ring.release(record);
    return record.size();
}

template <class Ring>
class OneWay {
 public:
    explicit OneWay(const bench::Options&) {}
    void attach_sender() {}
    void attach_receiver() {}
    void send(std::span<const std::byte> message) { put(ring_, message); }
    std::size_t receive(std::span<std::byte> buffer) { return get(ring_, buffer); }

 private:
    Ring ring_;
};

template <class Ring>
class BothWays {
 public:
    explicit BothWays(const bench::Options&) {}
    void attach_sender() { std::swap(out_, in_); }
    void attach_receiver() {}
    void send(std::span<const std::byte> message) { put(*out_, message); }
    std::size_t receive(std::span<std::byte> buffer) { return get(*in_, buffer); }

 private:
    Ring there_;
    Ring back_;
    Ring* out_ = &there_;
    Ring* in_ = &back_;
};

double throughput(const bench::Options& options) {
    return bench::on_two_cores(options)
               ? bench::messages_per_second<OneWay<bench::TwoCoreRing>>(options)
               : bench::messages_per_second<OneWay<bench::OneCoreRing>>(options);
}

// On one core as a hub has to wait, on two by looking.
double round_trip(const bench::Options& options) {
    return bench::on_two_cores(options)
               ? bench::round_trip_ns<BothWays<bench::TwoCoreRoundTripRing>>(options)
               : bench::round_trip_ns<BothWays<bench::OneCoreRoundTripRing>>(options);
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"pipe_ring", throughput},
                       {"pipe_ring_rtt", round_trip},
                       // Each message is there when it has been put.
                       {"queue_put_get_ack",
                        bench::messages_per_second<OneWay<bench::Ring<bench::Wake::futex>>>}});
}
