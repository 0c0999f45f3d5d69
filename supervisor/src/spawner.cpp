#include "spawner.hpp"

#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>
#include <unistd.h>

#include <green/ipc/inherit.hpp>
#include <green/log.hpp>
#include <green/sys.hpp>

namespace greensup {
namespace {

namespace sys = green::sys;

// 0, 1 and 2 are the standard ones; programs that take sockets look for them from here on.
constexpr int first_descriptor = 3;

bool is_shortage(int error) {
    return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE ||
           error == ENOSPC;
}

/// "web-api" becomes GREENSUP_FD_WEB_API.
std::string variable_for(const std::string& socket) {
    std::string name = "GREENSUP_FD_";
    for (const char c : socket)
        name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return name;
}

/// Sockets for a program that knows nothing of us: by number, and as systemd passes them (without
/// LISTEN_PID, which nobody knows before the program runs).
void pass_sockets(const Edition& edition, const WorkerConfig& worker, green::Command& command) {
    if (worker.sockets.empty()) return;
    std::string names;
    int next = first_descriptor;
    for (const auto& name : worker.sockets) {
        command.descriptors.push_back({edition.sockets.at(name)->descriptor(), next});
        command.environment->push_back(variable_for(name) + "=" + std::to_string(next));
        names += (names.empty() ? "" : ":") + name;
        ++next;
    }
    command.environment->push_back("LISTEN_FDS=" + std::to_string(next - first_descriptor));
    command.environment->push_back("LISTEN_FDNAMES=" + names);
}

std::optional<rlimit> raise_descriptor_limit() {
    rlimit limit{};
    if (!sys::prlimit(0, RLIMIT_NOFILE, nullptr, &limit).ok()) return std::nullopt;
    const auto first = limit;
    limit.rlim_cur = limit.rlim_max;
    if (!sys::prlimit(0, RLIMIT_NOFILE, &limit, nullptr).ok()) return std::nullopt;
    return first;
}

std::string stage_text(const green::SpawnError& error, const green::Command& command) {
    const auto& subject = error.stage() == green::SpawnStage::cwd ? command.cwd : command.program;
    return std::string(name(error.stage())) + " " + subject;
}

}  // namespace

Spawner::Spawner(Environment ours, const std::string& process_table)
    : ours_{std::move(ours)},
      table_{process_table},
      owners_(OpenQueue::most_owners + 1, false),
      first_limit_{raise_descriptor_limit()} {
    owners_[0] = true;
}

std::uint32_t Spawner::take_owner() {
    // Not the number that was just given free: who looks at a segment by hand can tell them apart.
    for (std::uint32_t i = 1; i <= OpenQueue::most_owners; ++i) {
        const auto number = (last_owner_ + i - 1) % OpenQueue::most_owners + 1;
        if (owners_[number]) continue;
        owners_[number] = true;
        last_owner_ = number;
        return number;
    }
    sys::fail(EAGAIN, "more than " + std::to_string(OpenQueue::most_owners) + " hub workers");
}

green::Command Spawner::command_for(const Edition& edition, const WorkerConfig& worker,
                                    const Instance& instance) const {
    auto launch = make_launch(edition.config, worker,
                              {instance.slot, worker.count, instance.generation}, ours_);
    green::Command command;
    command.argv = std::move(launch.arguments);
    command.program = std::move(launch.program);
    command.environment = std::move(launch.environment);
    command.cwd = std::move(launch.directory);
    command.null_stdin = true;
    if (worker.kind == Kind::hub) return command;
    pass_sockets(edition, worker, command);
    // Nobody could tell it to leave when we are gone.
    command.parent_death_signal = SIGKILL;
    // Many programs cannot live with more descriptors than select() can.
    if (first_limit_) command.limits.push_back({RLIMIT_NOFILE, *first_limit_});
    return command;
}

/// Gives it its ends of pipes: standard streams with the program, others over the channel.
void Spawner::join_pipes(const Edition& edition, const WorkerConfig& worker, int slot,
                         Incarnation& into, green::Command& command) {
    for (auto& grant : pipe_grants(edition.config, worker.name)) {
        auto& held = into.ends.emplace_back(HeldEnd{edition.pipes.at(grant.pipe), grant, 0, {}});
        held.end = grant.reads ? held.pipe->add_reader(slot, held.theirs)
                               : held.pipe->add_writer(slot, held.theirs);
        if (grant.is_standard) {
            const int number = grant.reads ? STDIN_FILENO : STDOUT_FILENO;
            command.descriptors.push_back({held.theirs.number(), number});
            command.null_stdin = command.null_stdin && !grant.reads;
        }
    }
}

void Spawner::start(const Edition& edition, const WorkerConfig& worker, const Instance& instance,
                    Incarnation& into) {
    auto command = command_for(edition, worker, instance);
    green::Fd theirs;
    if (worker.kind == Kind::hub) {
        into.owner = take_owner();
        into.grants = grants(edition.config, worker);
        for (const auto& grant : into.grants) into.queues.push_back(edition.queues.at(grant.queue));
        int ends[2] = {-1, -1};
        (void)sys::must(sys::socketpair(AF_UNIX, SOCK_STREAM, ends), "a control channel");
        into.channel.emplace(green::Fd{ends[0]}, green::ipc::control_options);
        theirs = green::Fd{ends[1]};
        command.descriptors.push_back({theirs.number(), green::ipc::control_descriptor});
        command.environment->push_back(std::string(green::ipc::control_variable) + "=" +
                                       std::to_string(green::ipc::control_descriptor));
    }
    join_pipes(edition, worker, instance.slot, into, command);
    into.row = table_.reserve();
    into.process = green::Process::start(command);
    for (auto& held : into.ends)
        if (held.grant.is_standard) held.theirs.close();
    const auto pid = into.process.pid();
    for (const auto& held : into.ends) held.pipe->belongs_to(held.end, pid);
    const auto patience = worker.kind == Kind::hub ? worker.stop.drain : worker.stop.timeout;
    table_.fill(into.row, {pid, start_time_of(pid).value_or(0), worker.kind, patience,
                           worker.name + "/" + std::to_string(instance.slot)});
}

std::shared_ptr<Incarnation> Spawner::spawn(const Edition& edition, const WorkerConfig& worker,
                                            const Instance& instance, SpawnFailure& failure) {
    auto incarnation = std::make_shared<Incarnation>();
    try {
        start(edition, worker, instance, *incarnation);
        return incarnation;
    } catch (const green::SpawnError& error) {
        const auto number = error.code().value();
        failure = {number, is_shortage(number),
                   is_shortage(number) ? error.what()
                                       : stage_text(error, command_for(edition, worker, instance))};
    } catch (const std::system_error& error) {
        const auto number = error.code().value();
        failure = {number, is_shortage(number), error.what()};
    } catch (const std::exception& error) {  // a command that makes no sense
        failure = {EINVAL, false, error.what()};
    }
    bury(*incarnation);
    return nullptr;
}

void Spawner::bury(Incarnation& incarnation, bool in_peace) {
    if (incarnation.channel) incarnation.channel->shutdown();
    for (const auto& held : incarnation.ends) held.pipe->remove(held.end, in_peace);
    incarnation.ends.clear();
    bool is_mended = true;
    if (!incarnation.process.empty()) {
        for (const auto& queue : incarnation.queues) {
            try {
                queue->repair(incarnation.owner);
            } catch (const std::exception& error) {  // the segment contradicts itself
                is_mended = false;
                green::log::error("queue.damaged",
                                  {{"queue", queue->config().name}, {"error", error.what()}});
            }
        }
    }
    incarnation.queues.clear();
    // A number that a queue still knows from its last bearer is given to nobody.
    if (incarnation.owner != 0 && is_mended) owners_[incarnation.owner] = false;
    incarnation.owner = 0;
    if (incarnation.row >= 0) table_.clear(incarnation.row);
    incarnation.row = -1;
}

}  // namespace greensup
