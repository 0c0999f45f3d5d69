// Listeners, and what holds for all sockets: each call fails once, each wait is killed.

#include <cerrno>
#include <functional>
#include <netinet/tcp.h>
#include <optional>
#include <string>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/socket.hpp>

#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "support/streams.hpp"
#include "support/worlds.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::error_of;
using tests::in_every_world;
using tests::in_quiet_worlds;
using tests::open_descriptors;
using tests::settle;
using tests::tcp_pair;

namespace {

const Endpoint loopback = Endpoint::parse("127.0.0.1:0");

/// Fails the calls of one kind with an error, from the nth on, `times` times; counts how often it
/// is asked.
struct Fault final : sys::Injector {
    Fault(sys::Call which, int with, int from, int how_often)
        : call{which}, error{with}, skip{from}, times{how_often} {
        (void)sys::set_injector(this);
    }
    ~Fault() override { (void)sys::set_injector(nullptr); }
    int before(sys::Call asked, int) noexcept override {
        if (asked != call) return 0;
        ++seen;
        if (seen <= skip || seen > skip + times) return 0;
        return error;
    }
    sys::Call call;
    int error, skip, times;
    int seen = 0;
};

}  // namespace

TEST_CASE("listener: accepting waits for a connection, up to its limit", "[core][net]") {
    in_quiet_worlds([&] {
        Listener listener = Listener::bind(loopback);
        CHECK_FALSE(listener.try_accept());
        CHECK_FALSE(listener.accept_for(1ms));
        auto acceptor = spawn([&] { return listener.accept().is_open(); });
        settle();
        CHECK_FALSE(acceptor.ready());
        Stream client = Stream::connect(listener.local(), 5s);
        CHECK(acceptor.get());
        // What the hub has not seen yet is taken all the same: a draining worker relies on it.
        Stream another = Stream::connect(listener.local(), 5s);
        CHECK(listener.try_accept());
    });
}

TEST_CASE("listener: closing ends an accept with EBADF", "[core][net]") {
    in_every_world([&] {
        Listener listener = Listener::bind(loopback);
        auto acceptor = spawn([&] { return error_of([&] { (void)listener.accept(); }); });
        settle();
        listener.close();
        CHECK(acceptor.get() == EBADF);
    });
}

TEST_CASE("listener: two that share a socket share its connections", "[core][net]") {
    in_quiet_worlds([&] {
        Listener one = Listener::bind(loopback);
        Listener two =
            Listener::adopt(Fd{static_cast<int>(sys::must(sys::dup(one.fd().number()), "dup"))});
        std::vector<Stream> taken;
        auto take = [&taken](Listener& from) { taken.push_back(from.accept()); };
        auto first = spawn(take, std::ref(one));
        auto second = spawn(take, std::ref(two));
        settle();
        Stream client = Stream::connect(one.local(), 5s);
        for (int i = 0; i < 1000 && taken.empty(); ++i) settle();
        CHECK(taken.size() == 1);  // both were woken, one got it, the other waits on
        Stream next = Stream::connect(one.local(), 5s);
        joinall({first, second}, 5s);
        CHECK(taken.size() == 2);
    });
}

TEST_CASE("listener: only a socket that listens is adopted", "[core][net]") {
    in_every_world([&] {
        auto [a, b] = Stream::pair();
        CHECK_THROWS_AS(Listener::adopt(Fd{a.fd().release()}), UsageError);
        CHECK(error_of([] { (void)Listener::adopt(Fd{}); }) == EBADF);
    });
}

TEST_CASE("listener: connections that were given up are skipped, a lack of descriptors is reported",
          "[core][net]") {
    const int error = GENERATE(EMFILE, ENFILE, ENOBUFS, ENOMEM);
    in_quiet_worlds([&] {
        Listener listener = Listener::bind(loopback);
        Stream client = Stream::connect(listener.local(), 5s);
        {
            Fault aborted{sys::Call::accept4, ECONNABORTED, 0, 3};
            CHECK(listener.accept().is_open());
            CHECK(aborted.seen == 4);
        }
        Stream next = Stream::connect(listener.local(), 5s);
        {
            Fault full{sys::Call::accept4, error, 0, 1};
            CHECK(error_of([&] { (void)listener.accept(); }) == error);
        }
        CHECK(listener.accept().is_open());
    });
}

TEST_CASE("listener: one that fails for ever does not hang", "[core][net]") {
    in_quiet_worlds([&] {
        Listener listener = Listener::bind(loopback);
        Fault aborted{sys::Call::accept4, ECONNABORTED, 0, 1'000'000};
        CHECK(error_of([&] { (void)listener.accept(); }) == ECONNABORTED);
    });
}

TEST_CASE(
    "sockets: each system call of a conversation failing in turn gives an error and leaves nothing "
    "open",
    "[core][net]") {
    using sys::Call;
    const auto talk = [] {
        Listener listener = Listener::bind(loopback);
        Stream client = Stream::connect(listener.local(), 5s);
        Stream server = listener.accept();
        auto echo = spawn([mine = std::move(server)]() mutable {
            char buffer[64];
            while (const std::size_t got = mine.read_some(std::span{buffer}, 5s)) {
                mine.write_all(std::string_view{buffer, got}, 5s);
            }
        });
        try {
            client.write_all("ping", 5s);
            client.shutdown_write();
            char buffer[64];
            std::string answer;
            while (const std::size_t got = client.read_some(std::span{buffer}, 5s)) {
                answer.append(buffer, got);
                if (answer.size() == 4) break;
            }
            echo.get();
        } catch (...) {
            client.close();
            echo.get();  // the cause, if it was there
            throw;
        }
    };
    talk();
    const tests::Errors reported;
    const std::size_t before = open_descriptors();
    const HubFigures calm = hub_figures();
    const Call call =
        GENERATE(Call::socket, Call::bind, Call::listen, Call::connect, Call::accept4, Call::recv,
                 Call::send, Call::getsockname, Call::epoll_ctl, Call::shutdown);
    int asked = 0;
    {
        Fault none{call, EIO, 1000, 0};
        talk();
        asked = none.seen;
    }
    REQUIRE(asked > 0);
    for (int nth = 0; nth < asked; ++nth) {
        for (const int times : {1, 1'000'000}) {
            const Fault fault{call, EIO, nth, times};
            INFO(sys::name(call) << " number " << nth << ", " << times << " times");
            const int error = error_of(talk);
            CHECK((error == EIO || (call == Call::epoll_ctl && error == 0)));
        }
    }
    CHECK(open_descriptors() == before);
    settle();
    CHECK(hub_figures().greenlets == calm.greenlets);
    CHECK(hub_figures().outside == calm.outside);
    CHECK(hub_figures().timers == calm.timers);
}

TEST_CASE("sockets: a kill at each wait leaves no trace", "[core][net]") {
    in_every_world([&] {
        auto [a, b] = tcp_pair();
        Listener listener = Listener::bind(loopback);
        settle();
        const HubFigures calm = hub_figures();
        const std::size_t before = open_descriptors();
        const std::vector<std::function<void()>> waits = {
            [&b = b] {
                char c[8];
                (void)b.read_some(std::span{c}, 1h);
            },
            [&a = a] { a.write_all(std::string(64 << 20, 'w'), 1h); },
            [&] { (void)listener.accept_for(1h); },
        };
        for (const auto& wait : waits) {
            auto greenlet = spawn(wait);
            settle();
            REQUIRE_FALSE(greenlet.ready());
            greenlet.kill();
            CHECK(greenlet.successful());
            CHECK(hub_figures().greenlets == calm.greenlets);
            CHECK(hub_figures().outside == calm.outside);
            CHECK(hub_figures().timers == calm.timers);
        }
        CHECK(open_descriptors() == before);
    });
}
