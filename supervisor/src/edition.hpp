// One version of the configuration with all that its processes stand on. Instances hold the edition
// they were started by: an old one that has to be restarted in the middle of a roll finds its own
// sockets, queues and pipes, and what the last of them used is closed when it is gone.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bound_socket.hpp"
#include "config.hpp"
#include "open_pipe.hpp"
#include "open_queue.hpp"

namespace greensup {

struct Edition {
    Config config;
    std::uint64_t generation = 0;
    std::map<std::string, std::shared_ptr<BoundSocket>> sockets;
    std::map<std::string, std::shared_ptr<OpenQueue>> queues;
    std::map<std::string, std::shared_ptr<OpenPipe>> pipes;
};

/// Makes editions. What an earlier one still holds open is shared, never opened twice.
class Editor {
 public:
    explicit Editor(std::string queue_directory) : queue_directory_{std::move(queue_directory)} {}

    /// Binds and opens what is new. Values that need a restart of the supervisor stay as they are
    /// in `before`, which may be null. Throws Refusal, and nothing has changed then.
    std::shared_ptr<const Edition> make(const Edition* before, Config config,
                                        std::uint64_t generation);

 private:
    std::shared_ptr<BoundSocket> bind(const SocketConfig& socket);
    void open_queues(Edition& edition, std::vector<QueueConfig>& queues);
    [[nodiscard]] OpenQueue::Found look(QueueConfig& queue);
    std::shared_ptr<OpenQueue> open(const QueueConfig& queue, OpenQueue::Found found);
    std::shared_ptr<OpenPipe> open(const PipeConfig& pipe, int readers);

    std::string queue_directory_;
    std::map<std::string, std::weak_ptr<BoundSocket>> sockets_;  // by address
    std::map<std::string, std::weak_ptr<OpenQueue>> queues_;     // by name
    std::map<std::string, std::weak_ptr<OpenPipe>> pipes_;       // by name
};

}  // namespace greensup
