// A hub worker as the supervisor sees one, made of the control channel alone.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>
#include <vector>

#include <green/greenlet.hpp>
#include <green/ipc/control.capnp.h>
#include <green/ipc/inherit.hpp>
#include <green/ipc/message.hpp>

#include "queue/member.hpp"
#include "support/roles.hpp"

namespace {

namespace control = green::ipc::control;
namespace shm = green::ipc::shm;
using green::ipc::FrameStream;

struct Attached {
    std::vector<green::Fd> descriptors;
    std::vector<int> doorbells;
    std::unique_ptr<shm::Member> member;
    bool produce = false;
    bool consume = false;
};

struct Surroundings {
    std::uint32_t owner = 0;
    std::vector<green::Fd> sockets;
    std::vector<std::unique_ptr<Attached>> queues;
};

void say_hello(FrameStream& channel, unsigned protocol) {
    green::ipc::put<control::FromWorker>(channel, [&](control::FromWorker::Builder message) {
        auto hello = message.initHello();
        hello.setProtocol(static_cast<std::uint16_t>(protocol));
        hello.setPid(static_cast<std::uint32_t>(::getpid()));
    });
}

Surroundings receive(FrameStream& channel) {
    Surroundings surroundings;
    auto first = green::ipc::next<control::ToWorker>(channel);
    if (!first) std::exit(9);
    const auto welcome = (*first)->getWelcome();
    surroundings.owner = welcome.getOwner();
    surroundings.sockets = std::move(first->descriptors());
    for (unsigned i = 0; i < welcome.getQueues(); ++i) {
        auto message = green::ipc::next<control::ToWorker>(channel);
        if (!message) std::exit(9);
        auto attached = std::make_unique<Attached>();
        attached->descriptors = std::move(message->descriptors());
        attached->produce = (*message)->getQueue().getProduce();
        attached->consume = (*message)->getQueue().getConsume();
        for (std::size_t d = 1; d < attached->descriptors.size(); ++d)
            attached->doorbells.push_back(attached->descriptors[d].number());
        auto segment = shm::Segment::adopt(attached->descriptors[0].number(),
                                           std::string((*message)->getQueue().getPath().cStr()));
        attached->member = std::make_unique<shm::Member>(std::move(segment), surroundings.owner,
                                                         attached->doorbells);
        surroundings.queues.push_back(std::move(attached));
    }
    return surroundings;
}

void produce(Surroundings& surroundings, int count) {
    for (auto& queue : surroundings.queues) {
        for (int i = 0; queue->produce && i < count; ++i) {
            shm::Reservation place;
            if (queue->member->try_reserve(64, place) != shm::Shortage::none) return;
            queue->member->put(place, 64);
        }
    }
}

std::int64_t this_moment() { return green::now().time_since_epoch().count(); }

/// Takes messages and holds them until the end.
void take(Surroundings& surroundings, int count) {
    for (auto& queue : surroundings.queues) {
        for (int i = 0; queue->consume && i < count; ++i) {
            shm::Lease lease;
            if (queue->member->try_get(lease, this_moment()) != shm::Got::message) std::exit(8);
        }
    }
}

/// Takes messages and wants nobody to have them.
void reject(Surroundings& surroundings, int count) {
    for (auto& queue : surroundings.queues) {
        for (int i = 0; queue->consume && i < count; ++i) {
            shm::Lease lease;
            if (queue->member->try_get(lease, this_moment()) != shm::Got::message) std::exit(8);
            if (!queue->member->reject(lease)) std::exit(9);
        }
    }
}

/// Acknowledges a message every now and then, if there is one.
void eat(Surroundings& surroundings, std::chrono::milliseconds each) {
    for (;; green::sleep(each)) {
        for (auto& queue : surroundings.queues) {
            shm::Lease lease;
            if (queue->consume && queue->member->try_get(lease, this_moment()) == shm::Got::message)
                (void)queue->member->ack(lease);
        }
    }
}

void tell(FrameStream& channel, bool is_ready) {
    green::ipc::put<control::FromWorker>(channel, [&](control::FromWorker::Builder message) {
        if (is_ready)
            message.setReady();
        else
            message.setDraining();
    });
}

}  // namespace

// Arguments: nothing, or any of
//   silent          never says that it is ready
//   stubborn        does not leave when it is asked to
//   put=N           puts N messages before it is ready
//   take=N          takes N messages before it is ready, and never acknowledges them
//   reject=N        takes N messages before it is ready, and rejects them
//   eat=MS          takes and acknowledges a message every MS milliseconds
//   linger=MS       takes this long to drain
//   foreign         speaks another version of the protocol
//   exit=N          leaves with N when it is ready
GREEN_TEST_ROLE(hub_worker) {
    const auto value = [&](const std::string& key) -> std::optional<int> {
        for (const auto& argument : arguments)
            if (argument.rfind(key + "=", 0) == 0)
                return std::stoi(argument.substr(key.size() + 1));
        return std::nullopt;
    };
    const auto has = [&](const std::string& word) {
        return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
    };
    if (has("stubborn")) std::signal(SIGTERM, SIG_IGN);
    FrameStream channel{green::Fd{std::atoi(std::getenv(green::ipc::control_variable))},
                        green::ipc::control_options};
    say_hello(channel, has("foreign") ? 999 : control::PROTOCOL);
    auto surroundings = receive(channel);
    if (const auto count = value("put")) produce(surroundings, *count);
    if (const auto count = value("reject")) reject(surroundings, *count);
    if (const auto count = value("take")) take(surroundings, *count);
    if (!has("silent")) tell(channel, true);
    if (const auto code = value("exit")) return *code;
    if (const auto each = value("eat"))
        green::spawn([&, each] { eat(surroundings, std::chrono::milliseconds(*each)); });
    while (auto message = green::ipc::next<control::ToWorker>(channel)) {
        if (!(*message)->isDrain()) continue;
        tell(channel, false);
        if (has("stubborn")) continue;
        break;
    }
    if (const auto time = value("linger")) green::sleep(std::chrono::milliseconds(*time));
    ::_exit(0);
}
