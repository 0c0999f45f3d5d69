// Peer zeromq: PUSH and PULL over ipc:// with default options; an abstract address leaves no file.
#include <memory>
#include <zmq.h>

#include "two_processes.hpp"

namespace {

void check(bool good, const char* call) {
    if (!good) throw std::runtime_error(std::string(call) + ": " + zmq_strerror(zmq_errno()));
}

class PushPull {
 public:
    explicit PushPull(const bench::Options&) : address_("ipc://@" + bench::ipc_name()) {}

    void attach_sender() {
        open(ZMQ_PUSH);
        check(zmq_connect(socket_.get(), address_.c_str()) == 0, "zmq_connect");
    }
    void attach_receiver() {
        open(ZMQ_PULL);
        check(zmq_bind(socket_.get(), address_.c_str()) == 0, "zmq_bind");
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
    // Opened after the fork: a context has threads of its own.
    void open(int type) {
        context_.reset(zmq_ctx_new());
        check(context_ != nullptr, "zmq_ctx_new");
        socket_.reset(zmq_socket(context_.get(), type));
        check(socket_ != nullptr, "zmq_socket");
        const int linger = 0;
        check(zmq_setsockopt(socket_.get(), ZMQ_LINGER, &linger, sizeof linger) == 0,
              "zmq_setsockopt");
    }
    struct Close {
        void operator()(void* socket) const { zmq_close(socket); }
    };
    struct Terminate {
        void operator()(void* context) const { zmq_ctx_term(context); }
    };

    std::string address_;
    std::unique_ptr<void, Terminate> context_;  // outlives the socket
    std::unique_ptr<void, Close> socket_;
};

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv, {{"queue_put_get_ack", bench::messages_per_second<PushPull>}});
}
