// Peer zeromq: sockets over ipc:// with default options, PUSH and PULL for messages that go one
// way, PAIR for those that come back; an abstract address leaves no file. Several receivers have an
// address each, and every sender distributes its messages over all of them.
#include <memory>
#include <zmq.h>

#include "many_processes.hpp"

namespace {

void check(bool good, const char* call) {
    if (!good) throw std::runtime_error(std::string(call) + ": " + zmq_strerror(zmq_errno()));
}

template <int sending, int receiving>
class Sockets {
 public:
    explicit Sockets(const bench::Options& options, std::size_t each = 1)
        : payload_{options.payload}, each_{each}, address_("ipc://@" + bench::ipc_name() + "-") {}

    void attach_sender(std::size_t /*index*/ = 0) {
        open(sending);
        for (std::size_t i = 0; i < each_; ++i)
            check(zmq_connect(socket_.get(), address_of(i).c_str()) == 0, "zmq_connect");
    }
    void attach_receiver(std::size_t index = 0) {
        open(receiving);
        check(zmq_bind(socket_.get(), address_of(index).c_str()) == 0, "zmq_bind");
    }
    void send(std::span<const std::byte> message) {
        check(zmq_send(socket_.get(), message.data(), message.size(), 0) >= 0, "zmq_send");
    }
    std::size_t receive(std::span<std::byte> buffer) {
        const int size = zmq_recv(socket_.get(), buffer.data(), buffer.size(), 0);
        check(size >= 0, "zmq_recv");
        return static_cast<std::size_t>(size);
    }

 private:
    std::string address_of(std::size_t receiver) const {
        return address_ + std::to_string(receiver);
    }
    // Opened after the fork: a context has threads of its own.
    void open(int type) {
        context_.reset(zmq_ctx_new());
        check(context_ != nullptr, "zmq_ctx_new");
        socket_.reset(zmq_socket(context_.get(), type));
        check(socket_ != nullptr, "zmq_socket");
        const int linger = 0;
        set(ZMQ_LINGER, linger);
        // By default 1000 messages wait on each side, of 1 MiB more than a machine may have.
        const std::size_t most = (std::size_t{64} << 20) / payload_;
        const int waiting = static_cast<int>(std::min<std::size_t>(most, 1000));
        set(ZMQ_SNDHWM, waiting);
        set(ZMQ_RCVHWM, waiting);
    }
    void set(int option, int value) {
        check(zmq_setsockopt(socket_.get(), option, &value, sizeof value) == 0, "zmq_setsockopt");
    }
    struct Close {
        void operator()(void* socket) const { zmq_close(socket); }
    };
    struct Terminate {
        void operator()(void* context) const { zmq_ctx_term(context); }
    };

    std::size_t payload_;
    std::size_t each_;
    std::string address_;
    std::unique_ptr<void, Terminate> context_;  // outlives the socket
    std::unique_ptr<void, Close> socket_;
};

using OneWay = Sockets<ZMQ_PUSH, ZMQ_PULL>;
using BothWays = Sockets<ZMQ_PAIR, ZMQ_PAIR>;

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"pipe_ring", bench::messages_per_second<OneWay>},
                       {"pipe_ring_rtt", bench::round_trip_ns<BothWays>},
                       {"queue_put_get_ack", bench::messages_per_second<OneWay>},
                       {"queue_put_get_ack_4x4", bench::messages_per_second_of_many<OneWay, 4>}});
}
