// What the kernel says of names, addresses and options of sockets: the same test in the real world
// and in a calm simulation.

#include <cerrno>
#include <cstring>
#include <string>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/simulation.hpp>

#include "core/kernel_calls.hpp"
#include "support/worlds.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::in_quiet_worlds;
using namespace tests::kernel;

namespace {

Fd fresh_tcp(bool reuses) {
    Fd fd = fresh(AF_INET);
    const int value = reuses ? 1 : 0;
    sys::must(sys::setsockopt(fd.number(), SOL_SOCKET, SO_REUSEADDR, &value, sizeof value),
              "SO_REUSEADDR");
    return fd;
}

int bind_error(const Fd& fd, const Endpoint& at) {
    return sys::bind(fd.number(), at.address(), at.size()).error;
}

/// What a new socket is told that wants the address.
int told(const Endpoint& at, bool reuses) { return bind_error(fresh_tcp(reuses), at); }

/// The same, in the real world once the other end's last packet has come.
int told_soon(const Endpoint& at, bool reuses) {
    int error = told(at, reuses);
    for (int i = 0; i < 1000 && error != 0; ++i) {
        sleep(1ms);
        error = told(at, reuses);
    }
    return error;
}

Endpoint bound(const Fd& fd) {
    sys::must(sys::bind(fd.number(), loopback.address(), loopback.size()), "bind");
    sockaddr_storage name;
    socklen_t size = sizeof name;
    auto* const any = reinterpret_cast<sockaddr*>(&name);
    sys::must(sys::getsockname(fd.number(), any, size), "getsockname");
    return Endpoint::from(any, size);
}

}  // namespace

TEST_CASE("kernel: an abstract name is not the file that is written like it", "[core][sim]") {
    in_quiet_worlds([] {
        const std::string name = "@greensup-" + std::to_string(::getpid());
        sockaddr_un address{AF_UNIX, {}};
        std::memcpy(address.sun_path, name.data(), name.size());
        const Endpoint file =
            Endpoint::from(reinterpret_cast<const sockaddr*>(&address), sizeof address);
        Listener with_file = Listener::bind(file);
        Listener abstract = Listener::bind(Endpoint::parse("unix:" + name));
        Stream client = Stream::connect(file, 1s);
        CHECK_FALSE(abstract.try_accept());
        CHECK(with_file.accept_for(1s));
        CHECK(sys::unlink(name.c_str()).ok());
        CHECK_THROWS_AS(Stream::connect(file, 1s), std::system_error);
        Stream other = Stream::connect(abstract.local(), 1s);
        CHECK(abstract.accept_for(1s));
    });
}

TEST_CASE("kernel: a Unix listener that is shut down takes those who came before", "[core][sim]") {
    const int how = GENERATE(int{SHUT_RD}, int{SHUT_WR}, int{SHUT_RDWR});
    in_quiet_worlds([&] {
        const auto connect = [](const Fd& fd, const Endpoint& to) {
            return sys::connect(fd.number(), to.address(), to.size()).error;
        };
        const auto accepted = [](Listener& listener) {
            return Fd{sys::accept4(listener.fd().number(), nullptr, nullptr).as_int()};
        };
        const std::string name = "unix:@greensup-shut-" + std::to_string(::getpid());
        Listener listener = Listener::bind(Endpoint::parse(name));
        const int number = listener.fd().number();
        const Fd first = fresh(AF_UNIX);
        CHECK(connect(first, listener.local()) == 0);
        CHECK(sys::shutdown(number, how).ok());
        const Fd second = fresh(AF_UNIX);
        const int at_its_end = POLLIN | POLLRDHUP | (how == SHUT_RDWR ? POLLHUP : 0);
        if (how == SHUT_WR) {  // changes nothing
            CHECK(events_of(listener.fd()) == POLLIN);
            CHECK(connect(second, listener.local()) == 0);
            CHECK(accepted(listener).is_open());
            CHECK(accepted(listener).is_open());
            return;
        }
        CHECK(events_of(listener.fd()) == at_its_end);
        CHECK(connect(second, listener.local()) == ECONNREFUSED);
        {
            const Fd server = accepted(listener);
            CHECK(send(server, "hello").ok());
            CHECK(received(first) == "hello");
        }
        CHECK(sys::accept4(number, nullptr, nullptr).error == EAGAIN);
        CHECK(events_of(listener.fd()) == at_its_end);
        CHECK(option(listener.fd(), SOL_SOCKET, SO_ACCEPTCONN) == 1);
        CHECK(sys::listen(number, 4).ok());  // too late
        CHECK(connect(second, listener.local()) == ECONNREFUSED);
    });
}

TEST_CASE("kernel: a Unix socket can be shut down before it is connected", "[core][sim]") {
    in_quiet_worlds([] {
        const std::string name = "unix:@greensup-early-" + std::to_string(::getpid());
        const Listener listener = Listener::bind(Endpoint::parse(name));
        const Endpoint at = listener.local();
        const Fd fd = fresh(AF_UNIX);
        CHECK(sys::shutdown(fd.number(), SHUT_RDWR).ok());
        CHECK(events_of(fd) == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP));
        CHECK(recv_error(fd) == EINVAL);
        CHECK(send(fd, "x").error == ENOTCONN);
        CHECK(sys::connect(fd.number(), at.address(), at.size()).ok());
        CHECK(received(fd) == "");
        CHECK(send(fd, "x").error == EPIPE);
    });
}

TEST_CASE("kernel: where there is no urgent data it says so", "[core][sim]") {
    const bool tcp = GENERATE(true, false);
    in_quiet_worlds([&] {
        const auto urgent = [](const Fd& fd) {
            char byte;
            return sys::recv(fd.number(), &byte, 1, MSG_OOB).error;
        };
        CHECK(urgent(fresh(tcp ? AF_INET : AF_UNIX)) == EINVAL);
        const std::string name = "unix:@greensup-urgent-" + std::to_string(::getpid());
        Listener listener = Listener::bind(tcp ? loopback : Endpoint::parse(name));
        const int number = listener.fd().number();
        CHECK(urgent(listener.fd()) == (tcp ? ENOTCONN : EINVAL));
        Stream client = Stream::connect(listener.local(), 5s);
        CHECK(send(client.fd(), "plain").ok());
        {
            const Fd server{sys::accept4(number, nullptr, nullptr).as_int()};
            CHECK(urgent(server) == EINVAL);
            CHECK(received(server) == "plain");
        }
        CHECK(urgent(client.fd()) == EINVAL);  // at its end
    });
}

TEST_CASE("kernel: a buffer that is asked for is given twice, within limits", "[core][sim]") {
    const int family = GENERATE(AF_INET, AF_UNIX);
    const int name = GENERATE(SO_RCVBUF, SO_SNDBUF);
    in_quiet_worlds([&] {
        const Fd fd = fresh(family);
        CHECK(option(fd, SOL_SOCKET, name) > 4608);
        const auto given = [&](const Fd& to, int size) {
            CHECK(sys::setsockopt(to.number(), SOL_SOCKET, name, &size, sizeof size).ok());
            return option(to, SOL_SOCKET, name);
        };
        CHECK(given(fd, 10'000) == 20'000);
        const int least = name == SO_RCVBUF ? 2304 : 4608;
        CHECK(given(fd, 1) == least);
        CHECK(given(fd, 0) == least);
        const int most = given(fd, 1 << 30);  // net.core.rmem_max or wmem_max
        CHECK(most >= 2 * 10'000);
        CHECK(given(fd, -1) == most);
        if (family == AF_UNIX) return;
        Listener listener = Listener::bind(loopback);
        CHECK(given(listener.fd(), 20'000) == 40'000);
        const Stream client = Stream::connect(listener.local(), 5s);
        CHECK(option(listener.accept().fd(), SOL_SOCKET, name) == 40'000);
    });
}

TEST_CASE("kernel: a TCP address is free when nobody is left who keeps it", "[core][sim]") {
    const bool reuses = GENERATE(false, true);
    const bool server_first = GENERATE(false, true);
    in_quiet_worlds([&] {
        // Who says SO_REUSEADDR comes beside those who say so too, and do not listen.
        const int if_both = reuses ? 0 : EADDRINUSE;
        Fd listening = fresh_tcp(reuses);
        const Endpoint at = bound(listening);
        CHECK(told(at, false) == EADDRINUSE);
        CHECK(told(at, true) == if_both);
        CHECK(sys::listen(listening.number(), 4).ok());
        CHECK(told(at, true) == EADDRINUSE);
        // Bound: of itself the system gives a client a port that an earlier one may still keep.
        Fd client = fresh_tcp(false);
        const Endpoint from = bound(client);
        CHECK(sys::connect(client.number(), at.address(), at.size()).error == EINPROGRESS);
        CHECK(client.wait_writable(5s));
        Fd server{sys::accept4(listening.number(), nullptr, nullptr).as_int()};
        listening.close();
        CHECK(told(at, false) == EADDRINUSE);
        CHECK(told(at, true) == if_both);
        CHECK(told(from, true) == EADDRINUSE);

        Fd& first = server_first ? server : client;
        Fd& second = server_first ? client : server;
        first.close();
        CHECK(second.wait_readable(5s));
        CHECK(received(second) == "");
        CHECK(told(at, false) == EADDRINUSE);
        CHECK(told(at, true) == if_both);
        second.close();
        // Who ended first keeps the address for a minute.
        if (server_first) {
            CHECK(told(at, false) == EADDRINUSE);
            CHECK(told(at, true) == if_both);
            CHECK(told_soon(from, false) == 0);
        } else {
            CHECK(told_soon(at, false) == 0);
            CHECK(told(from, true) == EADDRINUSE);
        }
    });
}

TEST_CASE("kernel: a TCP connection that is closed hard keeps no address", "[core][sim]") {
    in_quiet_worlds([] {
        Fd listening = fresh_tcp(false);
        const Endpoint at = bound(listening);
        CHECK(sys::listen(listening.number(), 4).ok());
        Stream client = Stream::connect(at, 5s);
        Fd server{sys::accept4(listening.number(), nullptr, nullptr).as_int()};
        listening.close();
        CHECK(told(at, false) == EADDRINUSE);
        const linger hard{1, 0};
        CHECK(sys::setsockopt(server.number(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard).ok());
        server.close();
        CHECK(told(at, false) == 0);
    });
}

TEST_CASE("kernel: of two with one TCP address one listens", "[core][sim]") {
    in_quiet_worlds([] {
        Fd first = fresh_tcp(true);
        const Endpoint at = bound(first);
        const Fd second = fresh_tcp(true);
        CHECK(bind_error(second, at) == 0);
        CHECK(sys::listen(first.number(), 4).ok());
        CHECK(sys::listen(first.number(), 8).ok());
        CHECK(sys::listen(second.number(), 4).error == EADDRINUSE);
        first.close();
        CHECK(sys::listen(second.number(), 4).ok());
        // After a shutdown it may do so again, although it has a connection.
        const Stream client = Stream::connect(at, 5s);
        const Fd server{sys::accept4(second.number(), nullptr, nullptr).as_int()};
        CHECK(server.is_open());
        CHECK(sys::shutdown(second.number(), SHUT_RDWR).ok());
        CHECK(sys::listen(second.number(), 4).ok());
    });
}

TEST_CASE("network: the end of a connection that ended first keeps its address for a minute",
          "[core][sim]") {
    Simulation world{28, Simulation::Conditions::calm()};
    world.run([] {
        Fd listening = fresh_tcp(false);
        const Endpoint at = bound(listening);
        CHECK(sys::listen(listening.number(), 4).ok());
        for (int i = 0; i < 2; ++i) {  // the last one counts
            Stream client = Stream::connect(at, 5s);
            Fd{sys::accept4(listening.number(), nullptr, nullptr).as_int()}.close();
            client.close();
            sleep(30s);
        }
        listening.close();
        sleep(29s);
        CHECK(told(at, false) == EADDRINUSE);
        sleep(1s);
        CHECK(told(at, false) == 0);
    });
}
