#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>
#include <stdexcept>

#include <green/endpoint.hpp>

namespace green {
namespace {

constexpr std::size_t path_offset = offsetof(sockaddr_un, sun_path);
constexpr std::size_t path_room = sizeof(sockaddr_un::sun_path);

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
    throw std::invalid_argument("address \"" + std::string(text) + "\": " + std::string(why));
}

template <class Number>
std::optional<Number> number_from(std::string_view digits) noexcept {
    Number number{};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    return number;
}

std::uint16_t parse_port(std::string_view text, std::string_view digits) {
    const auto port = number_from<std::uint16_t>(digits);
    if (!port) refuse(text, "the port must be a number from 0 to 65535, as in 127.0.0.1:8080");
    return *port;
}

}  // namespace

Endpoint Endpoint::parse(std::string_view text) {
    constexpr std::string_view local = "unix:";
    constexpr std::string_view tcp = "tcp://";
    if (text.starts_with(local)) return parse_unix(text, text.substr(local.size()));
    if (text.starts_with(tcp)) return parse_tcp(text, text.substr(tcp.size()));
    if (text.find("://") != text.npos) refuse(text, "the scheme must be tcp:// or unix:");
    if (text.starts_with('/'))
        refuse(text, "write unix:" + std::string(text) + " for a Unix socket");
    return parse_tcp(text, text);
}

Endpoint Endpoint::parse_unix(std::string_view text, std::string_view path) {
    if (path.starts_with("//")) path.remove_prefix(2);  // unix:///run/it.sock
    if (path.empty() || path == "@") refuse(text, "the path is missing, as in unix:/run/it.sock");
    if (path.find('\0') != path.npos) refuse(text, "a path cannot hold a zero byte");
    const bool is_abstract = path.front() == '@';
    // A path is stored with its zero; an abstract name with a zero in place of the '@', and none at
    // its end.
    if (path.size() + (is_abstract ? 0 : 1) > path_room) {
        refuse(text, "a Unix socket's path has at the most " + std::to_string(path_room - 1) +
                         " bytes; choose a shorter directory");
    }
    Endpoint it;
    it.address_.local.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), it.address_.local.sun_path);
    if (is_abstract) it.address_.local.sun_path[0] = '\0';
    it.size_ = static_cast<socklen_t>(path_offset + path.size() + (is_abstract ? 0 : 1));
    return it;
}

Endpoint Endpoint::parse_tcp(std::string_view text, std::string_view rest) {
    Endpoint it;
    if (rest.starts_with('[')) {
        const auto close = rest.find(']');
        if (close == rest.npos || rest.substr(close + 1, 1) != ":") {
            refuse(text, "an IPv6 address is written as [::1]:8080");
        }
        std::string host{rest.substr(1, close - 1)};
        it.address_.v6.sin6_family = AF_INET6;
        it.address_.v6.sin6_port = htons(parse_port(text, rest.substr(close + 2)));
        if (const auto percent = host.find('%'); percent != host.npos) {
            const auto scope =
                number_from<std::uint32_t>(std::string_view{host}.substr(percent + 1));
            if (!scope) refuse(text, "the scope after % must be the interface's number");
            it.address_.v6.sin6_scope_id = *scope;
            host.resize(percent);
        }
        if (::inet_pton(AF_INET6, host.c_str(), &it.address_.v6.sin6_addr) != 1) {
            refuse(text, "\"" + host + "\" is no IPv6 address");
        }
        it.size_ = sizeof(sockaddr_in6);
        return it;
    }
    const auto colon = rest.rfind(':');
    if (colon == rest.npos) refuse(text, "the port is missing, as in 127.0.0.1:8080");
    std::string host{rest.substr(0, colon)};
    if (host.find(':') != host.npos) refuse(text, "an IPv6 address is written as [::1]:8080");
    if (host.empty()) host = "0.0.0.0";
    if (host == "localhost") host = "127.0.0.1";
    it.address_.v4.sin_family = AF_INET;
    it.address_.v4.sin_port = htons(parse_port(text, rest.substr(colon + 1)));
    if (::inet_pton(AF_INET, host.c_str(), &it.address_.v4.sin_addr) != 1) {
        refuse(text, "\"" + host + "\" is no numeric address; names are not looked up here");
    }
    it.size_ = sizeof(sockaddr_in);
    return it;
}

Endpoint Endpoint::from(const sockaddr* address, socklen_t size) {
    const bool fits = size >= sizeof(sa_family_t) && size <= sizeof(Address);
    const int family = fits ? address->sa_family : AF_UNSPEC;
    if (!(family == AF_UNIX || (family == AF_INET && size >= sizeof(sockaddr_in)) ||
          (family == AF_INET6 && size >= sizeof(sockaddr_in6)))) {
        throw std::invalid_argument("a socket address of family " + std::to_string(family) +
                                    " is not supported");
    }
    Endpoint it;
    std::memcpy(&it.address_, address, size);
    it.size_ = size;
    return it;
}

std::uint16_t Endpoint::port() const noexcept {
    if (family() == AF_INET) return ntohs(address_.v4.sin_port);
    if (family() == AF_INET6) return ntohs(address_.v6.sin6_port);
    return 0;
}

std::string_view Endpoint::unix_name() const noexcept {
    const char* name = address_.local.sun_path;
    const std::size_t room = size_ - path_offset;
    if (room == 0) return {};
    return {name, *name == '\0' ? room : ::strnlen(name, room)};
}

std::string Endpoint::path() const {
    if (!is_unix()) return {};
    const std::string_view name = unix_name();
    return name.starts_with('\0') ? std::string{} : std::string{name};
}

std::string Endpoint::text() const {
    if (is_unix()) {
        std::string name{unix_name()};
        if (name.starts_with('\0')) name.front() = '@';
        return "unix:" + name;
    }
    char host[INET6_ADDRSTRLEN] = "";
    const bool v4 = family() == AF_INET;
    const void* from = &address_.v4.sin_addr;
    if (!v4) from = &address_.v6.sin6_addr;
    (void)::inet_ntop(family(), from, host, sizeof host);
    if (v4) return "tcp://" + std::string(host) + ":" + std::to_string(port());
    const auto scope = address_.v6.sin6_scope_id;
    return "tcp://[" + std::string(host) + (scope == 0 ? "" : "%" + std::to_string(scope)) +
           "]:" + std::to_string(port());
}

bool operator==(const Endpoint& a, const Endpoint& b) noexcept {
    if (a.family() != b.family()) return false;
    if (a.is_unix()) return a.unix_name() == b.unix_name();
    if (a.family() == AF_INET) {
        return a.port() == b.port() &&
               a.address_.v4.sin_addr.s_addr == b.address_.v4.sin_addr.s_addr;
    }
    return a.port() == b.port() && a.address_.v6.sin6_scope_id == b.address_.v6.sin6_scope_id &&
           std::memcmp(&a.address_.v6.sin6_addr, &b.address_.v6.sin6_addr, sizeof(in6_addr)) == 0;
}

}  // namespace green
