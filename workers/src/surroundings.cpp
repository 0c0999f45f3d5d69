#include "surroundings.hpp"

#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <unistd.h>

#include <green/errors.hpp>
#include <green/ipc/control.capnp.h>
#include <green/ipc/inherit.hpp>
#include <green/ipc/message.hpp>
#include <green/sys.hpp>

namespace green::workers {
namespace {

namespace control = ipc::control;

// A supervisor that has just started us answers at once; one that does not is no supervisor.
constexpr auto patience = std::chrono::seconds(30);

std::optional<int> control_fd() {
    const char* text = std::getenv(ipc::control_variable);
    if (text == nullptr) return std::nullopt;
    int fd = -1;
    const std::string_view digits{text};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), fd);
    if (error != std::errc{} || end != digits.data() + digits.size() || fd < 0) {
        throw ProtocolError(std::string(ipc::control_variable) + " is not a descriptor: \"" + text +
                            "\"");
    }
    return fd;
}

ipc::Message<control::ToWorker> next_message(ipc::FrameStream& stream) {
    auto message = ipc::next<control::ToWorker>(stream, patience);
    if (message) return std::move(*message);
    throw ProtocolError(stream.at_end()
                            ? "the supervisor closed the control channel before it said welcome"
                            : "the supervisor says nothing on the control channel");
}

void take_welcome(Surroundings& around, ipc::Message<control::ToWorker>& message) {
    const auto welcome = message->getWelcome();
    if (welcome.getProtocol() != control::PROTOCOL) {
        throw ProtocolError(
            "the supervisor speaks version " + std::to_string(welcome.getProtocol()) +
            " of the control protocol, this worker version " + std::to_string(control::PROTOCOL));
    }
    around.pool = ipc::view(welcome.getPool());
    around.slot = welcome.getSlot();
    around.count = welcome.getCount();
    around.generation = welcome.getGeneration();
    around.run_dir = ipc::view(welcome.getRunDir());
    around.drain_time = std::chrono::milliseconds(welcome.getDrainMilliseconds());
    const auto names = welcome.getSockets();
    if (names.size() != message.descriptors().size())
        throw ProtocolError("a welcome without its sockets");
    for (unsigned i = 0; i < names.size(); ++i) {
        around.sockets.emplace(ipc::view(names[i]), std::move(message.descriptors()[i]));
    }
}

ipc::QueueGrant take_queue(ipc::Message<control::ToWorker>& message, std::uint32_t owner) {
    if (!message->isQueue())
        throw ProtocolError("the supervisor announced more queues than it sent");
    const auto queue = message->getQueue();
    auto& fds = message.descriptors();
    if (fds.size() != 1 + queue.getDoorbells())
        throw ProtocolError("a queue without its descriptors");
    ipc::QueueGrant grant;
    grant.name = ipc::view(queue.getName());
    grant.path = ipc::view(queue.getPath());
    grant.schema = ipc::view(queue.getSchema());
    grant.segment = std::move(fds[0]);
    grant.doorbells.assign(std::make_move_iterator(fds.begin() + 1),
                           std::make_move_iterator(fds.end()));
    grant.owner = owner;
    grant.produce = queue.getProduce();
    grant.consume = queue.getConsume();
    return grant;
}

Surroundings::Pipe take_pipe(ipc::Message<control::ToWorker>& message) {
    if (!message->isPipe()) throw ProtocolError("the supervisor announced more pipes than it sent");
    if (message.descriptors().size() != 1) throw ProtocolError("a pipe without its descriptor");
    const auto pipe = message->getPipe();
    return {std::move(message.descriptors()[0]), pipe.getReads(), pipe.getLargest()};
}

void join_supervisor(Surroundings& around, int fd) {
    // Not for our own children: the channel means this process.
    ::unsetenv(ipc::control_variable);
    (void)sys::fcntl(fd, F_SETFD, FD_CLOEXEC);
    ipc::FrameStream& stream = around.control.emplace(Fd{fd}, ipc::control_options);
    ipc::put<control::FromWorker>(stream, [](control::FromWorker::Builder message) {
        auto hello = message.initHello();
        hello.setProtocol(control::PROTOCOL);
        hello.setPid(static_cast<std::uint32_t>(::getpid()));
    });
    auto message = next_message(stream);
    if (!message->isWelcome())
        throw ProtocolError("the supervisor's first message is not a welcome");
    take_welcome(around, message);
    const auto welcome = message->getWelcome();
    for (std::uint32_t i = 0; i < welcome.getQueues(); ++i) {
        auto announced = next_message(stream);
        ipc::QueueGrant grant = take_queue(announced, welcome.getOwner());
        std::string name = grant.name;
        around.queues.emplace(std::move(name), std::move(grant));
    }
    for (std::uint32_t i = 0; i < welcome.getPipes(); ++i) {
        auto announced = next_message(stream);
        Surroundings::Pipe pipe = take_pipe(announced);
        around.pipes.emplace(ipc::view(announced->getPipe().getName()), std::move(pipe));
    }
}

void read_arguments(Surroundings& around, int argc, char** argv) {
    constexpr std::string_view flag = "--socket";
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (!argument.starts_with(flag)) {
            around.arguments.emplace_back(argument);
            continue;
        }
        std::string_view value = argument.substr(flag.size());
        if (value.starts_with('=')) {
            value.remove_prefix(1);
        } else if (value.empty() && i + 1 < argc) {
            value = argv[++i];
        }
        const std::size_t equals = value.find('=');
        if (equals == std::string_view::npos || equals == 0) {
            throw std::invalid_argument(
                "--socket needs NAME=ADDRESS, for example --socket web=127.0.0.1:8080; got \"" +
                std::string(value) + "\"");
        }
        around.addresses.emplace(value.substr(0, equals), value.substr(equals + 1));
    }
}

}  // namespace

Surroundings look_around(int argc, char** argv) {
    Surroundings around;
    const std::string_view program = argc > 0 ? argv[0] : "worker";
    around.pool = program.substr(program.rfind('/') + 1);
    read_arguments(around, argc, argv);
    if (const auto fd = control_fd()) join_supervisor(around, *fd);
    return around;
}

}  // namespace green::workers
