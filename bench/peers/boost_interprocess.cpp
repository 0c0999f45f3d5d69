// Peer boost_interprocess: message_queue with room for 1024 messages, or for 8 MiB of larger ones.
#include <boost/interprocess/ipc/message_queue.hpp>

#include "many_processes.hpp"

namespace {

namespace ipc = boost::interprocess;

class Queue {
 public:
    explicit Queue(const bench::Options& options, std::size_t /*each*/ = 1)
        : name_(bench::ipc_name()),
          queue_(ipc::create_only, name_.c_str(),
                 std::clamp<std::size_t>((std::size_t{8} << 20) / options.payload, 8, 1024),
                 options.payload) {
        ipc::message_queue::remove(name_.c_str());  // the fork inherits the mapping
    }
    void attach_sender(std::size_t /*index*/ = 0) {}
    void attach_receiver(std::size_t /*index*/ = 0) {}

    void send(std::span<const std::byte> message) {
        queue_.send(message.data(), message.size(), 0);
    }
    std::size_t receive(std::span<std::byte> buffer) {
        ipc::message_queue::size_type size = 0;
        unsigned priority = 0;
        queue_.receive(buffer.data(), buffer.size(), size, priority);
        return size;
    }

 private:
    std::string name_;
    ipc::message_queue queue_;
};

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"pipe_ring", bench::messages_per_second<Queue>},
                       {"queue_put_get_ack", bench::messages_per_second<Queue>},
                       {"queue_put_get_ack_4x4", bench::messages_per_second_of_many<Queue, 4>}});
}
