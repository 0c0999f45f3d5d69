// greensup's side of the queue cases: a named queue between processes, the payload copied in and
// out; and what a message costs in one that holds many.
#include <algorithm>
#include <memory>
#include <vector>

#include <green/ipc/named_queue.hpp>

#include "many_processes.hpp"

namespace {

using green::ipc::LocalQueue;
using green::ipc::RawQueue;

void put(RawQueue& queue, std::span<const std::byte> message) {
    auto draft = queue.prepare(message.size());
    std::copy(message.begin(), message.end(), draft->memory().begin());
    draft->put(message.size());
}

std::size_t get(RawQueue& queue, std::span<std::byte> into) {
    auto lease = queue.next();
    const auto bytes = lease->bytes();
    std::copy_n(bytes.begin(), std::min(bytes.size(), into.size()), into.begin());
    if (!lease->ack()) throw std::runtime_error("a lease was taken away");
    return bytes.size();
}

class NamedQueue {
 public:
    explicit NamedQueue(const bench::Options&, std::size_t each = 1) : local_{bench::ipc_name()} {
        for (std::size_t i = 0; i < each; ++i) {
            sending_.push_back(local_.grant());
            receiving_.push_back(local_.grant());
        }
    }
    void attach_sender(std::size_t index = 0) { attach(sending_.at(index)); }
    void attach_receiver(std::size_t index = 0) { attach(receiving_.at(index)); }
    void send(std::span<const std::byte> message) { put(*queue_, message); }
    std::size_t receive(std::span<std::byte> into) { return get(*queue_, into); }

 private:
    void attach(green::ipc::QueueGrant& grant) {
        queue_ = std::make_unique<RawQueue>(std::move(grant));
    }

    LocalQueue local_;
    std::vector<green::ipc::QueueGrant> sending_;
    std::vector<green::ipc::QueueGrant> receiving_;
    std::unique_ptr<RawQueue> queue_;
};

// Nanoseconds to put a message of 100 bytes and to take the oldest one, with options.count messages
// in the queue all the while. The queue itself is always the one that a million fit in.
double depth(const bench::Options& options) {
    const std::size_t most = std::min<std::size_t>(1'000'000, options.at_most);
    LocalQueue local{bench::ipc_name(),
                     {.capacity = static_cast<std::uint32_t>(most + 1),
                      .payload_bytes = std::uint64_t{256} << 20}};
    RawQueue queue{local.grant()};
    bench::NumberedMessage message{100};
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    bench::pin(options.consumer_core);
    // Filled in any case, so that all of its memory has been touched: the first touch of a page
    // costs more than many messages.
    const auto take = [&] { message.insist(get(queue, message.room()), received++); };
    while (sent < most) put(queue, message.with(sent++));
    while (sent - received > options.count) take();
    return bench::ns_per_operation(options, [&](std::uint64_t n) {
        for (std::uint64_t i = 0; i < n; ++i) {
            put(queue, message.with(sent++));
            take();
        }
        return n;
    });
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"queue_put_get_ack", bench::messages_per_second<NamedQueue>},
                       {"queue_put_get_ack_4x4", bench::messages_per_second_of_many<NamedQueue, 4>},
                       {"queue_depth", depth}});
}
