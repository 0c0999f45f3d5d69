// Peer libev: an echo server of callbacks, with one buffer for all connections.
#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <sys/socket.h>
#include <unistd.h>

#include <ev.h>

#include "server.hpp"

namespace {

void echo(struct ev_loop* loop, ev_io* watcher, int) noexcept {
    static std::array<std::byte, 1024> buffer;
    const auto size = ::recv(watcher->fd, buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size > 0 &&
        ::send(watcher->fd, buffer.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL) == size)
        return;
    const std::unique_ptr<ev_io> connection{watcher};
    ev_io_stop(loop, watcher);
    ::close(watcher->fd);
}

void accept_all(struct ev_loop* loop, ev_io* listener, int) noexcept {
    int socket = 0;
    while ((socket = ::accept4(listener->fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
           0) {
        auto connection = std::make_unique<ev_io>();
        ev_io_init(connection.get(), echo, socket, EV_READ);
        ev_io_start(loop, connection.release());  // echo() frees it
    }
}

}  // namespace

int main() {
    struct ev_loop* const loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io listener;
    ev_io_init(&listener, accept_all, bench::listen_and_tell(), EV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
}
