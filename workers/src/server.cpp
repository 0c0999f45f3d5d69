#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include <green/context.hpp>
#include <green/log.hpp>
#include <green/server.hpp>
#include <green/shield.hpp>

namespace green {
namespace {

constexpr Duration first_pause = std::chrono::milliseconds(10);
constexpr Duration longest_pause = std::chrono::seconds(1);
// Connections taken in one go: the handlers of the first ones should not wait for a whole storm to
// be accepted.
constexpr int burst = 64;

std::string peer_of(const Stream& stream) {
    try {
        return stream.peer().text();
    } catch (const std::system_error&) {  // it is gone already
        return "a client that is gone";
    }
}

}  // namespace

StreamServer::StreamServer(std::string_view at, Handler handler)
    : StreamServer{Listener::bind(Endpoint::parse(at)), std::move(handler)} {}

StreamServer::StreamServer(Listener listener, Handler handler)
    : handler_{std::move(handler)}, listener_{std::move(listener)}, endpoint_{listener_.local()} {}

void StreamServer::start() {
    if (closed_.is_set() || !listener_.is_open() || !acceptor_.empty()) return;
    // It serves on when the time that its start was given is over.
    const Context::Scope unlimited{Context::current().without_deadline()};
    acceptor_.spawn([this] { accept_all(); }).set_name("acceptor");
}

void StreamServer::stop_accepting() {
    acceptor_.kill();  // where it waits: it takes no more
}

void StreamServer::finish_accepting() {
    stop_accepting();
    try {
        // Not for ever: clients that connect as fast as we take belong to the other processes.
        for (int taken = 0; taken < 65536 && listener_.is_open() && accept_one(); ++taken) {
        }
    } catch (const std::system_error& error) {
        log::warning("server.accept_failed", {{"at", "drain"}, {"error", error.what()}});
    }
    listener_.close();
}

void StreamServer::accept_all() {
    for (;;) {
        try {
            take(listener_.accept());
            for (int taken = 1; taken < burst && accept_one(); ++taken) {
            }
            yield();
        } catch (const std::system_error& error) {
            const int code = error.code().value();
            if (code == EBADF || code == EINVAL || code == ENOTSOCK)
                return;  // the listener is gone
            pause_ = std::clamp(2 * pause_, first_pause, longest_pause);
            log::warning("server.accept_failed", {{"error", error.what()}});
            sleep(pause_);
        }
    }
}

bool StreamServer::accept_one() {
    std::optional<Stream> stream = listener_.try_accept();
    if (stream) take(std::move(*stream));
    return stream.has_value();
}

void StreamServer::take(Stream stream) {
    pause_ = {};
    connections_.spawn([this, mine = std::move(stream)]() mutable { serve(std::move(mine)); });
}

void StreamServer::serve(Stream stream) {
    const std::string peer = peer_of(stream);
    try {
        handler_(std::move(stream));
    } catch (...) {
        current().set_name("connection from " + peer);
        throw;
    }
}

void StreamServer::serve_forever() {
    struct Closing {
        ~Closing() {
            const Shield shield;  // whoever kills us meant the server
            server.close();
        }
        StreamServer& server;
    } closing{*this};
    start();
    closed_.wait();
}

bool StreamServer::drain(Deadline deadline) {
    finish_accepting();
    const bool served = join(deadline);
    close();
    return served;
}

void StreamServer::close() {
    stop_accepting();
    listener_.close();
    connections_.kill();
    closed_.set();
}

}  // namespace green
