// The control socket. No client can hold up the supervisor, or another client: there is a limit to
// how many there are, how much they send, how long they stay silent, and how slowly they read.
#pragma once

#include <functional>
#include <string>

#include <green/fd.hpp>
#include <green/group.hpp>
#include <green/socket.hpp>

#include "control_message.hpp"

namespace greensup {

class ControlServer {
 public:
    /// Gives the line that answers a request. May switch.
    using Handler = std::function<std::string(const Request&)>;

    static constexpr std::size_t most_clients = 64;

    /// Listens. One that a dead supervisor left is replaced. Throws Refusal.
    ControlServer(std::string path, int mode, Handler handler);
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;
    /// Removes the socket.
    ~ControlServer();

    /// Makes it anew when somebody has removed its file.
    void restore();

 private:
    void listen();
    void accept_all();
    void admit(green::Stream stream);
    void serve(green::Stream& stream);
    [[nodiscard]] bool is_allowed(green::Stream& stream) const;

    std::string path_;
    int mode_;
    Handler handler_;
    green::Listener listener_;
    green::Fd spare_;  // given up for a moment when there is no descriptor left to accept with
    green::Group acceptor_;
    green::Group clients_;
};

}  // namespace greensup
