#include "channel.hpp"

#include <system_error>

#include <green/ipc/control.capnp.h>
#include <green/ipc/message.hpp>

namespace greensup {
namespace {

namespace control = green::ipc::control;
using green::ipc::text;

// A worker that does not take one short message in this time does not listen any more.
constexpr Duration patience = 2s;

std::uint64_t milliseconds(Duration duration) {
    return static_cast<std::uint64_t>(
        std::chrono::ceil<std::chrono::milliseconds>(duration).count());
}

/// An end of a pipe that the worker opens by name.
struct NamedEnd {
    std::string pipe;
    bool reads;
    std::uint64_t largest;
    green::Fd theirs;
};

/// They become the worker's, whatever becomes of this process meanwhile.
std::vector<NamedEnd> take_ends(Incarnation& incarnation) {
    std::vector<NamedEnd> ends;
    for (auto& held : incarnation.ends)
        if (!held.grant.is_standard)
            ends.push_back({held.grant.pipe, held.grant.reads, held.pipe->largest_payload(),
                            std::move(held.theirs)});
    return ends;
}

void send_pipe(Incarnation& incarnation, const NamedEnd& end) {
    const std::vector<int> descriptor = {end.theirs.number()};
    green::ipc::put<control::ToWorker>(
        *incarnation.channel,
        [&](control::ToWorker::Builder message) {
            auto to = message.initPipe();
            to.setName(text(end.pipe));
            to.setReads(end.reads);
            to.setLargest(end.largest);
        },
        descriptor);
}

void send_welcome(Incarnation& incarnation, const Edition& edition, const WorkerConfig& worker,
                  const Instance& instance, std::size_t pipes) {
    std::vector<int> sockets;
    for (const auto& name : worker.sockets)
        sockets.push_back(edition.sockets.at(name)->descriptor());
    green::ipc::put<control::ToWorker>(
        *incarnation.channel,
        [&](control::ToWorker::Builder message) {
            auto welcome = message.initWelcome();
            welcome.setProtocol(control::PROTOCOL);
            welcome.setSupervisor(text(edition.config.supervisor.name));
            welcome.setPool(text(worker.name));
            welcome.setSlot(static_cast<std::uint32_t>(instance.slot));
            welcome.setCount(static_cast<std::uint32_t>(worker.count));
            welcome.setGeneration(instance.generation);
            welcome.setOwner(incarnation.owner);
            welcome.setRunDir(text(edition.config.supervisor.run_dir));
            auto names = welcome.initSockets(static_cast<unsigned>(worker.sockets.size()));
            for (unsigned i = 0; i < names.size(); ++i) names.set(i, text(worker.sockets[i]));
            welcome.setQueues(static_cast<std::uint32_t>(incarnation.queues.size()));
            welcome.setPipes(static_cast<std::uint32_t>(pipes));
            welcome.setDrainMilliseconds(milliseconds(worker.stop.drain));
        },
        sockets);
}

void send_queue(Incarnation& incarnation, const OpenQueue& queue, const QueueGrant& grant) {
    const auto descriptors = queue.descriptors();
    green::ipc::put<control::ToWorker>(
        *incarnation.channel,
        [&](control::ToWorker::Builder message) {
            auto to = message.initQueue();
            to.setName(text(queue.config().name));
            to.setPath(text(queue.path()));
            to.setSchema(text(queue.config().schema));
            to.setDoorbells(static_cast<std::uint32_t>(descriptors.size() - 1));
            to.setProduce(grant.produce);
            to.setConsume(grant.consume);
        },
        descriptors);
}

void check(const control::Hello::Reader& hello) {
    if (hello.getProtocol() == control::PROTOCOL) return;
    throw green::ProtocolError("it speaks version " + std::to_string(hello.getProtocol()) +
                               " of the control protocol, and this greensup version " +
                               std::to_string(control::PROTOCOL) + ": rebuild the worker");
}

}  // namespace

void greet(Incarnation& incarnation, const Edition& edition, const WorkerConfig& worker,
           const Instance& instance) {
    const auto queues = incarnation.queues;  // the incarnation may end while we speak
    const auto ends = take_ends(incarnation);
    send_welcome(incarnation, edition, worker, instance, ends.size());
    for (std::size_t i = 0; i < queues.size(); ++i)
        send_queue(incarnation, *queues[i], incarnation.grants[i]);
    for (const auto& end : ends) send_pipe(incarnation, end);
}

void listen_to(Incarnation& incarnation, const std::function<void(Word)>& on_word) {
    bool is_known = false;
    while (auto message = green::ipc::next<control::FromWorker>(*incarnation.channel)) {
        const auto& word = **message;
        if (!is_known && !word.isHello())
            throw green::ProtocolError("its first message is not hello");
        if (word.isHello()) {
            check(word.getHello());
            is_known = true;
            on_word(Word::hello);
        } else if (word.isReady()) {
            on_word(Word::ready);
        } else if (word.isDraining()) {
            on_word(Word::draining);
        }
    }
}

bool ask_to_drain(Incarnation& incarnation, Duration limit, bool last_of_pool) {
    try {
        return green::ipc::put<control::ToWorker>(
            *incarnation.channel,
            [&](control::ToWorker::Builder message) {
                auto drain = message.initDrain();
                drain.setMilliseconds(milliseconds(limit));
                drain.setLastOfPool(last_of_pool);
            },
            {}, patience);
    } catch (const std::exception&) {  // its end of the channel is closed
        return false;
    }
}

}  // namespace greensup
