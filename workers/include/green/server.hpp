#pragma once

#include <functional>
#include <string_view>

#include <green/deadline.hpp>
#include <green/event.hpp>
#include <green/group.hpp>
#include <green/socket.hpp>

namespace green {

/// Accepts connections and runs a handler in a greenlet for each.
///
///     green::StreamServer echo{"127.0.0.1:7000", [](green::TcpStream peer) {
///         std::array<std::byte, 4096> buffer;
///         while (auto n = peer.read_some(buffer)) peer.write_all({buffer.data(), n});
///     }};
///     echo.serve_forever();
///
/// The connection is closed when the handler returns or throws; what it throws is reported by the
/// hub under the name "connection from ADDRESS". Where connections cannot be accepted (no
/// descriptors, no memory) it tries again after 10 ms, doubling to 1 s.
class StreamServer {
 public:
    using Handler = std::function<void(Stream)>;

    /// Listens from here on: clients can connect and wait. Throws as Listener::bind and
    /// Endpoint::parse.
    StreamServer(std::string_view at, Handler handler);
    StreamServer(Listener listener, Handler handler);
    StreamServer(const StreamServer&) = delete;
    StreamServer& operator=(const StreamServer&) = delete;
    /// As close().
    ~StreamServer() = default;

    /// Begins to accept, or goes on after stop_accepting(). Silent when it accepts, and after
    /// close().
    void start();
    /// The system keeps what comes from now on waiting, for start() or for other processes on the
    /// same socket. Switches, unless it does not accept anyway.
    void stop_accepting();
    /// Takes what has come up to now and gives the listener up, which lives on in other processes.
    /// Switches.
    void finish_accepting();

    /// Accepts until somebody calls close() or drain(), and until that is done; also when that was
    /// before. Switches. Ends by closing, also when it is killed.
    void serve_forever();

    /// Waits until no connection is open. Switches, unless it is so. Returns false once `deadline`
    /// has passed.
    bool join(Deadline deadline = Deadline::never()) { return connections_.join(deadline); }
    /// Takes what has come up to now, serves it to its end, and closes. Switches.
    /// Returns false if `deadline` passed first: then the rest was killed.
    bool drain(Deadline deadline);
    /// Accepts no more, kills the handlers that run and waits for them. Switches, unless none run.
    void close();

    /// Where it listens, or did.
    [[nodiscard]] const Endpoint& endpoint() const noexcept { return endpoint_; }
    [[nodiscard]] std::size_t connections() const noexcept { return connections_.size(); }

 private:
    void accept_all();
    [[nodiscard]] bool accept_one();
    void take(Stream stream);
    void serve(Stream stream);

    Handler handler_;
    Listener listener_;
    Endpoint endpoint_;
    Duration pause_{};  // after the last failure
    Event closed_;
    Group connections_;
    Group acceptor_;
};

}  // namespace green
