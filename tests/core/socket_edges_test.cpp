// Between a report of the kernel and the call that it was for: what must not get lost there.

#include <string>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/socket.hpp>

#include "support/run_green.hpp"
#include "support/streams.hpp"

using namespace green;
using namespace std::chrono_literals;
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
