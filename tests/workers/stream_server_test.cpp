#include <array>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/log.hpp>
#include <green/server.hpp>

#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::settle;

namespace {

constexpr const char* anywhere = "127.0.0.1:0";

void pong(Stream peer) { peer.write_all("PONG"); }

std::string read_all(Stream& stream, Deadline deadline = 20s) {
    std::string all;
    char buffer[256];
    while (const std::size_t got = stream.read_some(std::span{buffer}, deadline))
        all.append(buffer, got);
    return all;
}

std::string ask(const Endpoint& at, Deadline deadline = 20s) {
    Stream stream = Stream::connect(at, 20s);
    return read_all(stream, deadline);
}

int error_of(const auto& call) {
    try {
        call();
    } catch (const std::system_error& error) {
        return error.code().value();
    }
    return 0;
}

}  // namespace

TEST_CASE("stream server: it echoes to many clients at once", "[workers][net]") {
    tests::run_green_for_real([] {
        StreamServer echo{anywhere, [](TcpStream peer) {
                              std::array<std::byte, 4096> buffer;
                              while (auto n = peer.read_some(buffer))
                                  peer.write_all({buffer.data(), n});
                          }};
        echo.start();
        Group clients;
        int right = 0;
        for (int i = 0; i < 200; ++i) {
            clients.spawn([&, i] {
                const std::string text = "client " + std::to_string(i);
                Stream stream = Stream::connect(echo.endpoint(), 20s);
                stream.write_all(text);
                stream.shutdown_write();
                right += read_all(stream) == text ? 1 : 0;
            });
        }
        clients.join();
        CHECK(right == 200);
        CHECK(echo.join(20s));
    });
}

TEST_CASE("stream server: a deadline on its start is none on its service", "[workers][net]") {
    tests::run_green_for_real([] {
        const tests::Errors errors;
        StreamServer server{anywhere, [](Stream peer) {
                                CHECK(ambient_deadline().is_never());
                                pong(std::move(peer));
                            }};
        {
            const DeadlineScope limit{1ms};
            server.start();
            CHECK_THROWS_AS(spawn([] { sleep(1h); }).get(), Timeout);
        }
        CHECK(ask(server.endpoint()) == "PONG");
    });
}

TEST_CASE("stream server: it pauses, goes on and stops", "[workers][net]") {
    tests::run_green_for_real([] {
        StreamServer server{anywhere, pong};
        server.start();
        CHECK(ask(server.endpoint()) == "PONG");
        server.stop_accepting();
        Stream waiting = Stream::connect(server.endpoint(), 20s);  // by the kernel
        CHECK(error_of([&] { (void)read_all(waiting, 20ms); }) == ETIMEDOUT);
        server.start();
        CHECK(read_all(waiting) == "PONG");
        server.close();
        CHECK(error_of([&] { (void)ask(server.endpoint()); }) == ECONNREFUSED);
        server.start();  // closed is closed
        CHECK(error_of([&] { (void)ask(server.endpoint()); }) == ECONNREFUSED);
    });
}

TEST_CASE(
    "stream server: a handler's error closes its connection and is reported once, with the address",
    "[workers][net]") {
    tests::run_green_for_real([] {
        tests::Errors errors;
        int served = 0;
        StreamServer server{anywhere, [&](Stream peer) {
                                if (++served == 1) throw std::runtime_error("boom");
                                if (served == 2) return;
                                peer.write_all("third");
                            }};
        server.start();
        Stream first = Stream::connect(server.endpoint(), 20s);
        const std::string address = first.local().text();
        CHECK(read_all(first).empty());
        CHECK(ask(server.endpoint()).empty());
        CHECK(ask(server.endpoint()) == "third");
        REQUIRE(errors.count() == 1);
        CHECK(errors.all.front().find("boom") != std::string::npos);
        CHECK(errors.all.front().find(address) != std::string::npos);
    });
}

TEST_CASE("stream server: errors of accept are waited out", "[workers][net]") {
    tests::run_green_for_real([] {
        log::set_level(log::Level::off);
        StreamServer server{anywhere, pong};
        Stream waiting = Stream::connect(server.endpoint(), 20s);
        {
            struct Full final : sys::Injector {
                int before(sys::Call call, int) noexcept override {
                    return call == sys::Call::accept4 && left-- > 0 ? EMFILE : 0;
                }
                int left = 3;
            } full;
            (void)sys::set_injector(&full);
            const TimePoint start = now();
            server.start();
            CHECK(read_all(waiting) == "PONG");
            (void)sys::set_injector(nullptr);
            CHECK(now() - start >= 70ms);  // 10 + 20 + 40
        }
        log::set_level(log::Level::info);
    });
}

TEST_CASE("stream server: serving for ever ends when it is closed, also when that was before",
          "[workers][net]") {
    tests::run_green_for_real([] {
        StreamServer server{anywhere, pong};
        auto serving = spawn([&] { server.serve_forever(); });
        CHECK(ask(server.endpoint()) == "PONG");
        CHECK_FALSE(serving.ready());
        server.close();
        serving.get();
        server.serve_forever();
    });
}

TEST_CASE("stream server: killing the one who serves closes the server", "[workers][net]") {
    tests::run_green_for_real([] {
        StreamServer server{anywhere, [](Stream peer) { (void)read_all(peer, Deadline::never()); }};
        auto serving = spawn([&] { server.serve_forever(); });
        Stream client = Stream::connect(server.endpoint(), 20s);
        while (server.connections() == 0) yield();
        CHECK(serving.kill(20s));
        CHECK(server.connections() == 0);
        CHECK(read_all(client).empty());
    });
}

TEST_CASE("stream server: a drain serves what has come, then ends", "[workers][net]") {
    tests::run_green_for_real([] {
        StreamServer server{anywhere, [](Stream peer) {
                                char byte;
                                (void)peer.read_some(std::span{&byte, 1});
                                peer.write_all("served");
                            }};
        std::vector<Stream> clients;
        for (int i = 0; i < 100; ++i) clients.push_back(Stream::connect(server.endpoint(), 20s));
        auto drained = spawn([&] { return server.drain(20s); });  // it never accepted before
        settle();
        CHECK_FALSE(drained.ready());
        CHECK(server.connections() == 100);
        for (Stream& client : clients) client.write_all("x");
        for (Stream& client : clients) CHECK(read_all(client) == "served");
        CHECK(drained.get());
        CHECK(error_of([&] { (void)ask(server.endpoint()); }) == ECONNREFUSED);
    });
}

TEST_CASE("stream server: a drain whose limit passes cuts the rest", "[workers][net]") {
    tests::run_green_for_real([] {
        StreamServer server{anywhere, [](Stream peer) { (void)read_all(peer, Deadline::never()); }};
        server.start();
        Stream client = Stream::connect(server.endpoint(), 20s);
        CHECK_FALSE(server.drain(5ms));
        CHECK(read_all(client).empty());
    });
}
