#pragma once

#include <cstdint>
#include <netinet/in.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>

namespace green {

/// The address of a socket: IPv4, IPv6 or Unix. Numeric; names are a resolver's business.
class Endpoint {
 public:
    /// Reads any of
    ///
    ///     tcp://127.0.0.1:8080    127.0.0.1:8080    [::1]:8080    [fe80::1%2]:8080
    ///     :8080                   every IPv4 address of the machine
    ///     localhost:8080          127.0.0.1
    ///     unix:/run/it.sock       unix:@name (of Linux, without a file)
    ///
    /// Port 0 lets the system choose. Throws std::invalid_argument, whose text quotes `text` and
    /// says what is expected.
    [[nodiscard]] static Endpoint parse(std::string_view text);

    /// An address as the system gives it. Throws std::invalid_argument for another family.
    [[nodiscard]] static Endpoint from(const sockaddr* address, socklen_t size);

    [[nodiscard]] const sockaddr* address() const noexcept { return &address_.any; }
    [[nodiscard]] socklen_t size() const noexcept { return size_; }
    [[nodiscard]] int family() const noexcept { return address_.any.sa_family; }

    [[nodiscard]] bool is_unix() const noexcept { return family() == AF_UNIX; }
    /// 0 for a Unix socket.
    [[nodiscard]] std::uint16_t port() const noexcept;
    /// The file of a Unix socket; empty when it has none.
    [[nodiscard]] std::string path() const;

    /// With its scheme, such that parse() gives the same again; "unix:" for a Unix socket without a
    /// name.
    [[nodiscard]] std::string text() const;

    friend bool operator==(const Endpoint& a, const Endpoint& b) noexcept;

 private:
    Endpoint() noexcept : address_{} {}

    [[nodiscard]] static Endpoint parse_unix(std::string_view text, std::string_view path);
    [[nodiscard]] static Endpoint parse_tcp(std::string_view text, std::string_view rest);
    [[nodiscard]] std::string_view unix_name() const noexcept;

    union Address {
        sockaddr_un local;  // the largest, so that it is all zeros at first
        sockaddr_in v4;
        sockaddr_in6 v6;
        sockaddr any;
    } address_;
    socklen_t size_ = 0;
};

}  // namespace green
