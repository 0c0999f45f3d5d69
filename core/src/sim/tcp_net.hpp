#pragma once
// The TCP network of a simulation: who listens where, and how what is sent gets there.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <green/deadline.hpp>
#include <green/endpoint.hpp>

#include "sim/sharing.hpp"

namespace green::sim {

class Kernel;
class TcpConnection;
class TcpSocket;

class TcpNet {
 public:
    explicit TcpNet(Kernel& kernel) noexcept : kernel_{kernel} {}

    // For sockets. Ports are held until let go.
    /// Holds an address for a socket, with a port of its own choice for port 0; nothing when the
    /// address is in use.
    [[nodiscard]] std::optional<Endpoint> hold(TcpSocket& socket, const Endpoint& wanted);
    void let_go(const TcpSocket& socket, const Endpoint& held) noexcept;
    /// Whether a socket may begin to listen where it is: not beside another one that does, say.
    [[nodiscard]] bool may_listen(const TcpSocket& socket) const;
    /// Who listens there, on the address itself or on all addresses. Of several that share it
    /// chance takes one.
    [[nodiscard]] std::shared_ptr<TcpSocket> listener_at(const Endpoint& address) const;

    // For connections.
    void add(const std::shared_ptr<TcpConnection>& connection);
    /// The end of a connection that ended first keeps its address for a minute (TIME_WAIT).
    void linger(const Endpoint& address, Sharing sharing);
    [[nodiscard]] Duration delay(const TcpConnection& connection);
    [[nodiscard]] bool is_cut(const TcpConnection& connection) const;

    // For the test.
    void set_delay(const Endpoint& where, Duration least, Duration most);
    void cut(const Endpoint& where);
    void heal(const Endpoint& where);
    void reset(const Endpoint& where);

 private:
    struct Delay {
        Endpoint where;
        Duration least, most;
    };
    struct Lingering {
        Endpoint address;
        Sharing sharing;
        TimePoint until;
    };

    /// A socket that holds the address forbids it to another one.
    [[nodiscard]] bool held_against(const TcpSocket& socket, const Endpoint& at) const;
    /// The same for connections whose sockets have gone, or have come from a listener.
    [[nodiscard]] bool kept_against(const TcpSocket& socket, const Endpoint& at) const;
    [[nodiscard]] std::vector<std::shared_ptr<TcpConnection>> connections() const;
    void apply_cuts();
    [[nodiscard]] std::uint16_t free_port();

    Kernel& kernel_;
    std::map<std::uint16_t, std::vector<TcpSocket*>> ports_;
    std::uint16_t last_port_ = 32'767;
    std::vector<std::weak_ptr<TcpConnection>> connections_;
    std::map<std::uint16_t, std::vector<Lingering>> lingering_;  // by port
    std::size_t sweep_at_ = 64;  // so many entries, then those of dead connections go
    std::vector<Delay> delays_;  // the last that concerns a connection counts
    std::vector<Endpoint> cuts_;
};

/// Every address of the machine: 0.0.0.0 or [::].
[[nodiscard]] bool is_wildcard(const Endpoint& endpoint) noexcept;
[[nodiscard]] Endpoint with_port(const Endpoint& endpoint, std::uint16_t port);
/// The address that a connection to `endpoint` really goes to: a wildcard means this machine.
[[nodiscard]] Endpoint destination(const Endpoint& endpoint);
/// How IPv6 writes an address of IPv4 (::ffff:127.0.0.1), and the other way round. Any other stays.
[[nodiscard]] Endpoint as_v6(const Endpoint& endpoint);
[[nodiscard]] Endpoint as_v4(const Endpoint& endpoint);

}  // namespace green::sim
