#pragma once
// Calls of the kernel as its tests make them, on bare descriptors.

#include <cerrno>
#include <poll.h>
#include <string>
#include <string_view>
#include <utility>

#include <green/fd.hpp>
#include <green/socket.hpp>
#include <green/sys.hpp>

namespace tests::kernel {

using namespace green;
using namespace std::chrono_literals;

inline const Endpoint loopback = Endpoint::parse("127.0.0.1:0");

inline Fd fresh(int family) {
    return Fd{static_cast<int>(sys::must(sys::socket(family, SOCK_STREAM), "socket"))};
}

inline int events_of(const Fd& fd) {
    pollfd one{fd.number(), POLLIN | POLLOUT | POLLRDHUP, 0};
    (void)sys::poll(&one, 1, 0);
    return one.revents;
}

inline int option(const Fd& fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    const sys::Outcome got = sys::getsockopt(fd.number(), level, name, &value, size);
    return got.ok() ? value : -got.error;
}

inline int recv_error(const Fd& fd) {
    char byte;
    return sys::recv(fd.number(), &byte, 1).error;
}

/// What recv gives: "bytes", "" at the end, the errno.
inline std::string received(const Fd& fd) {
    char buffer[64];
    const sys::Outcome got = sys::recv(fd.number(), buffer, sizeof buffer);
    return got.ok() ? std::string(buffer, got.as_size()) : std::to_string(got.error);
}

inline sys::Outcome send(const Fd& fd, std::string_view text) {
    return sys::send(fd.number(), text.data(), text.size());
}

struct Pair {
    Fd a, b;
};

inline Pair connected(bool tcp) {
    if (!tcp) {
        auto [a, b] = Stream::pair();
        return {Fd{a.fd().release()}, Fd{b.fd().release()}};
    }
    Listener listener = Listener::bind(loopback);
    Stream client = Stream::connect(listener.local(), 5s);
    Stream server = listener.accept();
    return {Fd{client.fd().release()}, Fd{server.fd().release()}};
}

}  // namespace tests::kernel
