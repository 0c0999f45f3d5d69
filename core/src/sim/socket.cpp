#include "sim/socket.hpp"

#include <algorithm>
#include <cstring>
#include <netinet/tcp.h>
#include <stdexcept>
#include <unistd.h>

#include "sim/kernel.hpp"

namespace green::sim {
namespace {

/// As the kernel does: what does not fit is cut off.
sys::Outcome give(const void* from, std::size_t size, void* into, socklen_t& room) noexcept {
    room = static_cast<socklen_t>(std::min<std::size_t>(room, size));
    std::memcpy(into, from, room);
    return done();
}

// As most kernels have them (net.core.rmem_max and wmem_max, net.ipv4.tcp_rmem and tcp_wmem); the
// least ones are what a packet needs.
constexpr int most_asked_buffer = 212'992;
constexpr int least_receive_buffer = 2304;
constexpr int least_send_buffer = 4608;
constexpr int unix_buffer = 212'992;
constexpr int tcp_receive_buffer = 131'072;
constexpr int tcp_send_buffer = 16'384;

bool is_buffer_size(int level, int option) noexcept {
    return level == SOL_SOCKET && (option == SO_RCVBUF || option == SO_SNDBUF);
}

/// What Linux makes of a size that was asked for: as much again for its own needs. Below 0 is much.
int granted_buffer(int option, int asked) noexcept {
    const int least = option == SO_RCVBUF ? least_receive_buffer : least_send_buffer;
    const int most = asked < 0 ? most_asked_buffer : std::min(asked, most_asked_buffer);
    return std::max(2 * most, least);
}

sys::Outcome give_int(int from, void* into, socklen_t& room) noexcept {
    return give(&from, sizeof from, into, room);
}

}  // namespace

sys::Outcome Socket::get_option(int level, int option, void* value, socklen_t& size) {
    if (level == SOL_SOCKET) {
        switch (option) {
            case SO_ERROR:
                return give_int(take_error(), value, size);
            case SO_ACCEPTCONN:
                return give_int(listens() ? 1 : 0, value, size);
            case SO_DOMAIN:
                return give_int(family_, value, size);
            case SO_TYPE:
                return give_int(SOCK_STREAM, value, size);
            case SO_PROTOCOL:
                return give_int(family_ == AF_UNIX ? 0 : IPPROTO_TCP, value, size);
            case SO_LINGER:
                return give(&linger_, sizeof linger_, value, size);
            case SO_PEERCRED: {
                if (family_ != AF_UNIX) break;
                const ucred peer{::getpid(), ::getuid(), ::getgid()};  // everybody is this process
                return give(&peer, sizeof peer, value, size);
            }
            case SO_KEEPALIVE:
            case SO_REUSEADDR:
            case SO_REUSEPORT:
                return give_int(option_set(level, option) ? 1 : 0, value, size);
            default:
                break;
        }
    }
    if (is_buffer_size(level, option)) {
        const int tcp = option == SO_RCVBUF ? tcp_receive_buffer : tcp_send_buffer;
        const auto asked = options_.find({level, option});
        const int otherwise = family_ == AF_UNIX ? unix_buffer : tcp;
        return give_int(asked == options_.end() ? otherwise : asked->second, value, size);
    }
    if (level == IPPROTO_TCP && family_ == AF_UNIX) return failed(EOPNOTSUPP);
    if (level == IPPROTO_TCP && option == TCP_NODELAY) {
        return give_int(option_set(level, option) ? 1 : 0, value, size);
    }
    const auto found = options_.find({level, option});
    return found == options_.end() ? failed(ENOPROTOOPT) : give_int(found->second, value, size);
}

sys::Outcome Socket::set_option(int level, int option, const void* value, socklen_t size) {
    if (level == IPPROTO_TCP && family_ == AF_UNIX) return failed(EOPNOTSUPP);
    if (level == SOL_SOCKET && option == SO_LINGER) {
        if (size < sizeof linger_) return failed(EINVAL);
        std::memcpy(&linger_, value, sizeof linger_);
        return done();
    }
    int number = 0;
    if (size < sizeof number) return failed(EINVAL);
    std::memcpy(&number, value, sizeof number);
    if (is_buffer_size(level, option)) number = granted_buffer(option, number);
    options_[{level, option}] = number;
    return done();
}

bool Socket::option_set(int level, int option) const {
    const auto found = options_.find({level, option});
    return found != options_.end() && found->second != 0;
}

void Socket::inherit_options(const Socket& from) {
    linger_ = from.linger_;
    options_ = from.options_;
}

std::optional<Endpoint> address_of(int family, const sockaddr* address, socklen_t size) {
    if (address == nullptr || size < sizeof(sa_family_t) || address->sa_family != family) {
        return std::nullopt;
    }
    try {
        return Endpoint::from(address, size);
    } catch (const std::invalid_argument&) {  // cut short
        return std::nullopt;
    }
}

void store(const Endpoint& address, sockaddr* into, socklen_t& size) noexcept {
    std::memcpy(into, address.address(), std::min(size, address.size()));
    size = address.size();
}

}  // namespace green::sim
