// The TCP network of a simulation, and what a test may do to it.

#include <cerrno>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/simulation.hpp>

#include "support/streams.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::error_of;
using tests::read_all;
using tests::tcp_pair;

namespace {

constexpr auto calm = Simulation::Conditions::calm;

}  // namespace

TEST_CASE("network: what is sent arrives after the delay that was asked for", "[core][sim]") {
    Simulation world{20, calm()};
    world.run([&] {
        Listener slow = Listener::bind(Endpoint::parse("10.0.0.1:80"));
        Listener fast = Listener::bind(Endpoint::parse("10.0.0.2:80"));
        world.network().delay(slow.local(), 10ms, 10ms);
        const TimePoint start = now();
        Stream near = Stream::connect(fast.local());
        CHECK(now() == start);
        Stream far = Stream::connect(slow.local());
        CHECK(now() == start + 20ms);  // there and back
        Stream server = slow.accept();
        CHECK(now() == start + 30ms);
        far.write_all("x");
        char byte[1];
        CHECK(server.read_some(std::span{byte}) == 1);
        CHECK(now() == start + 40ms);
        // What was sent before the end arrives, though the sender is gone.
        far.write_all("last words");
        far.close();
        CHECK(read_all(server) == "last words");
        CHECK(now() == start + 50ms);
    });
}

TEST_CASE("network: what is sent into a cut arrives when it is healed", "[core][sim]") {
    Simulation world{21, calm()};
    world.run([&] {
        auto [a, b] = tcp_pair("10.0.0.1:80");
        auto [c, d] = tcp_pair("10.0.0.2:80");
        world.network().cut(b.local());
        a.write_all("in vain");
        c.write_all("over there");
        char buffer[16];
        CHECK(error_of([&, &b = b] { (void)b.read_some(std::span{buffer}, 1min); }) == ETIMEDOUT);
        CHECK(d.read_some(std::span{buffer}) == 10);
        world.network().heal(b.local());
        CHECK(b.read_some(std::span{buffer}) == 7);
        // One of several connections to a listener, by the address of its other end.
        world.network().cut(c.local());
        a.write_all("x");
        c.write_all("y");
        CHECK(b.read_some(std::span{buffer}) == 1);
        CHECK(error_of([&, &d = d] { (void)d.read_some(std::span{buffer}, 1s); }) == ETIMEDOUT);
    });
}

TEST_CASE("network: into a cut that lasts, connections and writes give up as TCP does",
          "[core][sim]") {
    Simulation world{22, calm()};
    world.run([&] {
        auto [a, b] = tcp_pair("10.0.0.1:80");
        Listener listener = Listener::bind(Endpoint::parse("10.0.0.2:80"));
        world.network().cut(b.local());
        world.network().cut(listener.local());
        const TimePoint start = now();
        CHECK(error_of([&] { (void)Stream::connect(listener.local()); }) == ETIMEDOUT);
        CHECK(now() - start == 127s);
        a.write_all("never to arrive");
        char buffer[16];
        const TimePoint wrote = now();
        CHECK(error_of([&, &a = a] { (void)a.read_some(std::span{buffer}); }) == ETIMEDOUT);
        CHECK(now() - wrote == 924s);
        CHECK_THROWS_AS(a.write_all("x"), WriteError);
        // The other end has nothing on the way and notices nothing, until it speaks.
        CHECK(error_of([&, &b = b] { (void)b.read_some(std::span{buffer}, 24h); }) == ETIMEDOUT);
        world.network().heal(b.local());
        b.write_all("are you there?");
        CHECK(error_of([&, &b = b] { (void)b.read_some(std::span{buffer}); }) == ECONNRESET);
    });
}

TEST_CASE("network: a connection asked for during a short cut comes about", "[core][sim]") {
    Simulation world{23, calm()};
    world.run([&] {
        Listener listener = Listener::bind(Endpoint::parse("10.0.0.1:80"));
        world.network().cut(listener.local());
        auto client = spawn([&] { return Stream::connect(listener.local()).is_open(); });
        sleep(30s);
        CHECK_FALSE(client.ready());
        world.network().heal(listener.local());
        CHECK(client.get());
        CHECK(listener.accept().is_open());
    });
}

TEST_CASE("network: a reset breaks both ends, and what was on the way is lost", "[core][sim]") {
    Simulation world{24, calm()};
    world.run([&] {
        auto [a, b] = tcp_pair("10.0.0.1:80");
        world.network().delay(b.local(), 10ms, 10ms);
        a.write_all("arrives");
        sleep(10ms);
        a.write_all("does not");
        world.network().reset(b.local());
        char buffer[32];
        CHECK(b.read_some(std::span{buffer}) == 7);
        CHECK(error_of([&, &b = b] { (void)b.read_some(std::span{buffer}); }) == ECONNRESET);
        CHECK(error_of([&, &a = a] { (void)a.read_some(std::span{buffer}); }) == ECONNRESET);
        CHECK(a.read_some(std::span{buffer}) == 0);  // it says so once
        CHECK_THROWS_AS(a.write_all("x"), WriteError);
    });
}

TEST_CASE("network: a connection that breaks before its listener knows of it leaves the backlog",
          "[core][sim]") {
    Simulation world{26, calm()};
    world.run([&] {
        Listener listener = Listener::bind(Endpoint::parse("10.0.0.1:80"), 1);
        const Endpoint at = listener.local();
        world.network().delay(at, 10ms, 10ms);
        std::vector<Stream> kept;
        const int how = GENERATE(0, 1, 2, 3);
        for (int i = 0; i < 3; ++i) {
            if (how < 2) {
                Stream client = Stream::connect(at);  // the listener learns of it in 10 ms
                world.network().reset(at);
                if (how == 0) kept.push_back(std::move(client));
            } else if (how == 2) {
                Stream client = Stream::connect(at);
                world.network().cut(at);
                kept.push_back(std::move(client));
                CHECK(error_of([&] { kept.back().write_all("on its way"); }) == 0);
                sleep(1h);
                world.network().heal(at);
            } else {
                auto client = spawn([&] { (void)Stream::connect(at); });
                sleep(15ms);  // the answer is on its way
                world.network().cut(at);
                sleep(1s);
                client.kill();
                world.network().heal(at);
            }
        }
        Stream last = Stream::connect(at, 1s);
        last.write_all("x");
        std::optional<Stream> served = listener.accept_for(1s);
        REQUIRE(served);
        char byte = 0;
        CHECK(served->read_some(std::span{&byte, 1}) == 1);
    });
}

TEST_CASE("network: an end of IPv4 may be meant as one of IPv6 names it", "[core][sim]") {
    Simulation world{27, calm()};
    world.run([&] {
        Listener all = Listener::bind(Endpoint::parse("[::]:80"));
        Stream client = Stream::connect(Endpoint::parse("10.0.0.1:80"));
        Stream server = all.accept();
        CHECK(server.local().text() == "tcp://[::ffff:10.0.0.1]:80");
        const int which = GENERATE(0, 1, 2);
        world.network().reset(which == 0   ? server.local()
                              : which == 1 ? server.peer()
                                           : all.local());
        char byte;
        CHECK(error_of([&] { (void)client.read_some(std::span{&byte, 1}); }) == ECONNRESET);
    });
}

TEST_CASE("network: every address is there, ports are held and given back", "[core][sim]") {
    Simulation world{25, calm()};
    world.run([] {
        const auto bound = [](const char* at) {
            return error_of([&] { (void)Listener::bind(Endpoint::parse(at)); }) == 0;
        };
        Listener first = Listener::bind(Endpoint::parse("192.0.2.1:80"));
        CHECK_FALSE(bound("192.0.2.1:80"));
        CHECK_FALSE(bound(":80"));
        CHECK(bound("192.0.2.2:80"));
        CHECK(bound("[2001:db8::1]:80"));
        first.close();
        CHECK(bound(":80"));

        Listener all = Listener::bind(Endpoint::parse(":0"));
        CHECK(all.local().port() >= 32'768);
        Stream client = Stream::connect(all.local());
        CHECK(client.peer().text() == "tcp://127.0.0.1:" + std::to_string(all.local().port()));
        CHECK(all.accept().peer() == client.local());
        Listener v6 = Listener::bind(Endpoint::parse("[::]:0"));
        Stream client6 = Stream::connect(v6.local());
        CHECK(client6.peer().text() == "tcp://[::1]:" + std::to_string(v6.local().port()));
    });
}
