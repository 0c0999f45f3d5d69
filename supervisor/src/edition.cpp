#include "edition.hpp"

#include <utility>
#include <vector>

#include "refusal.hpp"
#include "segment_aside.hpp"

namespace greensup {
namespace {

void keep_what_needs_a_restart(const Config& before, Config& after) {
    after.supervisor.name = before.supervisor.name;
    after.supervisor.run_dir = before.supervisor.run_dir;
    after.supervisor.control_mode = before.supervisor.control_mode;
    for (auto& queue : after.queues) {
        const auto* old = before.queue(queue.name);
        if (old == nullptr) continue;
        queue.schema = old->schema;
        queue.capacity = old->capacity;
        queue.max_bytes = old->max_bytes;
        queue.delivery = old->delivery;
    }
}

}  // namespace

std::shared_ptr<BoundSocket> Editor::bind(const SocketConfig& socket) {
    const auto address = to_text(socket.listen);
    if (auto open = sockets_[address].lock()) return open;
    auto bound = BoundSocket::bind(socket);
    // Port 0 is another port each time.
    if (address == bound->address()) sockets_[address] = bound;
    return bound;
}

std::shared_ptr<OpenQueue> Editor::open(const QueueConfig& queue, OpenQueue::Found found) {
    if (auto open = queues_[queue.name].lock()) return open;
    auto opened = OpenQueue::open(queue_directory_, queue, std::move(found));
    queues_[queue.name] = opened;
    return opened;
}

/// What would refuse it. One of that name may be open still: workers of an earlier configuration,
/// which did not have it any more, use it until they are gone. Then nothing is found.
OpenQueue::Found Editor::look(QueueConfig& queue) {
    const auto open = queues_[queue.name].lock();
    if (!open) return OpenQueue::look(queue_directory_, queue);
    const auto& old = open->config();
    if (queue.schema != old.schema)
        throw Refusal::at(
            "queues." + queue.name + ".schema", Code::failed,
            "\"" + queue.schema +
                "\", but workers of an earlier configuration still use the queue of that "
                "name, with \"" +
                old.schema + "\"",
            "try again when they are gone, or give the new one another name");
    queue.capacity = old.capacity;
    queue.max_bytes = old.max_bytes;
    queue.delivery = old.delivery;
    return {};
}

/// First all are looked at, and what that takes is kept; then those are made that are not there,
/// and last those are taken over that are: who is refused has changed nothing in them.
void Editor::open_queues(Edition& edition, std::vector<QueueConfig>& queues) {
    std::vector<OpenQueue::Found> found;
    found.reserve(queues.size());
    for (auto& queue : queues) found.push_back(look(queue));
    for (const bool are_there : {false, true}) {
        for (std::size_t i = 0; i < queues.size(); ++i) {
            auto& open_one = edition.queues[queues[i].name];
            if (!open_one && found[i].is_there() == are_there)
                open_one = open(queues[i], std::move(found[i]));
        }
    }
}

std::shared_ptr<OpenPipe> Editor::open(const PipeConfig& pipe, int readers) {
    if (auto open = pipes_[pipe.name].lock()) {
        const auto change = obstacle(open->config(), pipe);
        if (!change) return open;
        throw Refusal::at(
            "pipes." + pipe.name + "." + change->key, Code::failed,
            "cannot be changed while the pipe is open: " + change->before + " -> " + change->after,
            "give the pipe another name, or shut down and start anew");
    }
    auto opened = std::make_shared<OpenPipe>(pipe, readers);
    pipes_[pipe.name] = opened;
    return opened;
}

std::shared_ptr<const Edition> Editor::make(const Edition* before, Config config,
                                            std::uint64_t generation) {
    auto edition = std::make_shared<Edition>();
    if (before != nullptr) keep_what_needs_a_restart(before->config, config);
    const auto same = [&](const SocketConfig& socket) {
        const auto* old = before == nullptr ? nullptr : before->config.socket(socket.name);
        return old != nullptr && old->listen == socket.listen ? old : nullptr;
    };
    for (const auto& socket : config.sockets)
        edition->sockets[socket.name] =
            same(socket) == nullptr ? bind(socket) : before->sockets.at(socket.name);
    const auto readers = [&](const PipeConfig& pipe) {
        return config.worker(pipe_end(pipe.to).worker)->count;
    };
    for (const auto& pipe : config.pipes) edition->pipes[pipe.name] = open(pipe, readers(pipe));
    open_queues(*edition, config.queues);
    // Last, for this changes what others use.
    for (const auto& pipe : config.pipes) edition->pipes[pipe.name]->apply(pipe, readers(pipe));
    for (const auto& queue : config.queues) {
        const auto target = edition->queues.find(queue.dead_letter);
        edition->queues[queue.name]->apply(
            queue, target == edition->queues.end() ? nullptr : target->second);
    }
    for (const auto& socket : config.sockets)
        if (const auto* old = same(socket); old != nullptr && old->backlog != socket.backlog)
            edition->sockets[socket.name]->set_backlog(socket.backlog);
    for (const auto& [name, queue] : edition->queues) queue->confirm();
    for (const auto& [name, held] : queues_)
        if (const auto queue = held.lock()) queue->set_in_file(edition->queues.contains(name));
    if (before == nullptr) tell_of_the_unnamed(queue_directory_, config);
    edition->generation = generation;
    edition->config = std::move(config);
    return edition;
}

}  // namespace greensup
