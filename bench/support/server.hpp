/// The side of a case that has a driver: a program that serves until it is killed.
///
/// It prints one line to its standard output as soon as it listens, "port N" (of 127.0.0.1); or why
/// it cannot run here.
#pragma once

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

namespace bench {

/// A running server. It is killed with this, and with this process.
class Server {
 public:
    /// Starts it, tied to the core (-1: not), and waits until it listens. Throws Unavailable when
    /// it says that it cannot run here.
    Server(const std::vector<std::string>& command, int core);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] pid_t process() const noexcept { return process_; }

 private:
    void stop() noexcept;

    pid_t process_;
    std::uint16_t port_ = 0;
};

/// For servers of ours: listens on a port of 127.0.0.1 that the system chooses, non-blocking, and
/// prints the line. Connections inherit TCP_NODELAY. Returns the socket, the caller's.
[[nodiscard]] int listen_and_tell();

/// Prints the line and sees to it that it gets out.
void tell_port(std::uint16_t port);

}  // namespace bench
