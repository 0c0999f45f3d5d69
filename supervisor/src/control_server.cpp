#include "control_server.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <memory>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

#include <green/errors.hpp>
#include <green/log.hpp>
#include <green/sys.hpp>

namespace greensup {
namespace {

namespace sys = green::sys;
using namespace std::chrono_literals;

constexpr auto idle_limit = 60s;  // between two requests
constexpr auto line_limit = 5s;   // for the rest of a line that was begun
constexpr auto write_limit = 10s;
constexpr auto shortage_pause = 100ms;

green::Listener listen_at(const std::string& path, int mode) {
    try {
        auto listener = green::Listener::bind(green::Endpoint::parse("unix:" + path), 64);
        std::filesystem::permissions(path, static_cast<std::filesystem::perms>(mode));
        return listener;
    } catch (const std::exception& error) {
        throw Refusal(Code::files, "cannot make the control socket: " + std::string(error.what()));
    }
}

std::string refusal_line(Code code, const std::string& message, const std::string& hint) {
    Answer answer;
    answer.ok = false;
    answer.code = code;
    answer.error = error_id(code);
    answer.message = message;
    answer.hint = hint;
    return to_line(answer, {});
}

/// Requests of one client, line by line.
class Lines {
 public:
    explicit Lines(green::Stream& stream) : stream_{stream} {}

    /// The next line. Nothing at the end, or when the client was silent for too long.
    std::optional<std::string> next() {
        auto limit = green::Deadline{buffer_.empty() ? idle_limit : line_limit};
        for (;;) {
            if (const auto end = buffer_.find('\n', seen_); end != std::string::npos) {
                auto line = buffer_.substr(0, end);
                buffer_.erase(0, end + 1);
                seen_ = 0;
                return line;
            }
            seen_ = buffer_.size();
            if (buffer_.size() > longest_request)
                throw Refusal(Code::usage, "a request of more than 1MiB");
            std::array<char, 4096> part{};
            const auto size = stream_.read_some(part, limit);
            if (size == 0) return std::nullopt;
            if (buffer_.empty()) limit = green::Deadline{line_limit};
            buffer_.append(part.data(), size);
        }
    }

 private:
    green::Stream& stream_;
    std::string buffer_;
    std::size_t seen_ = 0;
};

}  // namespace

ControlServer::ControlServer(std::string path, int mode, Handler handler)
    : path_{std::move(path)},
      mode_{mode},
      handler_{std::move(handler)},
      listener_{listen_at(path_, mode_)} {
    spare_ = green::Fd{sys::open("/dev/null", O_RDONLY).as_int()};
    listen();
}

ControlServer::~ControlServer() {
    (void)sys::unlink(path_.c_str());
    acceptor_.kill();
}

void ControlServer::listen() {
    acceptor_.spawn([this] { accept_all(); });
}

void ControlServer::restore() {
    if (std::error_code error; std::filesystem::exists(path_, error)) return;
    green::log::warning("control.restored", {{"path", path_}});
    acceptor_.kill();
    listener_ = listen_at(path_, mode_);
    listen();
}

void ControlServer::accept_all() {
    for (;;) {
        try {
            admit(listener_.accept());
        } catch (const std::system_error& error) {
            if (error.code().value() != EMFILE && error.code().value() != ENFILE) throw;
            // With the spare one's place there is room for one client, who may be the one that
            // wants to see what is wrong.
            spare_.close();
            try {
                if (auto stream = listener_.try_accept()) serve(*stream);
            } catch (const std::system_error&) {  // somebody else took the place: later
            }
            green::sleep(shortage_pause);
            if (const auto again = sys::open("/dev/null", O_RDONLY); again.ok())
                spare_ = green::Fd{again.as_int()};
        }
    }
}

void ControlServer::admit(green::Stream stream) {
    const auto client = std::make_shared<green::Stream>(std::move(stream));
    if (clients_.size() >= most_clients) {
        // Into the socket's own buffer, or not at all: nobody waits for a surplus client.
        const auto line = refusal_line(Code::failed, "busy: too many clients", "try again later");
        (void)sys::send(client->fd().number(), line.data(), line.size());
        return;
    }
    clients_.spawn([this, client] { serve(*client); });
}

bool ControlServer::is_allowed(green::Stream& stream) const {
    ucred peer{};
    socklen_t size = sizeof peer;
    const auto got = sys::getsockopt(stream.fd().number(), SOL_SOCKET, SO_PEERCRED, &peer, size);
    if (!got.ok()) return false;
    if (peer.uid == 0 || peer.uid == ::geteuid()) return true;
    return (mode_ & 0066) != 0;  // then the mode of the file has decided already
}

void ControlServer::serve(green::Stream& stream) {
    try {
        if (!is_allowed(stream)) {
            stream.write_all(refusal_line(Code::forbidden, "this supervisor is another user's",
                                          "ask its owner, or root"),
                             write_limit);
            return;
        }
        Lines lines{stream};
        while (const auto line = lines.next()) {
            std::string error;
            const auto request = parse_request(*line, error);
            stream.write_all(
                request ? handler_(*request)
                        : refusal_line(Code::usage, error, "write {\"id\":1,\"verb\":\"status\"}"),
                write_limit);
        }
    } catch (const Refusal& refusal) {
        const auto line = refusal_line(refusal.code(), refusal.what(), refusal.hint());
        (void)sys::send(stream.fd().number(), line.data(), line.size());
    } catch (const std::system_error&) {  // it has gone, or reads nothing, or is silent
    }
}

}  // namespace greensup
