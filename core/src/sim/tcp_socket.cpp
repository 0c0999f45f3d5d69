#include "sim/tcp_socket.hpp"

#include <algorithm>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <utility>

#include "sim/kernel.hpp"

namespace green::sim {
namespace {

Endpoint any_address(int family) { return Endpoint::parse(family == AF_INET ? ":0" : "[::]:0"); }

}  // namespace

TcpSocket::TcpSocket(Kernel& kernel, int family)
    : Socket{kernel, family}, local_{any_address(family)} {}

bool TcpSocket::hold(const Endpoint& at) {
    const auto held = kernel_.tcp().hold(*this, at);
    if (!held) return false;
    local_ = *held;
    holds_ = true;
    return true;
}

bool TcpSocket::covers_v4() const {
    return family() == AF_INET6 && !option_set(IPPROTO_IPV6, IPV6_V6ONLY);
}

Sharing TcpSocket::sharing() const {
    return {option_set(SOL_SOCKET, SO_REUSEADDR), option_set(SOL_SOCKET, SO_REUSEPORT)};
}

Endpoint TcpSocket::named(const Endpoint& address) const {
    return family() == AF_INET6 ? as_v6(address) : address;
}

sys::Outcome TcpSocket::bind(const Endpoint& at) {
    if (holds_ || connection_ != nullptr) return failed(EINVAL);
    return hold(at) ? done() : failed(EADDRINUSE);
}

sys::Outcome TcpSocket::listen(int backlog) {
    if (connection_ != nullptr) return failed(EINVAL);
    const bool may = listens() || (holds_ ? kernel_.tcp().may_listen(*this) : hold(local_));
    if (!may) return failed(EADDRINUSE);
    // As Linux: unsigned, and at the most net.core.somaxconn.
    backlog_ = std::min<std::size_t>(static_cast<unsigned>(backlog), SOMAXCONN);
    return done();
}

Socket::Accepted TcpSocket::accept() {
    if (!listens()) return {nullptr, EINVAL};
    if (waiting_.empty()) return {nullptr, EAGAIN};
    if (kernel_.stumbles()) {
        changed();
        return {nullptr, EAGAIN};
    }
    auto socket = std::make_shared<TcpSocket>(kernel_, family());
    socket->connection_ = std::move(waiting_.front());
    waiting_.pop_front();
    socket->side_ = TcpConnection::server;
    socket->local_ = named(socket->connection_->address(TcpConnection::server));
    socket->inherit_options(*this);
    socket->connection_->accepted(*socket);
    const Endpoint from = named(socket->connection_->address(TcpConnection::client));
    return {std::move(socket), 0, from};
}

sys::Outcome TcpSocket::connect(const Endpoint& to) {
    if (listens()) return failed(EISCONN);
    if (asked_) {  // and not yet told what came of it
        if (connection_->opening(side_)) return failed(EALREADY);
        asked_ = false;
        if (!connection_->dead(side_)) return done();
        const int error = std::exchange(connection_, nullptr)->take_error(side_);
        return failed(error != 0 ? error : ECONNABORTED);
    }
    if (connection_ != nullptr) return failed(EISCONN);
    const Endpoint there = destination(to);
    if (!holds_ && !hold(with_port(there, 0))) return failed(EADDRNOTAVAIL);
    if (is_wildcard(local_)) local_ = with_port(there, local_.port());
    connection_ = std::make_shared<TcpConnection>(kernel_, local_, there);
    asked_ = true;
    kernel_.tcp().add(connection_);
    connection_->open(*this);
    return failed(EINPROGRESS);  // even where the answer has come already
}

sys::Outcome TcpSocket::shutdown(int how) {
    if (listens()) {
        if (how != SHUT_WR) {
            stop_listening();
            changed();
        }
        return done();
    }
    return connection_ == nullptr ? failed(ENOTCONN) : connection_->shutdown(side_, how);
}

sys::Outcome TcpSocket::receive(std::span<const iovec> into, bool peek) {
    return connection_ == nullptr ? failed(ENOTCONN) : connection_->receive(side_, into, peek);
}

sys::Outcome TcpSocket::send(std::span<const iovec> from) {
    return connection_ == nullptr ? failed(EPIPE) : connection_->send(side_, from);
}

std::optional<Endpoint> TcpSocket::peer() const {
    if (connection_ == nullptr || connection_->opening(side_) || connection_->dead(side_)) {
        return std::nullopt;
    }
    return named(connection_->address(side_ == TcpConnection::client ? TcpConnection::server
                                                                     : TcpConnection::client));
}

std::uint32_t TcpSocket::events() {
    if (listens()) return waiting_.empty() ? 0 : POLLIN;
    return connection_ == nullptr ? POLLOUT | POLLHUP : connection_->events(side_);
}

void TcpSocket::closed() {
    if (holds_) kernel_.tcp().let_go(*this, local_);
    stop_listening();
    if (connection_ != nullptr) connection_->close(side_, closes_hard());
}

int TcpSocket::take_error() { return connection_ == nullptr ? 0 : connection_->take_error(side_); }

// --- listening ---

void TcpSocket::stop_listening() {
    backlog_.reset();
    for (const auto& connection : waiting_) connection->close(TcpConnection::server, true);
    waiting_.clear();
}

bool TcpSocket::expect() noexcept {
    if (waiting_.size() + expected_ > *backlog_) return false;
    ++expected_;
    return true;
}

void TcpSocket::arrived(std::shared_ptr<TcpConnection> connection) {
    --expected_;
    waiting_.push_back(std::move(connection));
    changed();
}

}  // namespace green::sim
