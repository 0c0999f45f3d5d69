#include "sim/unix_socket.hpp"

#include <algorithm>
#include <poll.h>
#include <sys/socket.h>

#include "sim/kernel.hpp"

namespace green::sim {
namespace {

Endpoint no_name() {
    const sockaddr_un address{AF_UNIX, {}};
    return Endpoint::from(reinterpret_cast<const sockaddr*>(&address), sizeof(sa_family_t));
}

}  // namespace

std::pair<std::shared_ptr<UnixSocket>, std::shared_ptr<UnixSocket>> UnixSocket::pair(
    Kernel& kernel) {
    auto first = std::make_shared<UnixSocket>(kernel);
    auto second = std::make_shared<UnixSocket>(kernel);
    first->join(*second);
    return {std::move(first), std::move(second)};
}

void UnixSocket::join(UnixSocket& other) {
    for (UnixSocket* one : {this, &other}) {
        one->connected_ = true;
        one->capacity_ = kernel_.buffer_size();
    }
    peer_ = &other;
    other.peer_ = this;
    peer_name_ = other.local();
    other.peer_name_ = local();
}

// --- names and connections ---

Endpoint UnixSocket::local() const { return name_ ? *name_ : no_name(); }

std::optional<Endpoint> UnixSocket::peer() const { return connected_ ? peer_name_ : std::nullopt; }

sys::Outcome UnixSocket::bind(const Endpoint& at) {
    if (name_ || at.size() <= sizeof(sa_family_t)) return failed(EINVAL);
    if (!kernel_.unix_names().hold(*this, at)) return failed(EADDRINUSE);
    name_ = at;
    holds_ = true;
    return done();
}

sys::Outcome UnixSocket::listen(int backlog) {
    if (connected_ || !name_) return failed(EINVAL);
    backlog_ = std::min<std::size_t>(static_cast<unsigned>(backlog), SOMAXCONN);
    return done();
}

sys::Outcome UnixSocket::connect(const Endpoint& to) {
    if (listens()) return failed(EINVAL);
    if (connected_) return failed(EISCONN);
    UnixSocket* const listener = kernel_.unix_names().find(to);
    if (listener == nullptr || !listener->listens() || listener->read_shut_) {
        const bool no_file = !to.path().empty() && !kernel_.unix_names().has(to);
        return failed(no_file ? ENOENT : ECONNREFUSED);
    }
    if (listener->waiting_.size() > *listener->backlog_) return failed(EAGAIN);
    auto server = std::make_shared<UnixSocket>(kernel_);
    server->name_ = listener->name_;
    join(*server);
    listener->waiting_.push_back(std::move(server));
    listener->changed();
    return done();
}

Socket::Accepted UnixSocket::accept() {
    if (!listens()) return {nullptr, EINVAL};
    if (waiting_.empty()) return {nullptr, EAGAIN};
    if (kernel_.stumbles()) {
        changed();
        return {nullptr, EAGAIN};
    }
    const std::shared_ptr<UnixSocket> socket = std::move(waiting_.front());
    waiting_.pop_front();
    return {socket, 0, socket->peer_name_};
}

void UnixSocket::closed() {
    if (holds_) kernel_.unix_names().let_go(*this, *name_);
    backlog_.reset();
    for (const auto& server : std::exchange(waiting_, {})) {
        if (server->peer_ != nullptr) server->peer_->error_ = ECONNRESET;
        server->closed();
    }
    if (peer_ == nullptr) return;
    if (!inbox_.empty()) peer_->error_ = ECONNRESET;
    peer_->peer_ = nullptr;
    peer_->shut(true, true);
    peer_ = nullptr;
}

void UnixSocket::shut(bool reading, bool writing) {
    read_shut_ |= reading;
    write_shut_ |= writing;
    changed();
}

sys::Outcome UnixSocket::shutdown(int how) {
    const bool reading = how != SHUT_WR;
    const bool writing = how != SHUT_RD;
    shut(reading, writing);
    if (peer_ != nullptr) peer_->shut(writing, reading);
    return done();
}

// --- bytes ---

bool UnixSocket::writable() const noexcept {
    return peer_ == nullptr || peer_->held_ * 4 <= capacity_;  // the kernel's rule
}

sys::Outcome UnixSocket::send(std::span<const iovec> from) {
    if (!connected_) return failed(ENOTCONN);
    if (write_shut_ || peer_ == nullptr) return failed(EPIPE);
    const std::size_t size = total_size(from);
    if (size == 0) return done();
    if (peer_->held_ >= capacity_) return failed(EAGAIN);
    if (kernel_.stumbles()) {
        changed();
        return failed(EAGAIN);
    }
    // Piece by piece, as long as there is some memory; the last piece may take more than that.
    const std::size_t most_piece = std::max<std::size_t>(1, capacity_ / 2);
    std::size_t possible = 0;
    std::size_t holds = peer_->held_;
    while (possible < size && holds < capacity_) {
        const std::size_t piece = std::min(size - possible, most_piece);
        possible += piece;
        holds += piece;
    }
    const std::size_t moved = kernel_.moved(possible);
    const std::string bytes = gathered(from, moved);
    for (std::size_t at = 0; at < moved; at += most_piece) {
        peer_->add(std::string_view{bytes}.substr(at, most_piece));
    }
    peer_->changed();
    if (moved < possible) changed();
    return done(moved);
}

void UnixSocket::add(std::string_view bytes) {
    inbox_.append(bytes);
    pieces_.push_back({bytes.size(), bytes.size()});
    held_ += bytes.size();
}

sys::Outcome UnixSocket::receive(std::span<const iovec> into, bool peek) {
    if (!connected_) return failed(EINVAL);
    if (!inbox_.empty()) {
        if (kernel_.stumbles()) {
            changed();
            return failed(EAGAIN);
        }
        const std::size_t possible = inbox_.peek(into, inbox_.size());
        if (peek || possible == 0) return done(possible);
        const std::size_t got = kernel_.moved(possible);
        if (drop(got) && peer_ != nullptr && peer_->writable()) peer_->changed();
        return done(got);
    }
    if (error_ != 0) return failed(std::exchange(error_, 0));
    return read_shut_ ? done() : failed(EAGAIN);
}

bool UnixSocket::drop(std::size_t count) {
    inbox_.drop(count);
    const std::size_t before = pieces_.size();
    while (count > 0) {
        Piece& first = pieces_.front();
        const std::size_t some = std::min(count, first.left);
        first.left -= some;
        count -= some;
        if (first.left > 0) break;
        held_ -= first.size;
        pieces_.pop_front();
    }
    return pieces_.size() < before;
}

std::uint32_t UnixSocket::events() {
    const bool neither = !connected_ && !listens();
    std::uint32_t events = 0;
    if (error_ != 0) events |= POLLERR;
    if (neither || (read_shut_ && write_shut_)) events |= POLLHUP;
    if (read_shut_) events |= POLLIN | POLLRDHUP;
    if (!inbox_.empty() || !waiting_.empty()) events |= POLLIN;
    if (!listens() && writable()) events |= POLLOUT;
    return events;
}

std::uint32_t SocketFile::events() { return POLLNVAL; }

}  // namespace green::sim
