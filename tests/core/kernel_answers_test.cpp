// What the kernel says in the states that random calls seldom reach: the same test in the real
// world and in a calm simulation.

#include <cerrno>
#include <csignal>
#include <netinet/tcp.h>
#include <poll.h>
#include <string>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/detail/fd_wait.hpp>
#include <green/green.hpp>
#include <green/simulation.hpp>

#include "core/kernel_calls.hpp"
#include "loop/fd_table.hpp"
#include "sched/hub.hpp"
#include "support/run_green.hpp"
#include "support/worlds.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::in_quiet_worlds;
using namespace tests::kernel;

TEST_CASE("kernel: a TCP socket that is not connected", "[core][sim]") {
    in_quiet_worlds([] {
        const Fd fd = fresh(AF_INET);
        CHECK(events_of(fd) == (POLLOUT | POLLHUP));
        CHECK(recv_error(fd) == ENOTCONN);
        CHECK(send(fd, "x").error == EPIPE);
        CHECK(sys::shutdown(fd.number(), SHUT_WR).error == ENOTCONN);
        CHECK(sys::accept4(fd.number(), nullptr, nullptr).error == EINVAL);
        CHECK(sys::bind(fd.number(), loopback.address(), loopback.size()).ok());
        CHECK(sys::bind(fd.number(), loopback.address(), loopback.size()).error == EINVAL);
        CHECK(option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0);
        CHECK(sys::listen(fd.number(), 1).ok());
        CHECK(option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1);
        CHECK(events_of(fd) == 0);
        CHECK(sys::connect(fd.number(), loopback.address(), loopback.size()).error == EISCONN);
        CHECK(option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
        CHECK(option(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET);
        CHECK(option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP);
        sockaddr_storage address;
        socklen_t size = sizeof address;
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        CHECK(sys::getpeername(fd.number(), any, size).error == ENOTCONN);
        struct stat status {};
        CHECK(sys::fstat(fd.number(), status).ok());
        CHECK(S_ISSOCK(status.st_mode));
        CHECK(sys::fcntl(fd.number(), F_GETFL).value == (O_RDWR | O_NONBLOCK));
        CHECK(sys::fcntl(fd.number(), F_GETFD).value == FD_CLOEXEC);
    });
}

TEST_CASE("kernel: a Unix socket that is not connected", "[core][sim]") {
    in_quiet_worlds([] {
        const Fd fd = fresh(AF_UNIX);
        CHECK(events_of(fd) == (POLLOUT | POLLHUP));
        CHECK(recv_error(fd) == EINVAL);
        CHECK(send(fd, "x").error == ENOTCONN);
        CHECK(sys::accept4(fd.number(), nullptr, nullptr).error == EINVAL);
        CHECK(sys::listen(fd.number(), 1).error == EINVAL);
        const Endpoint nowhere = Endpoint::parse("unix:/nowhere/at/all");
        CHECK(sys::connect(fd.number(), nowhere.address(), nowhere.size()).error == ENOENT);
        const Endpoint nobody = Endpoint::parse("unix:@greensup-nobody");
        CHECK(sys::connect(fd.number(), nobody.address(), nobody.size()).error == ECONNREFUSED);
        CHECK(option(fd, SOL_SOCKET, SO_PROTOCOL) == 0);
        CHECK(option(fd, IPPROTO_TCP, TCP_NODELAY) == -EOPNOTSUPP);
        const Pair pair = connected(false);
        ucred peer{};
        socklen_t size = sizeof peer;
        CHECK(sys::getsockopt(pair.a.number(), SOL_SOCKET, SO_PEERCRED, &peer, size).ok());
        CHECK(peer.pid == ::getpid());
    });
}

TEST_CASE("kernel: a descriptor of the wrong kind, or none", "[core][sim]") {
    in_quiet_worlds([] {
        int ends[2];
        REQUIRE(sys::pipe2(ends).ok());
        Fd reader{ends[0]};
        const Fd writer{ends[1]};
        CHECK(recv_error(reader) == ENOTSOCK);
        CHECK(sys::listen(reader.number(), 1).error == ENOTSOCK);
        const int number = reader.number();
        reader.close();
        char byte = 'x';
        CHECK(sys::read(number, &byte, 1).error == EBADF);
        CHECK(sys::shutdown(number, SHUT_WR).error == EBADF);
        CHECK(sys::close(number).error == EBADF);
        CHECK(sys::dup(number).error == EBADF);
        pollfd one{number, POLLIN, 0};
        CHECK(sys::poll(&one, 1, 0).value == 1);
        CHECK(one.revents == POLLNVAL);
    });
}

TEST_CASE("kernel: a connection that is refused says why, once", "[core][sim]") {
    in_quiet_worlds([] {
        Endpoint nobody = loopback;
        {
            Listener listener = Listener::bind(loopback);
            nobody = listener.local();
        }
        Fd fd = fresh(AF_INET);
        CHECK(sys::connect(fd.number(), nobody.address(), nobody.size()).error == EINPROGRESS);
        CHECK(fd.wait_writable(5s));
        CHECK(events_of(fd) == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR));
        CHECK(option(fd, SOL_SOCKET, SO_ERROR) == ECONNREFUSED);
        CHECK(option(fd, SOL_SOCKET, SO_ERROR) == 0);
        CHECK(events_of(fd) == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP));
        // The same socket can try again, once it was told.
        Listener listener = Listener::bind(nobody);
        const auto connect = [&] {
            return sys::connect(fd.number(), nobody.address(), nobody.size()).error;
        };
        CHECK(connect() == ECONNABORTED);
        CHECK(connect() == EINPROGRESS);
        CHECK(fd.wait_writable(5s));
        CHECK(connect() == 0);
        CHECK(connect() == EISCONN);
    });
}

TEST_CASE("kernel: closing with bytes unread breaks the connection", "[core][sim]") {
    const bool tcp = GENERATE(true, false);
    in_quiet_worlds([&] {
        Pair pair = connected(tcp);
        CHECK(send(pair.a, "not read").ok());
        CHECK(send(pair.b, "said before").ok());
        pair.b.close();
        CHECK(events_of(pair.a) == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR));
        CHECK(received(pair.a) == "said before");
        CHECK(received(pair.a) == std::to_string(ECONNRESET));
        CHECK(received(pair.a) == "");
        CHECK(send(pair.a, "x").error == EPIPE);
    });
}

TEST_CASE("kernel: a connection is closed hard when it is asked for", "[core][sim]") {
    in_quiet_worlds([] {
        Pair pair = connected(true);
        const linger hard{1, 0};
        CHECK(sys::setsockopt(pair.b.number(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard).ok());
        pair.b.close();
        CHECK(send(pair.a, "x").error == ECONNRESET);
        CHECK(send(pair.a, "x").error == EPIPE);
        CHECK(received(pair.a) == "");
    });
}

TEST_CASE("kernel: writing to a TCP peer that has closed fails the second time", "[core][sim]") {
    in_quiet_worlds([] {
        Pair pair = connected(true);
        pair.b.close();
        CHECK(received(pair.a) == "");
        CHECK(events_of(pair.a) == (POLLIN | POLLOUT | POLLRDHUP));
        CHECK(send(pair.a, "x").ok());
        CHECK(events_of(pair.a) == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR));
        CHECK(send(pair.a, "x").error == EPIPE);
        CHECK(received(pair.a) == "");
    });
}

TEST_CASE("kernel: closing a listener breaks those that were not accepted", "[core][sim]") {
    const bool tcp = GENERATE(true, false);
    in_quiet_worlds([&] {
        Listener listener = Listener::bind(
            tcp ? loopback
                : Endpoint::parse("unix:@greensup-short-lived-" + std::to_string(::getpid())));
        Stream client = Stream::connect(listener.local(), 5s);
        CHECK(send(client.fd(), "is anybody there?").ok());
        listener.close();
        CHECK(received(client.fd()) == std::to_string(ECONNRESET));
        CHECK(received(client.fd()) == "");
    });
}

TEST_CASE("kernel: a TCP listener that is shut down listens no more", "[core][sim]") {
    in_quiet_worlds([] {
        Endpoint at = loopback;
        {
            Listener listener = Listener::bind(loopback);
            at = listener.local();
        }
        const Fd fd = fresh(AF_INET);
        CHECK(sys::bind(fd.number(), at.address(), at.size()).ok());
        CHECK(sys::listen(fd.number(), 1).ok());
        CHECK(sys::shutdown(fd.number(), SHUT_WR).ok());  // changes nothing
        CHECK(events_of(fd) == 0);
        Stream client = Stream::connect(at, 5s);
        CHECK(sys::shutdown(fd.number(), SHUT_RDWR).ok());
        CHECK(received(client.fd()) == std::to_string(ECONNRESET));
        CHECK(sys::accept4(fd.number(), nullptr, nullptr).error == EINVAL);
        CHECK(events_of(fd) == (POLLOUT | POLLHUP));
        CHECK(option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0);
        CHECK(sys::shutdown(fd.number(), SHUT_RDWR).error == ENOTCONN);
        // It still has its address.
        CHECK_THROWS_AS(Listener::bind(at), std::system_error);
        CHECK(sys::listen(fd.number(), 0).ok());
        Stream second = Stream::connect(at, 5s);
        const Fd served{sys::accept4(fd.number(), nullptr, nullptr).as_int()};
        CHECK(served.is_open());
    });
}

TEST_CASE("kernel: a TCP listener on all of IPv6 has all of IPv4 too, unless it is told not to",
          "[core][sim]") {
    in_quiet_worlds([] {
        const sys::Outcome made = sys::socket(AF_INET6, SOCK_STREAM);
        if (made.error == EAFNOSUPPORT) return;  // a machine without IPv6
        const Fd only{made.as_int()};
        const auto bound = [](const Fd& fd, const Endpoint& at) {
            return sys::bind(fd.number(), at.address(), at.size()).error;
        };
        const auto at_port = [](const char* address, const Listener& of) {
            return Endpoint::parse(address + std::to_string(of.local().port()));
        };
        {
            Listener listener = Listener::bind(Endpoint::parse("[::]:0"));
            CHECK(bound(fresh(AF_INET), at_port(":", listener)) == EADDRINUSE);
            CHECK(bound(fresh(AF_INET), at_port("127.0.0.1:", listener)) == EADDRINUSE);
            Stream client = Stream::connect(at_port("127.0.0.1:", listener), 5s);
            Stream server = listener.accept();
            const auto v6 = [](const Endpoint& it) {
                return Endpoint::parse("[::ffff:127.0.0.1]:" + std::to_string(it.port()));
            };
            CHECK(server.peer() == v6(client.local()));
            CHECK(server.local() == v6(client.peer()));
        }
        const int yes = 1;
        CHECK(sys::setsockopt(only.number(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes).ok());
        Listener listener = Listener::bind(loopback);
        CHECK(bound(only, at_port("[::]:", listener)) == 0);
    });
}

TEST_CASE("kernel: those who share an address may listen on it together", "[core][sim]") {
    in_quiet_worlds([] {
        const auto sharing = [](bool shares) {
            Fd fd = fresh(AF_INET);
            const int value = shares ? 1 : 0;
            sys::must(sys::setsockopt(fd.number(), SOL_SOCKET, SO_REUSEPORT, &value, sizeof value),
                      "SO_REUSEPORT");
            return fd;
        };
        const auto bound = [](const Fd& fd, const Endpoint& at) {
            return sys::bind(fd.number(), at.address(), at.size()).error;
        };
        const Fd first = sharing(true);
        CHECK(bound(first, loopback) == 0);
        CHECK(sys::listen(first.number(), 64).ok());
        sockaddr_storage name;
        socklen_t size = sizeof name;
        auto* const any = reinterpret_cast<sockaddr*>(&name);
        CHECK(sys::getsockname(first.number(), any, size).ok());
        const Endpoint at = Endpoint::from(any, size);
        CHECK(bound(sharing(false), at) == EADDRINUSE);
        const Fd second = sharing(true);
        CHECK(bound(second, at) == 0);
        CHECK(sys::listen(second.number(), 64).ok());
        std::vector<Stream> clients;
        for (int i = 0; i < 64; ++i) clients.push_back(Stream::connect(at, 5s));
        int taken[2] = {0, 0};
        for (const Fd* fd : {&first, &second}) {
            for (sys::Outcome it; (it = sys::accept4(fd->number(), nullptr, nullptr)).ok();) {
                ++taken[fd == &second];
                (void)sys::close(it.as_int());
            }
        }
        CHECK(taken[0] + taken[1] == 64);
        CHECK(taken[0] > 0);
        CHECK(taken[1] > 0);
    });
}

TEST_CASE("kernel: who says so does not wait on a socket that blocks", "[core][sim]") {
    const bool tcp = GENERATE(true, false);
    in_quiet_worlds([&] {
        const Pair pair = connected(tcp);
        CHECK(sys::fcntl(pair.a.number(), F_SETFL, 0).ok());
        std::string block(65'536, 'f');
        CHECK(sys::recv(pair.a.number(), block.data(), 1, MSG_DONTWAIT).error == EAGAIN);
        sys::Outcome last;
        do {
            last = sys::send(pair.a.number(), block.data(), block.size(), MSG_DONTWAIT);
        } while (last.ok());
        CHECK(last.error == EAGAIN);
    });
}

TEST_CASE("kernel: a TCP backlog that is full lets the next one wait", "[core][sim]") {
    in_quiet_worlds([] {
        Listener listener = Listener::bind(loopback, 0);
        Stream first = Stream::connect(listener.local(), 5s);  // a backlog of 0 holds one
        CHECK_THROWS_AS(Stream::connect(listener.local(), 20ms), std::system_error);
        Stream server = listener.accept();
        CHECK(server.peer() == first.local());
        Stream second = Stream::connect(listener.local(), 5s);
        CHECK(listener.accept().peer() == second.local());
    });
}

TEST_CASE("kernel: a connection that broke before it was accepted is accepted, broken",
          "[core][sim]") {
    in_quiet_worlds([] {
        Listener listener = Listener::bind(loopback);
        Stream client = Stream::connect(listener.local(), 5s);
        const Endpoint from = client.local();
        const linger hard{1, 0};
        sys::must(sys::setsockopt(client.fd().number(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard),
                  "SO_LINGER");
        client.close();
        CHECK(listener.fd().wait_readable(5s));
        sockaddr_storage name;
        socklen_t size = sizeof name;
        auto* const any = reinterpret_cast<sockaddr*>(&name);
        const Fd server{sys::accept4(listener.fd().number(), any, &size).as_int()};
        CHECK(Endpoint::from(any, size) == from);
        CHECK(sys::getpeername(server.number(), any, size).error == ENOTCONN);
        CHECK(received(server) == std::to_string(ECONNRESET));
    });
}

TEST_CASE("kernel: connections are accepted in the order in which they came", "[core][sim]") {
    in_quiet_worlds([] {
        Listener listener = Listener::bind(loopback);
        std::vector<Stream> clients;
        for (int i = 0; i < 20; ++i) clients.push_back(Stream::connect(listener.local(), 5s));
        for (const Stream& client : clients) CHECK(listener.accept().peer() == client.local());
    });
}

TEST_CASE("kernel: a full TCP connection is writable again when much of it was read",
          "[core][sim]") {
    in_quiet_worlds([] {
        Pair pair = connected(true);
        const std::string block(16'384, 'f');
        std::size_t sent = 0;
        while (pair.a.wait_writable(20ms)) {  // the real one goes on filling by itself for a while
            for (sys::Outcome last; (last = send(pair.a, block)).ok();) sent += last.as_size();
        }
        char byte;
        CHECK(sys::recv(pair.b.number(), &byte, 1).value == 1);
        CHECK(events_of(pair.a) == 0);
        auto writer = spawn([&] { return pair.a.wait_writable(5s); });
        for (std::size_t got = 1; got < sent;) {
            CHECK(pair.b.wait_readable(5s));
            std::string some(65'536, ' ');
            got += sys::recv(pair.b.number(), some.data(), some.size()).as_size();
        }
        CHECK(writer.get());
        CHECK(events_of(pair.a) == POLLOUT);
    });
}

TEST_CASE("kernel: a second descriptor keeps a connection open", "[core][sim]") {
    in_quiet_worlds([] {
        Pair pair = connected(true);
        const Fd copy{static_cast<int>(sys::must(sys::dup(pair.b.number()), "dup"))};
        pair.b.close();
        CHECK(recv_error(pair.a) == EAGAIN);
        CHECK(send(copy, "still here").ok());
        CHECK(received(pair.a) == "still here");
    });
}

TEST_CASE("kernel: an eventfd counts", "[core][sim]") {
    in_quiet_worlds([] {
        const auto make = [](unsigned value, int flags) {
            return Fd{sys::eventfd(value, flags | EFD_NONBLOCK).as_int()};
        };
        const auto take = [](const Fd& fd) {
            std::uint64_t value = 0;
            const sys::Outcome got = sys::read(fd.number(), &value, sizeof value);
            return got.ok() ? static_cast<std::int64_t>(value) : -got.error;
        };
        const auto add = [](const Fd& fd, std::uint64_t value) {
            return sys::write(fd.number(), &value, sizeof value).error;
        };
        Fd sum = make(3, 0);
        CHECK(events_of(sum) == (POLLIN | POLLOUT));
        CHECK(add(sum, 4) == 0);
        CHECK(take(sum) == 7);
        CHECK(take(sum) == -EAGAIN);
        CHECK(events_of(sum) == POLLOUT);
        CHECK(add(sum, ~std::uint64_t{0}) == EINVAL);
        CHECK(add(sum, ~std::uint64_t{0} - 1) == 0);
        CHECK(events_of(sum) == POLLIN);
        CHECK(add(sum, 1) == EAGAIN);
        char small[4];
        CHECK(sys::read(sum.number(), small, sizeof small).error == EINVAL);
        (void)take(sum);
        auto waiter = spawn([&] { return sum.wait_readable(5s); });
        tests::settle();
        CHECK_FALSE(waiter.ready());
        CHECK(add(sum, 1) == 0);
        CHECK(waiter.get());

        const Fd one_by_one = make(2, EFD_SEMAPHORE);
        CHECK(take(one_by_one) == 1);
        CHECK(take(one_by_one) == 1);
        CHECK(take(one_by_one) == -EAGAIN);
    });
}

TEST_CASE("kernel: a small write to a pipe is there in one piece or not at all", "[core][sim]") {
    in_quiet_worlds([] {
        int ends[2];
        REQUIRE(sys::pipe2(ends).ok());
        Fd reader{ends[0]};
        const Fd writer{ends[1]};
        const std::string block(3000, 'p');
        std::size_t written = 0;
        sys::Outcome last;
        while ((last = sys::write(writer.number(), block.data(), block.size())).ok()) {
            CHECK(last.as_size() == block.size());
            written += block.size();
        }
        CHECK(last.error == EAGAIN);
        std::string all(1 << 20, ' ');
        CHECK(sys::read(reader.number(), all.data(), all.size()).as_size() == written);
        // Nobody to read it: an error, and a signal from the real kernel.
        auto* const before = std::signal(SIGPIPE, SIG_IGN);
        reader.close();
        CHECK(sys::write(writer.number(), "x", 1).error == EPIPE);
        CHECK(events_of(writer) == (POLLOUT | POLLERR));
        (void)std::signal(SIGPIPE, before);
    });
}

TEST_CASE("kernel: a call that moves less than it could, or nothing, is reported again",
          "[core][sim]") {
    Simulation::Conditions conditions = Simulation::Conditions::calm();
    conditions.percent_short = 50;
    conditions.percent_spurious = 50;
    const bool tcp = GENERATE(true, false);
    for (std::uint64_t seed = tests::seed(); seed < tests::seed() + 100; ++seed) {
        INFO("GREENSUP_SEED=" << seed);
        Simulation world{seed, conditions};
        world.run([&] {
            Pair pair = connected(tcp);
            const std::string text(100, 't');
            // As a program does that goes by reports alone: after each call it waits for one.
            detail::FdTable& table = detail::Hub::current().fds();
            const auto wait = [&](const Fd& fd, detail::Direction direction) {
                detail::FdNode node{fd.number(), direction};
                node.blocked();
                REQUIRE(detail::park(node, 1h));
            };
            for (const Fd* fd : {&pair.a, &pair.b}) table.open(fd->number());
            for (std::size_t sent = 0; sent < text.size();) {
                wait(pair.a, detail::Direction::write);
                const sys::Outcome some = send(pair.a, std::string_view{text}.substr(sent));
                if (some.ok()) sent += some.as_size();
                REQUIRE((some.ok() || some.would_block()));
            }
            std::string got;
            while (got.size() < text.size()) {
                wait(pair.b, detail::Direction::read);
                while (got.size() < text.size()) {
                    char buffer[64];
                    const sys::Outcome some = sys::recv(pair.b.number(), buffer, sizeof buffer);
                    if (!some.ok()) break;
                    got.append(buffer, some.as_size());
                }
            }
            CHECK(got == text);
            for (const Fd* fd : {&pair.a, &pair.b}) table.close(fd->number());
        });
    }
}
