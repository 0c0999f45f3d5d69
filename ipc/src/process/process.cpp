#include <array>
#include <csignal>
#include <sys/socket.h>
#include <sys/uio.h>
#include <vector>

#include <green/detail/home.hpp>
#include <green/errors.hpp>
#include <green/hub.hpp>
#include <green/ipc/process.hpp>
#include <green/sys.hpp>

#include "process/channel.hpp"

namespace green::ipc {

void tell(int channel, char packet, std::string_view text) noexcept {
    // From where they stand: the greenlet whose stack this is may have a small one.
    text = text.substr(0, longest_packet - 1);
    std::array<iovec, 2> parts{{{&packet, 1}, {const_cast<char*>(text.data()), text.size()}}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    (void)sys::sendmsg(channel, message);
}

namespace passing {

Channel::Channel() {
    if (sys::world() != nullptr) throw UsageError("there are no processes in a simulation");
    int ends[2];
    sys::must(sys::socketpair(AF_UNIX, SOCK_SEQPACKET, ends), "socketpair for a child");
    ours = Fd{ends[0]};
    childs = Fd{ends[1]};
}

void tell_failure(int channel, const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const GreenletExit&) {  // which is none
    } catch (...) {
        try {
            tell(channel, failed_packet, describe(error));
        } catch (...) {  // no memory for the words
            tell(channel, failed_packet);
        }
    }
}

std::vector<int> numbers_of(const Channel& channel, const Parcel& parcel) {
    std::vector<int> numbers{channel.childs.number()};
    for (const Fd& fd : parcel.descriptors) numbers.push_back(fd.number());
    return numbers;
}

}  // namespace passing

std::string ProcessEnd::text() const { return status.text() + (error.empty() ? "" : ": " + error); }

struct Process::State {
    /// Once it has ended: all that it has said is there.
    void listen();

    green::Process process;
    Fd channel;
    bool tells_that_it_began;
    bool closed = false;
    std::string error{};
    green::detail::Home home{};
};

Process::Process(green::Process process, Fd channel, bool tells_that_it_began)
    : state_{std::make_shared<State>(
          State{std::move(process), std::move(channel), tells_that_it_began})} {}

Process& Process::operator=(Process&& other) noexcept {
    if (this != &other) {
        abandon();
        state_ = std::move(other.state_);
    }
    return *this;
}
Process::~Process() { abandon(); }

/// Whoever still waits in join() keeps the rest.
void Process::abandon() noexcept {
    if (state_) state_->process = {};
}

green::Process& Process::process() const {
    if (!state_) throw UsageError("this Process is empty");
    if (state_->closed) throw Closed("this process handle was closed");
    return state_->process;
}

std::optional<ProcessEnd> Process::join(Deadline deadline) {
    (void)process();
    const auto held = state_;  // this object may go while we wait
    const std::optional<ExitStatus> status = held->process.join(deadline);
    if (!status) return std::nullopt;
    held->listen();
    if (held->tells_that_it_began && status->kind == ExitStatus::Kind::exited)
        held->error = "it never came to its entry: its main() has to call green::ipc::run_entry()";
    return ProcessEnd{*status, held->error};
}

void Process::State::listen() {
    // In a forked child of ours: what stands there is for its parent to read.
    if (!channel.is_open() || !home.is_here()) return;
    std::vector<char> bytes(longest_packet);  // not on a greenlet's stack
    for (;;) {
        const sys::Outcome got = sys::recv(channel.number(), bytes.data(), bytes.size());
        if (got.value <= 0) break;
        tells_that_it_began = false;
        if (bytes[0] == failed_packet) error.assign(bytes.data() + 1, got.as_size() - 1);
    }
    channel.close();
}

bool Process::terminate() { return process().signal(SIGTERM); }
bool Process::kill() { return process().signal(SIGKILL); }

void Process::close() {
    if (empty() || state_->closed) return;
    if (is_alive()) throw UsageError("a process that runs cannot be closed");
    state_->listen();  // for those who still wait in join()
    state_->process = {};
    state_->channel.close();
    state_->closed = true;
}

}  // namespace green::ipc
