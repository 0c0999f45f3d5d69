#include "sim/tcp_net.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <netinet/in.h>

#include "sim/kernel.hpp"
#include "sim/tcp_connection.hpp"
#include "sim/tcp_socket.hpp"

namespace green::sim {
namespace {

constexpr std::uint16_t first_ephemeral = 32'768;  // as Linux has it
constexpr std::uint16_t last_ephemeral = 60'999;
constexpr Duration time_wait = std::chrono::seconds(60);

template <class Change>
Endpoint changed_v4(const Endpoint& endpoint, Change change) {
    sockaddr_in address{};
    std::memcpy(&address, endpoint.address(), sizeof address);
    change(address);
    return Endpoint::from(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

template <class Change>
Endpoint changed_v6(const Endpoint& endpoint, Change change) {
    sockaddr_in6 address{};
    std::memcpy(&address, endpoint.address(), sizeof address);
    change(address);
    return Endpoint::from(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

/// How well a socket at `held` suits `address`, whose port is the same; 0: not at all.
int fit(const TcpSocket& socket, const Endpoint& held, const Endpoint& address) {
    if (held == address) return 3;
    if (!is_wildcard(held)) return 0;
    if (held.family() == address.family()) return 2;
    return address.family() == AF_INET && socket.covers_v4() ? 1 : 0;
}

}  // namespace

bool is_wildcard(const Endpoint& endpoint) noexcept {
    if (endpoint.family() == AF_INET) {
        sockaddr_in address{};
        std::memcpy(&address, endpoint.address(), sizeof address);
        return address.sin_addr.s_addr == htonl(INADDR_ANY);
    }
    sockaddr_in6 address{};
    std::memcpy(&address, endpoint.address(), sizeof address);
    return std::memcmp(&address.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0;
}

Endpoint with_port(const Endpoint& endpoint, std::uint16_t port) {
    if (endpoint.family() == AF_INET) {
        return changed_v4(endpoint, [&](sockaddr_in& to) { to.sin_port = htons(port); });
    }
    return changed_v6(endpoint, [&](sockaddr_in6& to) { to.sin6_port = htons(port); });
}

Endpoint destination(const Endpoint& endpoint) {
    if (!is_wildcard(endpoint)) return endpoint;
    if (endpoint.family() == AF_INET) {
        return changed_v4(endpoint,
                          [](sockaddr_in& to) { to.sin_addr.s_addr = htonl(INADDR_LOOPBACK); });
    }
    return changed_v6(endpoint, [](sockaddr_in6& to) { to.sin6_addr = in6addr_loopback; });
}

Endpoint as_v6(const Endpoint& endpoint) {
    if (endpoint.family() != AF_INET) return endpoint;
    sockaddr_in from{};
    std::memcpy(&from, endpoint.address(), sizeof from);
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = from.sin_port;
    std::memset(&to.sin6_addr.s6_addr[10], 0xFF, 2);
    std::memcpy(&to.sin6_addr.s6_addr[12], &from.sin_addr, sizeof from.sin_addr);
    return Endpoint::from(reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

Endpoint as_v4(const Endpoint& endpoint) {
    if (endpoint.family() != AF_INET6) return endpoint;
    sockaddr_in6 from{};
    std::memcpy(&from, endpoint.address(), sizeof from);
    if (!IN6_IS_ADDR_V4MAPPED(&from.sin6_addr)) return endpoint;
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = from.sin6_port;
    std::memcpy(&to.sin_addr, &from.sin6_addr.s6_addr[12], sizeof to.sin_addr);
    return Endpoint::from(reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

// --- addresses ---

std::uint16_t TcpNet::free_port() {
    for (int tried = 0; tried <= last_ephemeral - first_ephemeral; ++tried) {
        last_port_ = last_port_ >= last_ephemeral ? first_ephemeral
                                                  : static_cast<std::uint16_t>(last_port_ + 1);
        if (!ports_.contains(last_port_)) return last_port_;
    }
    return 0;
}

std::optional<Endpoint> TcpNet::hold(TcpSocket& socket, const Endpoint& wanted) {
    Endpoint at = wanted;
    if (at.port() == 0) {
        const std::uint16_t port = free_port();
        if (port == 0) return std::nullopt;
        at = with_port(at, port);
    } else if (held_against(socket, at) || kept_against(socket, at)) {
        return std::nullopt;
    }
    ports_[at.port()].push_back(&socket);
    return at;
}

bool TcpNet::held_against(const TcpSocket& socket, const Endpoint& at) const {
    const auto found = ports_.find(at.port());
    if (found == ports_.end()) return false;
    const std::vector<TcpSocket*>& holders = found->second;
    return std::any_of(holders.begin(), holders.end(), [&](const TcpSocket* other) {
        const Endpoint held = other->local();
        const bool meet = fit(*other, held, at) > 0 || fit(socket, at, held) > 0;
        return other != &socket && meet &&
               !may_share(socket.sharing(), other->sharing(), other->listens());
    });
}

bool TcpNet::kept_against(const TcpSocket& socket, const Endpoint& at) const {
    const auto forbids = [&](const Endpoint& kept, Sharing sharing) {
        return kept.port() == at.port() && fit(socket, at, kept) > 0 &&
               !may_share(socket.sharing(), sharing, false);
    };
    for (const auto& connection : connections()) {
        for (const auto side : {TcpConnection::client, TcpConnection::server}) {
            if (!connection->keeps_address(side)) continue;
            if (forbids(connection->address(side), connection->sharing(side))) return true;
        }
    }
    const auto found = lingering_.find(at.port());
    if (found == lingering_.end()) return false;
    return std::any_of(found->second.begin(), found->second.end(), [&](const Lingering& one) {
        return kernel_.now() < one.until && forbids(one.address, one.sharing);
    });
}

// Its own connections are no hindrance: a listener that was shut down may listen again.
bool TcpNet::may_listen(const TcpSocket& socket) const {
    return !held_against(socket, socket.local());
}

void TcpNet::let_go(const TcpSocket& socket, const Endpoint& held) noexcept {
    const auto found = ports_.find(held.port());
    if (found == ports_.end()) return;
    std::erase(found->second, &socket);
    if (found->second.empty()) ports_.erase(found);
}

std::shared_ptr<TcpSocket> TcpNet::listener_at(const Endpoint& address) const {
    const auto found = ports_.find(address.port());
    if (found == ports_.end()) return nullptr;
    std::vector<TcpSocket*> best;
    int best_fit = 1;
    for (TcpSocket* socket : found->second) {
        const int its_fit = socket->listens() ? fit(*socket, socket->local(), address) : 0;
        if (its_fit < best_fit) continue;
        if (its_fit > best_fit) best.clear();
        best_fit = its_fit;
        best.push_back(socket);
    }
    if (best.empty()) return nullptr;
    const std::size_t chosen = best.size() == 1 ? 0 : kernel_.random().below(best.size());
    return best[chosen]->shared_from_this();
}

// --- connections ---

void TcpNet::add(const std::shared_ptr<TcpConnection>& connection) {
    if (connections_.size() >= sweep_at_) {
        std::erase_if(connections_, [](const auto& one) { return one.expired(); });
        sweep_at_ = 2 * connections_.size() + 64;
    }
    connections_.push_back(connection);
}

void TcpNet::linger(const Endpoint& address, Sharing sharing) {
    std::vector<Lingering>& there = lingering_[address.port()];
    const TimePoint now = kernel_.now();
    // Of those that are alike the last one counts.
    std::erase_if(there, [&](const Lingering& one) {
        return one.until <= now || (one.address == address && one.sharing == sharing);
    });
    there.push_back({address, sharing, now + time_wait});
}

std::vector<std::shared_ptr<TcpConnection>> TcpNet::connections() const {
    std::vector<std::shared_ptr<TcpConnection>> living;
    for (const auto& one : connections_) {
        if (auto connection = one.lock()) living.push_back(std::move(connection));
    }
    return living;
}

Duration TcpNet::delay(const TcpConnection& connection) {
    Duration least = kernel_.conditions().least_delay;
    Duration most = kernel_.conditions().most_delay;
    for (const Delay& delay : delays_) {
        if (!connection.concerned(delay.where)) continue;
        least = delay.least;
        most = delay.most;
    }
    return kernel_.random().between(least, most);
}

bool TcpNet::is_cut(const TcpConnection& connection) const {
    return std::any_of(cuts_.begin(), cuts_.end(),
                       [&](const Endpoint& where) { return connection.concerned(where); });
}

void TcpNet::set_delay(const Endpoint& where, Duration least, Duration most) {
    std::erase_if(delays_, [&](const Delay& delay) { return delay.where == where; });
    delays_.push_back({where, std::max(Duration{0}, least), std::max(Duration{0}, most)});
}

void TcpNet::cut(const Endpoint& where) {
    cuts_.push_back(where);
    apply_cuts();
}

void TcpNet::heal(const Endpoint& where) {
    std::erase(cuts_, where);
    apply_cuts();
}

void TcpNet::apply_cuts() {
    for (const auto& connection : connections()) connection->hold(is_cut(*connection));
}

void TcpNet::reset(const Endpoint& where) {
    for (const auto& connection : connections()) {
        if (connection->concerned(where)) connection->tear();
    }
}

}  // namespace green::sim
