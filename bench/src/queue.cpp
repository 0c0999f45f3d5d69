// greensup's side of the message cases: a named queue between two processes, the payload copied in
// and out.
#include <algorithm>
#include <memory>

#include <green/ipc/named_queue.hpp>

#include "two_processes.hpp"

namespace {

class NamedQueue {
 public:
    explicit NamedQueue(const bench::Options&)
        : local_{bench::ipc_name()}, sending_{local_.grant()}, receiving_{local_.grant()} {}

    void attach_sender() { queue_ = std::make_unique<green::ipc::RawQueue>(std::move(sending_)); }
    void attach_receiver() {
        queue_ = std::make_unique<green::ipc::RawQueue>(std::move(receiving_));
    }
    void send(std::span<const std::byte> message) {
        auto draft = queue_->prepare(message.size());
        std::copy(message.begin(), message.end(), draft->memory().begin());
        draft->put(message.size());
    }
    std::size_t receive(std::span<std::byte> into) {
        auto lease = queue_->next();
        const auto bytes = lease->bytes();
        std::copy(bytes.begin(), bytes.end(), into.begin());
        lease->ack();
        return bytes.size();
    }

 private:
    green::ipc::LocalQueue local_;
    green::ipc::QueueGrant sending_;
    green::ipc::QueueGrant receiving_;
    std::unique_ptr<green::ipc::RawQueue> queue_;
};

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv, {{"queue_put_get_ack", bench::messages_per_second<NamedQueue>}});
}
