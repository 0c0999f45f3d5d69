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

#include "core/kernel_calls.hpp"
#include "support/worlds.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::in_quiet_worlds;
using namespace tests::kernel;

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
