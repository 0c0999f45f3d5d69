#include "bound_socket.hpp"

#include <cerrno>
#include <system_error>

#include <green/sys.hpp>

#include "refusal.hpp"

namespace greensup {
namespace {

std::string hint_for(int error, const std::string& address) {
    if (error == EADDRINUSE)
        return "another program listens there; see who with: ss -lpn, or choose another address";
    if (error == EACCES) return "ports below 1024 need root or CAP_NET_BIND_SERVICE";
    if (error == EADDRNOTAVAIL) return "this machine has no such address: " + address;
    return {};
}

green::Listener listen_at(const SocketConfig& config) {
    const auto address = to_text(config.listen);
    const auto key = "sockets." + config.name + ".listen";
    const auto what = "cannot listen on " + address + ": ";
    try {
        return green::Listener::bind(green::Endpoint::parse(address), config.backlog);
    } catch (const std::system_error& error) {
        throw Refusal::at(key, Code::address, what + error.code().message(),
                          hint_for(error.code().value(), address));
    } catch (const std::invalid_argument& error) {
        throw Refusal::at(key, Code::address, what + error.what(), "write the address in numbers");
    }
}

}  // namespace

std::shared_ptr<BoundSocket> BoundSocket::bind(const SocketConfig& config) {
    return std::make_shared<BoundSocket>(config);
}

BoundSocket::BoundSocket(const SocketConfig& config)
    : name_{config.name},
      listener_{listen_at(config)},
      address_{listener_.local().text()},
      path_{listener_.local().path()} {}

BoundSocket::~BoundSocket() {
    if (!path_.empty()) (void)green::sys::unlink(path_.c_str());
}

void BoundSocket::set_backlog(int backlog) {
    const auto changed = green::sys::listen(descriptor(), backlog);
    if (!changed.ok())
        throw Refusal::at("sockets." + name_ + ".backlog", Code::address,
                          "cannot set the backlog of " + address_ + ": " +
                              std::generic_category().message(changed.error));
}

}  // namespace greensup
