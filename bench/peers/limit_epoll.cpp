// The limit of tcp servers: edge-triggered epoll and one buffer for all connections. It keeps
// nothing for a connection; an answer that does not fit into the socket at once ends it.
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

#include "server.hpp"

namespace {

void watch(int epoll, int socket) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    event.data.fd = socket;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) != 0)
        throw std::system_error(errno, std::generic_category(), "epoll_ctl");
}

void accept_all(int epoll, int listener) {
    int socket = 0;
    while ((socket = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        watch(epoll, socket);
}

void echo(int socket, bool ends) {
    static std::array<std::byte, 1024> buffer;
    for (;;) {
        const auto size = ::recv(socket, buffer.data(), buffer.size(), 0);
        if (size < 0 && errno == EAGAIN) return;
        if (size <= 0 ||
            ::send(socket, buffer.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL) != size) {
            ::close(socket);
            return;
        }
        // There is no more, unless the end: it may have been reported together with this.
        if (static_cast<std::size_t>(size) < buffer.size() && !ends) return;
    }
}

}  // namespace

int main() {
    const int listener = bench::listen_and_tell();
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, listener);
    std::array<epoll_event, 1024> events;
    for (;;) {
        const int ready = ::epoll_wait(epoll, events.data(), int{events.size()}, -1);
        if (ready < 0) throw std::system_error(errno, std::generic_category(), "epoll_wait");
        for (const auto& event : std::span{events}.first(static_cast<std::size_t>(ready))) {
            if (event.data.fd == listener) {
                accept_all(epoll, listener);
            } else {
                echo(event.data.fd, (event.events & ~std::uint32_t{EPOLLIN}) != 0);
            }
        }
    }
}
