// A listening socket that the supervisor holds for its workers, so that no restart closes the port.
#pragma once

#include <memory>
#include <string>

#include <green/socket.hpp>

#include "config.hpp"

namespace greensup {

/// Open while anybody holds it: editions of the configuration do (see edition.hpp).
class BoundSocket {
 public:
    /// Throws Refusal.
    static std::shared_ptr<BoundSocket> bind(const SocketConfig& config);
    explicit BoundSocket(const SocketConfig& config);
    BoundSocket(const BoundSocket&) = delete;
    BoundSocket& operator=(const BoundSocket&) = delete;
    /// Removes the file of a Unix socket.
    ~BoundSocket();

    [[nodiscard]] int descriptor() noexcept { return listener_.fd().number(); }
    /// Where it listens: with the port that the system chose.
    [[nodiscard]] std::string address() const { return address_; }
    /// Changes how many connections may wait. Throws Refusal.
    void set_backlog(int backlog);

 private:
    std::string name_;
    green::Listener listener_;
    std::string address_;
    std::string path_;  // of the file; empty when there is none
};

}  // namespace greensup
