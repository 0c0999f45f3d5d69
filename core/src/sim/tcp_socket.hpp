#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "sim/socket.hpp"
#include "sim/tcp_connection.hpp"

namespace green::sim {

class TcpSocket final : public Socket, public std::enable_shared_from_this<TcpSocket> {
 public:
    TcpSocket(Kernel& kernel, int family);

    sys::Outcome bind(const Endpoint& at) override;
    sys::Outcome listen(int backlog) override;
    Accepted accept() override;
    sys::Outcome connect(const Endpoint& to) override;
    sys::Outcome shutdown(int how) override;
    sys::Outcome receive(std::span<const iovec> into, bool peek) override;
    sys::Outcome send(std::span<const iovec> from) override;
    [[nodiscard]] Endpoint local() const override { return local_; }
    [[nodiscard]] std::optional<Endpoint> peer() const override;
    [[nodiscard]] std::uint32_t events() override;
    void closed() override;

    /// As [::] it stands for the addresses of IPv4 too.
    [[nodiscard]] bool covers_v4() const;
    [[nodiscard]] Sharing sharing() const;

    // For connections.
    [[nodiscard]] bool listens() const noexcept override { return backlog_.has_value(); }
    /// Keeps a place for a connection that begins; false when the backlog is full.
    [[nodiscard]] bool expect() noexcept;
    void unexpect() noexcept { --expected_; }
    /// The connection that was expected can be accepted.
    void arrived(std::shared_ptr<TcpConnection> connection);

 private:
    int take_error() override;
    [[nodiscard]] bool hold(const Endpoint& at);
    /// As a socket of this family names it.
    [[nodiscard]] Endpoint named(const Endpoint& address) const;
    /// Who waits to be accepted is broken. The address is kept.
    void stop_listening();

    Endpoint local_;
    bool holds_ = false;  // local_, in the network
    std::optional<std::size_t> backlog_;
    std::size_t expected_ = 0;
    std::deque<std::shared_ptr<TcpConnection>> waiting_;  // to be accepted
    std::shared_ptr<TcpConnection> connection_;
    bool asked_ = false;  // for it, by connect()
    TcpConnection::Side side_ = TcpConnection::client;
};

}  // namespace green::sim
