#pragma once
// What all simulated sockets have.

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <green/endpoint.hpp>

#include "sim/file.hpp"

namespace green::sim {

class Socket : public File {
 public:
    /// A connection, or why there is none.
    struct Accepted {
        std::shared_ptr<Socket> socket;
        int error = 0;
        std::optional<Endpoint> from{};  // also when it is broken by now
    };

    Socket(Kernel& kernel, int family) noexcept : File{kernel}, family_{family} {}

    [[nodiscard]] mode_t type() const noexcept override { return S_IFSOCK; }
    [[nodiscard]] Socket* as_socket() noexcept override { return this; }
    sys::Outcome read(std::span<const iovec> into) override { return receive(into, false); }
    sys::Outcome write(std::span<const iovec> from) override { return send(from); }
    [[nodiscard]] int family() const noexcept { return family_; }

    virtual sys::Outcome bind(const Endpoint& at) = 0;
    virtual sys::Outcome listen(int backlog) = 0;
    virtual Accepted accept() = 0;
    virtual sys::Outcome connect(const Endpoint& to) = 0;
    virtual sys::Outcome shutdown(int how) = 0;
    virtual sys::Outcome receive(std::span<const iovec> into, bool peek) = 0;
    virtual sys::Outcome send(std::span<const iovec> from) = 0;
    [[nodiscard]] virtual bool listens() const noexcept = 0;
    [[nodiscard]] virtual Endpoint local() const = 0;
    [[nodiscard]] virtual std::optional<Endpoint> peer() const = 0;

    sys::Outcome get_option(int level, int option, void* value, socklen_t& size);
    sys::Outcome set_option(int level, int option, const void* value, socklen_t size);

 protected:
    /// SO_ERROR, which reading clears.
    virtual int take_error() = 0;
    /// SO_LINGER with a time of 0: closing breaks the connection.
    [[nodiscard]] bool closes_hard() const noexcept {
        return linger_.l_onoff != 0 && linger_.l_linger == 0;
    }
    [[nodiscard]] bool option_set(int level, int option) const;
    void inherit_options(const Socket& from);

 private:
    int family_;
    linger linger_{};
    std::map<std::pair<int, int>, int> options_;
};

/// The address that a caller gives; nothing when it is none of this family.
[[nodiscard]] std::optional<Endpoint> address_of(int family, const sockaddr* address,
                                                 socklen_t size);
/// Writes an address where a caller wants it, cut to its room, and its whole size.
void store(const Endpoint& address, sockaddr* into, socklen_t& size) noexcept;

}  // namespace green::sim
