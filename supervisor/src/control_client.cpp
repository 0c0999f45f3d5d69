#include "control_client.hpp"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <green/sys.hpp>

#include "run_dir.hpp"

namespace greensup {
namespace {

namespace sys = green::sys;
using namespace std::chrono_literals;

constexpr auto connect_limit = 5s;

green::Stream connect_to(const std::string& run_dir) {
    const auto path = RunPaths{run_dir}.control_socket();
    try {
        return green::Stream::connect(green::Endpoint::parse("unix:" + path), connect_limit);
    } catch (const std::system_error& error) {
        const bool is_forbidden = error.code().value() == EACCES;
        throw Refusal(is_forbidden ? Code::forbidden : Code::not_found,
                      "no supervisor answers at " + path + ": " + error.code().message(),
                      is_forbidden ? "ask as its owner, or as root"
                                   : "start one with: greensup start FILE; or say where it is with "
                                     "--run-dir DIR or -f FILE; if only its socket was removed, "
                                     "kill -HUP makes it anew: its pid is in " +
                                         RunPaths{run_dir}.lock());
    } catch (const std::invalid_argument& error) {
        throw Refusal(Code::usage, error.what());
    }
}

int peer_of(green::Stream& stream) {
    ucred peer{};
    socklen_t size = sizeof peer;
    const auto got = sys::getsockopt(stream.fd().number(), SOL_SOCKET, SO_PEERCRED, &peer, size);
    return got.ok() ? peer.pid : 0;
}

}  // namespace

ControlClient::ControlClient(const std::string& run_dir)
    : run_dir_{run_dir}, stream_{connect_to(run_dir)}, pid_{peer_of(stream_)} {
    if (const auto opened = sys::pidfd_open(pid_); opened.ok())
        process_ = green::Fd{opened.as_int()};
}

std::string ControlClient::ask(const Request& request, green::Deadline deadline) {
    return as_answer([&] {
        send(request, deadline);
        return receive(deadline);
    });
}

std::string ControlClient::ask_patiently(const Request& request, green::Duration silence) {
    return as_answer([&] {
        send(request, silence);
        while (!stream_.fd().wait_readable(silence))
            (void)ControlClient{run_dir_}.ask({"", "status"}, silence);
        return receive(green::Deadline::never());
    });
}

/// What goes wrong with the connection says who does not answer.
template <class Call>
std::string ControlClient::as_answer(Call&& call) {
    const auto whose = "the supervisor (pid " + std::to_string(pid_) + ")";
    std::string line;
    try {
        line = std::forward<Call>(call)();
    } catch (const std::system_error& error) {
        const bool is_late = error.code().value() == ETIMEDOUT;
        throw Refusal(Code::not_found, whose + " does not answer: " + error.code().message(),
                      is_late ? "is it stopped? what was asked lies in its socket, and may be done "
                                "when it goes on"
                              : "");
    }
    if (line.empty()) throw Refusal(Code::not_found, whose + " went away without an answer");
    return line;
}

void ControlClient::send(const Request& request, green::Deadline deadline) {
    try {
        stream_.write_all(to_line(request), deadline);
    } catch (const std::system_error& error) {
        if (error.code().value() != EPIPE) throw;
        // It has closed without reading, and may have said why.
    }
}

/// A line; nothing if it ends before.
std::string ControlClient::receive(green::Deadline deadline) {
    std::string line;
    std::array<char, 16384> part{};
    for (;;) {
        const auto size = stream_.read_some(part, deadline);
        if (size == 0) return {};
        line.append(part.data(), size);
        if (line.back() == '\n') return line;
    }
}

bool ControlClient::await_end(green::Deadline deadline) {
    if (!process_.is_open()) return true;  // it was gone before we could hold on to it
    return process_.wait_readable(deadline);
}

}  // namespace greensup
