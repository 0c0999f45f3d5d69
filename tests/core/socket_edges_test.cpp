// Between a report of the kernel and the call that it was for: what must not get lost there.

#include <cerrno>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/socket.hpp>

#include "support/run_green.hpp"
#include "support/streams.hpp"
#include "support/worlds.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::error_of;
using tests::in_quiet_worlds;
using tests::read_exactly;
using tests::run_green_for_real;
using tests::settle;
using tests::tcp_pair;

namespace {

constexpr char urgent = '!';

void send_urgent(Stream& to) {
    sys::must(sys::send(to.fd().number(), &urgent, 1, MSG_OOB), "send");
}

/// So many bytes besides the urgent ones.
std::string read_plain(Stream& from, std::size_t size) {
    std::string all;
    while (all.size() < size) {
        char buffer[64];
        const std::size_t got = from.read_some(std::span{buffer});
        if (got == 0) break;
        all.append(buffer, got);
        std::erase(all, urgent);
    }
    return all;
}

}  // namespace

// A read stops at urgent data with a short count, whatever stands behind it.
TEST_CASE("stream: what stands behind urgent data is read, whenever that comes", "[core][net]") {
    const int in_line = GENERATE(0, 1);
    const std::string when = GENERATE(as<std::string>{}, "before the first wait", "with the bytes",
                                      "twice", "after the bytes", "after their report",
                                      "after their report, and taken out of band");
    INFO(when << (in_line != 0 ? ", in line" : ""));
    run_green_for_real([&] {
        auto [a, b] = tcp_pair();
        sys::must(
            sys::setsockopt(b.fd().number(), SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof in_line),
            "SO_OOBINLINE");
        const auto read = [&b = b](std::size_t size) {
            return spawn(
                [&b, size] { return with_timeout(5s, [&] { return read_plain(b, size); }); });
        };
        if (when == "before the first wait") {
            a.write_all("one");
            send_urgent(a);
            a.write_all("two");
        }
        auto reader = read(6);
        settle();
        if (when == "with the bytes") {
            a.write_all("one");
            send_urgent(a);
            a.write_all("two");
        } else if (when == "twice") {
            send_urgent(a);
            a.write_all("one");
            send_urgent(a);
            a.write_all("two");
        } else if (when == "after the bytes") {
            a.write_all("one");
            settle();
            send_urgent(a);
            settle();
            a.write_all("two");
        } else if (when != "before the first wait") {
            a.write_all("one");
            // When the reader is woken for the first bytes, and before it runs.
            HubRef{}.post([&, &a = a, &b = b] {
                send_urgent(a);
                a.write_all("two");
                char byte = 0;
                if (in_line == 0 && when != "after their report")
                    CHECK(sys::recv(b.fd().number(), &byte, 1, MSG_OOB).value == 1);
            });
        }
        CHECK(reader.get() == "onetwo");
        // Later reads take their turn as before.
        reader = read(5);
        settle();
        CHECK_FALSE(reader.ready());
        a.write_all("later");
        CHECK(reader.get() == "later");
    });
}

namespace {

/// Runs it in the hub, where nobody can wait.
void in_the_hub(const std::function<void()>& body) {
    const tests::Errors errors;
    Event done;
    HubRef{}.post([&] {
        done.set();
        body();
    });
    done.wait();
    CHECK(errors.all == std::vector<std::string>{});
}

}  // namespace

TEST_CASE("sockets: what must not wait is done in a hub callback as anywhere", "[core][net]") {
    const bool known = GENERATE(false, true);  // to the hub, from a wait before
    INFO((known ? "known" : "new"));
    in_quiet_worlds([&] {
        Listener listener = Listener::bind(Endpoint::parse("127.0.0.1:0"));
        auto [silent, reader] = Stream::pair();
        auto [writer, deaf] = Stream::pair();
        char buffer[8];
        const std::string much(8 << 20, 'm');
        if (known) {
            CHECK_FALSE(listener.accept_for(1ms));
            CHECK_FALSE(reader.fd().wait_readable(1ms));
            CHECK(error_of([&, &writer = writer] { writer.write_all(much, 1ms); }) == ETIMEDOUT);
        }
        in_the_hub([&, &reader = reader, &writer = writer] {
            for (int i = 0; i < 3; ++i) {
                CHECK_FALSE(listener.try_accept());
                CHECK_FALSE(reader.fd().wait_readable(Deadline::passed()));
                CHECK(error_of([&] {
                          (void)reader.read_some(std::span{buffer}, Deadline::passed());
                      }) == ETIMEDOUT);
                CHECK(error_of([&] { writer.write_all(much, Deadline::passed()); }) == ETIMEDOUT);
                CHECK_FALSE(writer.fd().wait_writable(Deadline::passed()));
            }
        });
        const Stream client = Stream::connect(listener.local(), 5s);
        in_the_hub([&, &silent = silent, &reader = reader] {
            CHECK(listener.try_accept());
            silent.write_all("x", Deadline::passed());
            CHECK(reader.fd().wait_readable(Deadline::passed()));
            CHECK(reader.read_some(std::span{buffer}, Deadline::passed()) == 1);
        });
    });
}

namespace {

/// One greenlet waits for bytes, and another one runs after the report of them that wakes it and
/// before it: who came second, where the first has waited already.
class Second {
 public:
    /// `body` runs when the first is on its way. Call report() then.
    template <class Body>
    explicit Second(Body body)
        : greenlet_{spawn([this, body] {
              (void)starts_.second.fd().wait_readable();
              body();
          })} {
        settle();
    }
    /// Both at once: the earlier one runs first.
    void report(Stream& to_first) {
        starts_.first.write_all("!");
        to_first.write_all("bytes");
        settle();
    }
    void get() { greenlet_.get(); }

 private:
    std::pair<Stream, Stream> starts_ = Stream::pair();
    Greenlet<void> greenlet_;
};

}  // namespace

TEST_CASE("stream: a second reader that is quicker than the first, who was woken, cannot wait",
          "[core][net]") {
    const bool tcp = GENERATE(true, false);
    const std::string how =
        GENERATE(as<std::string>{}, "reads", "waits", "asks", "selects", "waits in a set");
    INFO(how);
    in_quiet_worlds([&] {
        auto [a, b] = tcp ? tcp_pair() : Stream::pair();
        auto first = spawn([&b = b] { return read_exactly(b, 5); });
        Second second{[&b = b, &how] {
            CHECK(read_exactly(b, 5) == "bytes");  // it need not wait
            char buffer[8];
            const auto wait = [&] {
                const TimeoutScope limit{100ms};
                if (how == "reads") (void)b.read_some(std::span{buffer});
                if (how == "waits") (void)b.fd().wait_readable();
                if (how == "asks") (void)b.fd().wait_readable(Deadline::passed());
                if (how == "selects") (void)select(readable(b.fd()));
                if (how == "waits in a set") (void)green::wait({readable(b.fd())});
            };
            for (int i = 0; i < 2; ++i) CHECK_THROWS_AS(wait(), ConcurrentUse);
        }};
        second.report(a);
        second.get();
        CHECK_FALSE(first.ready());
        a.write_all("other");
        CHECK(first.get() == "other");
        CHECK_FALSE(b.fd().wait_readable(1ms));  // the place is free
    });
}

TEST_CASE("stream: a second reader is not refused what is there for both", "[core][net]") {
    in_quiet_worlds([&] {
        auto [a, b] = Stream::pair();
        auto first = spawn([&b = b] { return read_exactly(b, 3); });
        Second second{[&b = b] { CHECK(read_exactly(b, 2) == "by"); }};
        second.report(a);
        second.get();
        CHECK(first.get() == "tes");
    });
}

TEST_CASE("stream: a reader who is killed or out of time after he was woken leaves his place",
          "[core][net]") {
    const bool killed = GENERATE(true, false);
    in_quiet_worlds([&] {
        auto [a, b] = Stream::pair();
        auto first = spawn([&b = b, killed] {
            char buffer[8];
            return error_of([&] {
                (void)b.read_some(std::span{buffer}, killed ? Deadline::never() : Deadline{50ms});
            });
        });
        Second second{[&] {
            CHECK(read_exactly(b, 5) == "bytes");
            if (killed) first.kill_soon();
        }};
        second.report(a);
        second.get();
        first.join();
        if (!killed) CHECK(first.get() == ETIMEDOUT);
        auto third = spawn([&b = b] { return read_exactly(b, 5); });
        settle();
        a.write_all("third");
        CHECK(third.get() == "third");
    });
}

TEST_CASE(
    "stream: a reader whose descriptor is closed after he was woken holds no place of the next",
    "[core][net]") {
    in_quiet_worlds([&] {
        auto [a, b] = Stream::pair();
        auto first = spawn([&b = b] { return error_of([&] { (void)read_exactly(b, 9); }); });
        Second second{[&b = b] {
            const int number = b.fd().number();
            b.close();
            auto [next, peer] = Stream::pair();
            REQUIRE(next.fd().number() == number);
            auto waits = spawn([&peer = peer] {
                settle();
                peer.write_all("next");
            });
            CHECK(read_exactly(next, 4) == "next");
        }};
        second.report(a);
        second.get();
        CHECK(first.get() == EBADF);
    });
}
