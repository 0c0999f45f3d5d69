#include <cerrno>
#include <memory>
#include <netinet/tcp.h>
#include <string>
#include <system_error>
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
using tests::read_all;
using tests::read_exactly;
using tests::settle;
using tests::tcp_pair;

namespace {

const Endpoint loopback = Endpoint::parse("127.0.0.1:0");

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
