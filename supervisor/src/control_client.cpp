#include "control_client.hpp"

#include <array>
#include <cerrno>
#include <system_error>

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
                                     "--run-dir DIR or -f FILE");
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
    : stream_{connect_to(run_dir)}, pid_{peer_of(stream_)} {
    if (const auto opened = sys::pidfd_open(pid_); opened.ok())
        process_ = green::Fd{opened.as_int()};
}

std::string ControlClient::ask(const Request& request, green::Deadline deadline) {
    std::string line;
    try {
        stream_.write_all(to_line(request), deadline);
        std::array<char, 16384> part{};
        for (;;) {
            const auto size = stream_.read_some(part, deadline);
            if (size == 0) break;
            line.append(part.data(), size);
            if (line.back() == '\n') return line;
        }
    } catch (const std::system_error& error) {
        throw Refusal(Code::not_found, "the supervisor (pid " + std::to_string(pid_) +
                                           ") does not answer: " + error.code().message());
    }
    throw Refusal(Code::not_found,
                  "the supervisor (pid " + std::to_string(pid_) + ") went away without an answer");
}

bool ControlClient::await_end(green::Deadline deadline) {
    if (!process_.is_open()) return true;  // it was gone before we could hold on to it
    return process_.wait_readable(deadline);
}

}  // namespace greensup
