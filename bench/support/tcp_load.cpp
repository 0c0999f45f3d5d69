// The load of the tcp cases: starts the server that is the case's side, opens connections to it and
// keeps one message under way on each. It checks every byte that comes back.
#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <span>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include "bench.hpp"
#include "memory.hpp"
#include "server.hpp"

namespace {

constexpr std::size_t message_size = 64;
constexpr std::size_t wave = 256;  // connections that are opened at once: fewer than any backlog

int must(int result, const char* call) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), call);
    return result;
}

// Of this process and of the servers that it starts.
void allow_descriptors(std::size_t count) {
    rlimit limit{};
    must(::getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = std::max<rlim_t>(limit.rlim_cur, count + 64);
    limit.rlim_max = std::max(limit.rlim_max, limit.rlim_cur);  // only root may raise it
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
        throw bench::Unavailable("needs " + std::to_string(count + 64) +
                                 " descriptors: ulimit -Hn");
}

class Load {
 public:
    Load() : epoll_{must(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")} {
        message_.fill(std::byte{'x'});
    }
    ~Load() {
        for (const Connection& connection : connections_) ::close(connection.socket);
        ::close(epoll_);
    }
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    /// Opens so many more connections, in waves; each has had an answer when it returns.
    void open(std::size_t count, std::uint16_t port) {
        for (std::size_t left = count; left > 0;) {
            const std::size_t now = std::min(left, wave);
            for (std::size_t i = 0; i < now; ++i) send(connect(port));
            for (std::size_t answered = 0; answered < now;) answered += collect([](auto&) {});
            left -= now;
        }
    }

    /// Sends the first message of the closed loop on each connection.
    void start() {
        for (Connection& connection : connections_) send(connection);
    }
    /// Answers per second.
    double rate_over(double seconds) {
        std::size_t answers = 0;
        const auto start = bench::now();
        auto time = start;
        while (static_cast<double>(time - start) < seconds * 1e9) {
            answers += collect([this](Connection& connection) { send(connection); });
            time = bench::now();
        }
        return static_cast<double>(answers) / (static_cast<double>(time - start) / 1e9);
    }

 private:
    struct Connection {
        int socket;
        std::uint32_t index;
        std::uint64_t sent = 0;    // messages
        std::size_t received = 0;  // bytes of the answer to the last of them
    };

    Connection& connect(std::uint16_t port) {
        sockaddr_in server{};
        server.sin_family = AF_INET;
        server.sin_port = htons(port);
        server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const auto index = static_cast<std::uint32_t>(connections_.size());
        const int socket = must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
        connections_.push_back({socket, index});
        const int on = 1;
        must(::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
        must(::connect(socket, reinterpret_cast<sockaddr*>(&server), sizeof server), "connect");
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u32 = index;
        must(::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event), "epoll_ctl");
        return connections_.back();
    }

    /// No two messages under way are equal: an answer that belongs to another connection shows.
    const std::byte* message_of(const Connection& connection) {
        std::memcpy(message_.data(), &connection.index, sizeof connection.index);
        std::memcpy(message_.data() + 8, &connection.sent, sizeof connection.sent);
        return message_.data();
    }
    void send(Connection& connection) {
        ++connection.sent;
        connection.received = 0;
        // A connection with nothing under way has room for a message.
        if (::send(connection.socket, message_of(connection), message_size,
                   MSG_DONTWAIT | MSG_NOSIGNAL) != message_size)
            throw std::system_error(errno, std::generic_category(), "send");
    }

    /// Receives what has come, waiting for something; returns how many answers are complete now.
    template <class Answered>
    std::size_t collect(Answered answered) {
        std::array<epoll_event, 1024> events;
        const int ready = ::epoll_wait(epoll_, events.data(), int{events.size()}, 5000);
        if (ready == 0) throw std::runtime_error("the server has not answered for 5 s");
        std::size_t complete = 0;
        for (const auto& event :
             std::span{events}.first(static_cast<std::size_t>(must(ready, "epoll_wait")))) {
            Connection& connection = connections_[event.data.u32];
            if (!receive(connection)) continue;
            ++complete;
            answered(connection);
        }
        return complete;
    }
    /// Whether its answer is complete.
    bool receive(Connection& connection) {
        std::array<std::byte, message_size> answer;
        const auto size = ::recv(connection.socket, answer.data(),
                                 message_size - connection.received, MSG_DONTWAIT);
        if (size == 0) throw std::runtime_error("the server closed a connection");
        if (size < 0) throw std::system_error(errno, std::generic_category(), "recv");
        const auto bytes = static_cast<std::size_t>(size);
        if (std::memcmp(answer.data(), message_of(connection) + connection.received, bytes) != 0)
            throw std::runtime_error("the server answered something else than was sent");
        connection.received += bytes;
        return connection.received == message_size;
    }

    int epoll_;
    std::array<std::byte, message_size> message_{};
    std::vector<Connection> connections_;
};

double echo(const bench::Options& options) {
    allow_descriptors(options.count);
    Load load;  // outlives the server, which would see its connections break
    const bench::Server server{options.server, options.consumer_core};
    bench::pin(options.producer_core);
    load.open(options.count, server.port());
    load.start();
    load.rate_over(options.seconds / 4);
    return load.rate_over(options.seconds);
}

// Resident memory of the server for each connection that waits for its second message.
double idle_bytes(const bench::Options& options) {
    const auto count = std::min<std::size_t>(10'000, options.at_most);
    allow_descriptors(count);
    Load load;  // outlives the server, which would see its connections break
    const bench::Server server{options.server, options.consumer_core};
    bench::pin(options.producer_core);
    load.open(1, server.port());  // what the server makes once is made now
    const auto before = bench::memory_of(server.process()).resident;
    load.open(count, server.port());
    const auto after = bench::memory_of(server.process()).resident;
    return (static_cast<double>(after) - static_cast<double>(before)) / static_cast<double>(count);
}

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv, {{"tcp_echo", echo}, {"tcp_idle_bytes", idle_bytes}});
}
