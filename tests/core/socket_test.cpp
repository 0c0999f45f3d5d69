#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <future>
#include <memory>
#include <netinet/tcp.h>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/socket.hpp>

#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "support/streams.hpp"
#include "support/temp_dir.hpp"
#include "support/worlds.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::error_of;
using tests::in_every_world;
using tests::in_quiet_worlds;
using tests::open_descriptors;
using tests::read_all;
using tests::read_exactly;
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

TEST_CASE("stream: bytes arrive in order and the end follows them", "[core][net]") {
    const bool tcp = GENERATE(true, false);
    in_every_world([&] {
        auto [a, b] = tcp ? tcp_pair() : Stream::pair();
        std::string sent(1 << 20, ' ');
        for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>('a' + i % 23);
        auto writer = spawn([&a = a, &sent] {
            a.write_all(sent);
            a.shutdown_write();
        });
        CHECK(read_all(b) == sent);
        writer.get();
        b.write_all("and back");  // half-closed: the other way still works
        b.close();
        CHECK(read_all(a) == "and back");
    });
}

TEST_CASE("stream: an end that came together with the bytes is seen after a short read",
          "[core][net]") {
    in_every_world([&] {
        auto [a, b] = tcp_pair();
        char buffer[64];
        CHECK_THROWS_AS(b.read_some(std::span{buffer}, Deadline::passed()), std::system_error);
        auto reader = spawn([&b = b] { return read_all(b); });
        settle();  // it is watched now
        a.write_all("last words");
        a.close();  // one report for both
        CHECK(with_timeout(5s, [&] { return reader.get(); }) == "last words");
    });
}

TEST_CASE("stream: pieces are written as one, empty ones and many of them too", "[core][net]") {
    in_every_world([&] {
        auto [a, b] = Stream::pair();
        a.write_parts({"one", "", "two", ""});
        std::vector<std::string_view> many(100, "xyz");
        a.write_parts(many);
        a.write_parts({});
        a.write_all("");
        a.shutdown_write();
        std::string wanted = "onetwo";
        for (int i = 0; i < 100; ++i) wanted += "xyz";
        CHECK(read_all(b) == wanted);
    });
}

TEST_CASE("stream: a passed limit of a read is ETIMEDOUT and takes nothing", "[core][net]") {
    in_quiet_worlds([&] {
        auto [a, b] = Stream::pair();
        char buffer[8];
        CHECK(error_of([&, &b = b] { (void)b.read_some(std::span{buffer}, 1ms); }) == ETIMEDOUT);
        a.write_all("x");
        CHECK(b.read_some(std::span{buffer}, Deadline::passed()) == 1);  // tries without waiting
        CHECK(error_of([&, &b = b] { (void)b.read_some(std::span{buffer}, Deadline::passed()); }) ==
              ETIMEDOUT);
    });
}

TEST_CASE("stream: a write whose limit passes says how much went out", "[core][net]") {
    in_every_world([&] {
        auto [a, b] = Stream::pair();
        const std::string much(8 << 20, 'm');
        std::size_t written = 0;
        try {
            a.write_all(much, 5ms);
            FAIL("nobody reads, but it was written");
        } catch (const WriteError& error) {
            CHECK(error.code().value() == ETIMEDOUT);
            written = error.written();
        }
        CHECK(written > 0);
        a.shutdown_write();
        CHECK(read_all(b).size() == written);
    });
}

TEST_CASE("stream: writing to a peer that is gone is EPIPE and no signal", "[core][net]") {
    in_every_world([&] {
        auto [a, b] = Stream::pair();
        b.close();
        try {
            a.write_all("x");
            FAIL("written to nobody");
        } catch (const WriteError& error) {
            CHECK(error.code().value() == EPIPE);
            CHECK(error.written() == 0);
        }
    });
}

TEST_CASE("stream: a second reader is refused twice and the first gets the bytes", "[core][net]") {
    in_every_world([] {
        auto [a, b] = tcp_pair();
        auto first = spawn([&b = b] { return read_exactly(b, 13); });
        settle();
        char buffer[16];
        CHECK_THROWS_AS(b.read_some(std::span{buffer}), ConcurrentUse);
        CHECK_THROWS_AS(b.read_some(std::span{buffer}), ConcurrentUse);
        a.write_all("for the first");
        CHECK(first.get() == "for the first");
    });
}

TEST_CASE("stream: one greenlet writes while another reads", "[core][net]") {
    in_every_world([&] {
        auto [a, b] = tcp_pair();
        auto writer = spawn([&a = a] {
            try {
                a.write_all(std::string(32 << 20, 'w'));
            } catch (const WriteError&) {  // the peer goes away in the middle
            }
        });
        auto reader = spawn([&a = a] {
            try {
                return read_exactly(a, 11);
            } catch (const std::system_error&) {
                return std::string{};
            }
        });
        settle();
        b.write_all("eleven byte");
        CHECK(reader.get() == "eleven byte");
        b.close();
        CHECK(writer.join(5s));
    });
}

TEST_CASE(
    "stream: closing wakes a reader and a writer with EBADF; used after that it says the same",
    "[core][net]") {
    in_every_world([&] {
        auto [a, b] = Stream::pair();
        auto reader = spawn([&a = a] {
            char buffer[8];
            return error_of([&] { (void)a.read_some(std::span{buffer}); });
        });
        auto writer =
            spawn([&a = a] { return error_of([&] { a.write_all(std::string(8 << 20, 'w')); }); });
        settle();
        CHECK_FALSE(reader.ready());
        CHECK_FALSE(writer.ready());
        a.close();
        a.close();
        CHECK(reader.get() == EBADF);
        CHECK(writer.get() == EBADF);
        CHECK(error_of([&a = a] { a.shutdown_write(); }) == EBADF);
        CHECK(error_of([&a = a] { a.write_all("x"); }) == EBADF);
    });
}

TEST_CASE("stream: a write that is closed by another greenlet says how much went out",
          "[core][net]") {
    in_every_world([] {
        auto [a, b] = Stream::pair();
        auto writer = spawn([&a = a] {
            try {
                a.write_all(std::string(8 << 20, 'w'));
            } catch (const WriteError& error) {
                CHECK(error.code().value() == EBADF);
                return error.written();
            }
            return std::size_t{0};
        });
        while (!b.fd().wait_readable(1ms)) {
        }
        settle();
        a.close();
        CHECK(writer.get() > 0);
        CHECK(read_all(b).size() == writer.get());
    });
}

TEST_CASE("stream: small writes are sent at once, on both ends", "[core][net]") {
    in_every_world([&] {
        auto [a, b] = tcp_pair();
        for (Stream* stream : {&a, &b}) {
            int on = 0;
            socklen_t size = sizeof on;
            CHECK(sys::getsockopt(stream->fd().number(), IPPROTO_TCP, TCP_NODELAY, &on, size).ok());
            CHECK(on != 0);
        }
        CHECK(a.peer() == b.local());
        CHECK(a.local() == b.peer());
    });
}

TEST_CASE("stream: a chatty peer does not starve other greenlets", "[core][net]") {
    in_quiet_worlds([&] {
        auto [a, b] = Stream::pair();
        bool stop = false;
        std::size_t others = 0;
        auto other = spawn([&] {
            while (!stop) {
                ++others;
                yield();
            }
        });
        a.write_all(std::string(100'000, 'c'));
        char byte[1];
        for (int i = 0; i < 100'000; ++i) REQUIRE(b.read_some(std::span{byte}) == 1);
        stop = true;
        other.join();
        CHECK(others >= 100);
    });
}

TEST_CASE("stream: one that never waited may be destroyed while its user gives way",
          "[core][net]") {
    const bool reads = GENERATE(true, false);
    in_quiet_worlds([&] {
        auto ends = std::make_unique<std::pair<Stream, Stream>>(Stream::pair());
        auto spare = std::make_unique<Stream>(std::move(ends->first));
        Stream& other = ends->second;
        int calls = 0;
        if (reads) {
            spare->write_all(std::string(2000, 'r'));
            char byte[1];
            auto reader = spawn([&] {
                return error_of([&] {
                    for (; calls < 1000; ++calls) (void)other.read_some(std::span{byte});
                });
            });
            auto destroyer = spawn([&] { ends.reset(); });
            CHECK(reader.get() == EBADF);
        } else {
            int error = 0;
            std::size_t written = 1;
            auto writer = spawn([&] {
                try {
                    for (; calls < 1000; ++calls) other.write_all("w");
                } catch (const WriteError& failure) {
                    error = failure.code().value();
                    written = failure.written();
                }
            });
            auto destroyer = spawn([&] { ends.reset(); });
            writer.join();
            CHECK(error == EBADF);
            CHECK(written == 0);
        }
        CHECK(calls < 1000);
    });
}

TEST_CASE("stream: connecting to where nobody listens says so, with the address", "[core][net]") {
    in_every_world([&] {
        Endpoint nobody = loopback;
        {
            Listener listener = Listener::bind(loopback);
            nobody = listener.local();
        }
        try {
            (void)Stream::connect(nobody, 5s);
            FAIL("connected to nobody");
        } catch (const std::system_error& error) {
            CHECK(error.code().value() == ECONNREFUSED);
            CHECK(std::string(error.what()).find(nobody.text()) != std::string::npos);
        }
    });
}

TEST_CASE("stream: connecting waits for a full Unix backlog and ends with its limit",
          "[core][net]") {
    in_every_world([&] {
        const Endpoint at = Endpoint::parse("unix:@greensup-test-" + std::to_string(::getpid()));
        Listener listener = Listener::bind(at, 0);
        Stream first = Stream::connect(at, 1s);  // a backlog of 0 holds one
        CHECK(error_of([&] { (void)Stream::connect(at, 5ms); }) == ETIMEDOUT);
        auto second = spawn([&] { return Stream::connect(at, 5s).is_open(); });
        settle();
        CHECK_FALSE(second.ready());
        (void)listener.accept();
        CHECK(second.get());
    });
}

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

TEST_CASE("listener: the file of a dead Unix listener is replaced, that of a living one is not",
          "[core][net]") {
    const tests::TempDir directory;
    const Endpoint at = Endpoint::parse("unix:" + directory / "it.sock");
    in_every_world([&] {
        {
            Listener dead = Listener::bind(at);
            CHECK(dead.local().path() == at.path());
        }
        Listener living = Listener::bind(at);
        CHECK(error_of([&] { (void)Listener::bind(at); }) == EADDRINUSE);
        Stream client = Stream::connect(at, 1s);
        CHECK(living.accept().is_open());
        living.close();
        CHECK(error_of([&] { (void)Stream::connect(at, 1s); }) == ECONNREFUSED);
        CHECK(sys::unlink(at.path().c_str()).ok());
        CHECK(error_of([&] { (void)Stream::connect(at, 1s); }) == ENOENT);
    });
}

TEST_CASE("listener: of two that replace the file of a dead one, one does", "[core][net]") {
    // The second one comes when the first is about to make this call.
    const sys::Call amid = GENERATE(sys::Call::unlink, sys::Call::listen);
    const tests::TempDir directory;
    const Endpoint at = Endpoint::parse("unix:" + directory / "it.sock");
    if (amid == sys::Call::unlink) (void)Listener::bind(at);  // dead

    struct Second final : sys::Injector {
        Second(sys::Call when, const Endpoint& where) : amid{when}, at{where} {
            outer = sys::set_injector(this);
        }
        ~Second() override {
            if (thread.joinable()) thread.join();
            (void)sys::set_injector(outer);
        }
        int before(sys::Call call, int) noexcept override {
            if (call != amid || begun.exchange(true)) return 0;
            thread = std::thread{[this] {
                error = error_of([&] { listener = Listener::bind(at); });
                done.set_value();
            }};
            // It waits for the first one, or else has ended long before that.
            (void)done.get_future().wait_for(50ms);
            return 0;
        }
        sys::Call amid;
        Endpoint at;
        Injector* outer;
        std::atomic<bool> begun = false;
        std::thread thread;
        std::promise<void> done;
        std::optional<Listener> listener;
        int error = 0;
    } second{amid, at};

    Listener first = Listener::bind(at);
    second.thread.join();
    CHECK(second.error == EADDRINUSE);
    CHECK_FALSE(second.listener);
    const Stream client = Stream::connect(at, 1s);
    CHECK(first.accept_for(1s));
}

TEST_CASE("listener: a file is bound although its directory cannot be locked at once or at all",
          "[core][net]") {
    struct Case {
        sys::Call call;
        int error;
        int seen;
    };
    const auto [call, error, seen] =
        GENERATE(Case{sys::Call::open, EACCES, 1}, Case{sys::Call::flock, ENOLCK, 1},
                 Case{sys::Call::flock, EWOULDBLOCK, 3});
    const tests::TempDir directory;
    const Endpoint at = Endpoint::parse("unix:" + directory / "it.sock");
    const std::size_t descriptors = open_descriptors();
    {
        const Fault failure{call, error, 0, seen};
        const Listener listener = Listener::bind(at);
        CHECK(failure.seen >= seen);
        CHECK(open_descriptors() == descriptors + 1);
    }
    CHECK(open_descriptors() == descriptors);
}

TEST_CASE("listener: a file that is no socket is left alone", "[core][net]") {
    const tests::TempDir directory;
    const Endpoint file = Endpoint::parse("unix:" + directory / "file");
    Fd plain{static_cast<int>(
        sys::must(sys::open(file.path().c_str(), O_CREAT | O_WRONLY, 0600), "open"))};
    CHECK(error_of([&] { (void)Listener::bind(file); }) == EADDRINUSE);
    CHECK(sys::unlink(file.path().c_str()).ok());
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
