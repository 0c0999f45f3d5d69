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
