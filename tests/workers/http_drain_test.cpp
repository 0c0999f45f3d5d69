// The rules are those of docs/explanation/draining.md.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/http.hpp>
#include <green/log.hpp>
#include <green/simulation.hpp>

#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "workers/http_client.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::Answer;
using tests::HttpClient;
using tests::settle;

namespace {

constexpr const char* anywhere = "127.0.0.1:0";

void with_server(HttpServer::Handler handler, const std::function<void(HttpServer&)>& body,
                 HttpLimits limits = {}) {
    tests::run_green_for_real([&] {
        HttpServer server{anywhere, std::move(handler), limits};
        server.start();
        body(server);
    });
}

/// In virtual time: what a deadline decides must not depend on the machine's speed.
void with_server_in_virtual_time(HttpServer::Handler handler,
                                 const std::function<void(HttpServer&)>& body, HttpLimits limits) {
    Simulation world{0, Simulation::Conditions::calm()};
    world.run([&] {
        HttpServer server{anywhere, std::move(handler), limits};
        server.start();
        body(server);
    });
}

void hello(const HttpRequest& request, HttpResponse& response) {
    response.text("hello " + std::string(request.path()));
}

std::string request(const std::string& path) {
    return "GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n";
}

/// Lets the server see what was sent on the loopback, which the kernel delivers within the send.
void arrive() {
    for (int i = 0; i < 5; ++i) settle();
}

auto start_drain(HttpServer& server, Duration limit) {
    auto drained = spawn([&server, limit] { return server.drain(limit); });
    arrive();
    return drained;
}

}  // namespace

TEST_CASE("http drain: a server without connections is drained at once", "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        CHECK(server.drain(20s));
        CHECK(server.drain(20s));
        server.serve_forever();
        CHECK_THROWS_AS(HttpClient{server.endpoint()}, std::system_error);
    });
}

TEST_CASE("http drain: the next answer on a kept-alive connection closes it", "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        CHECK_FALSE(client.get("/before").closes());
        auto drained = start_drain(server, 20s);
        CHECK_FALSE(drained.ready());
        const Answer answer = client.get("/during");
        CHECK(answer.body == "hello /during");
        CHECK(answer.closes());
        CHECK(client.at_end());
        client.stream.close();
        CHECK(drained.get());
        CHECK(server.figures().forced == 0);
    });
}

TEST_CASE("http drain: connections that wait to be accepted are served", "[workers][http]") {
    tests::run_green_for_real([] {
        HttpServer server{anywhere, hello};  // not started: nothing is accepted
        std::vector<std::unique_ptr<HttpClient>> clients;
        for (int i = 0; i < 100; ++i) {
            clients.push_back(std::make_unique<HttpClient>(server.endpoint()));
            if (i % 2 == 0) clients.back()->send(request("/early"));
        }
        auto drained = start_drain(server, 20s);
        for (int i = 0; i < 100; ++i) {
            HttpClient& client = *clients[static_cast<std::size_t>(i)];
            if (i % 2 != 0) client.send(request("/late"));
            CHECK(client.read().closes());
            client.stream.close();
        }
        CHECK(drained.get());
        CHECK(server.figures().requests == 100);
    });
}

TEST_CASE("http drain: a request of which one byte was sent is served in full", "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        client.send("G");
        arrive();
        auto drained = start_drain(server, 20s);
        client.send("ET /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo");
        arrive();
        CHECK_FALSE(drained.ready());
        client.send("dy");
        const Answer answer = client.read();
        CHECK(answer.body == "hello /slow");
        CHECK(answer.closes());
        client.stream.close();
        CHECK(drained.get());
    });
}

TEST_CASE("http drain: a handler that waits is waited for", "[workers][http]") {
    Event go;
    const auto handler = [&](const HttpRequest&, HttpResponse& response) {
        go.wait();
        response.text("at last");
    };
    with_server(handler, [&](HttpServer& server) {
        HttpClient client{server.endpoint()};
        client.send(request("/"));
        arrive();
        auto drained = start_drain(server, 20s);
        CHECK_FALSE(drained.ready());
        go.set();
        const Answer answer = client.read();
        CHECK(answer.body == "at last");
        CHECK(answer.closes());
        client.stream.close();
        CHECK(drained.get());
    });
}

TEST_CASE("http drain: all pipelined requests are answered and the last answer closes",
          "[workers][http]") {
    Event go;
    const auto handler = [&](const HttpRequest& it, HttpResponse& response) {
        if (it.path() == "/0") go.wait();
        response.text(std::string(it.path()));
    };
    with_server(handler, [&](HttpServer& server) {
        HttpClient client{server.endpoint()};
        client.send(request("/0") + request("/1"));
        arrive();
        auto drained = start_drain(server, 20s);
        client.send(request("/2") +
                    request("/3"));  // still in the kernel when the first is answered
        go.set();
        for (int i = 0; i < 4; ++i) {
            const Answer answer = client.read();
            CHECK(answer.body == "/" + std::to_string(i));
            CHECK(answer.closes() == (i == 3));
        }
        CHECK(client.at_end());
        client.stream.close();
        CHECK(drained.get());
    });
}

TEST_CASE("http drain: a silent connection is open until shortly before the deadline",
          "[workers][http]") {
    HttpLimits limits;
    limits.linger_time = 10ms;
    with_server_in_virtual_time(
        hello,
        [](HttpServer& server) {
            HttpClient silent{server.endpoint()};
            HttpClient used{server.endpoint()};
            (void)used.get("/");
            const TimePoint start = now();
            auto drained = spawn([&] { return server.drain(40ms); });
            CHECK(silent.at_end());
            CHECK(used.at_end());
            CHECK(now() - start >= 30ms);
            CHECK(now() - start < 40ms);
            CHECK_FALSE(drained.ready());  // it waits for the clients to close
            silent.stream.close();
            used.stream.close();
            CHECK(drained.get());
            CHECK(server.figures().forced == 0);
            CHECK(server.figures().crossed == 0);
        },
        limits);
}

TEST_CASE("http drain: what arrived just before a silent connection is half-closed is answered",
          "[workers][http]") {
    /// Sends a request in the very moment in which the server looks whether one has come.
    struct Crossing final : sys::Injector {
        explicit Crossing(int its_client) : client{its_client}, outer{sys::set_injector(this)} {}
        Crossing(const Crossing&) = delete;
        Crossing& operator=(const Crossing&) = delete;
        ~Crossing() override { (void)sys::set_injector(outer); }
        int before(sys::Call call, int fd) noexcept override {
            if (call == sys::Call::recv && fd != client && !std::exchange(sent, true)) {
                const std::string bytes = request("/crossing");
                (void)sys::send(client, bytes.data(), bytes.size(), 0);
            }
            return 0;
        }
        int client;
        sys::Injector* outer;
        bool sent = false;
    };
    HttpLimits limits;
    limits.linger_time = 5s;
    with_server_in_virtual_time(
        hello,
        [](HttpServer& server) {
            HttpClient client{server.endpoint()};
            (void)client.get("/");
            arrive();
            const Crossing crossing{client.stream.fd().number()};
            auto drained = spawn([&] { return server.drain(100ms); });
            drained.join(60ms);  // nobody reads until half of it has passed
            const Answer answer = client.read();
            CHECK(crossing.sent);
            CHECK(answer.body == "hello /crossing");
            CHECK(answer.closes());
            client.stream.close();
            CHECK(drained.get());
            CHECK(server.figures().crossed == 0);
        },
        limits);
}

TEST_CASE(
    "http drain: what comes after a silent connection was half-closed is counted, and no reset is "
    "sent",
    "[workers][http]") {
    HttpLimits limits;
    limits.linger_time = 5s;
    with_server_in_virtual_time(
        hello,
        [](HttpServer& server) {
            HttpClient client{server.endpoint()};
            (void)client.get("/");
            auto drained = spawn([&] { return server.drain(100ms); });
            CHECK(client.at_end());
            client.send(request("/too-late"));
            arrive();
            CHECK(client.at_end());  // an end, not ECONNRESET
            client.stream.close();
            CHECK(drained.get());
            CHECK(server.figures().crossed == 1);
        },
        limits);
}

TEST_CASE("http drain: who is not done at the deadline is cut and counted", "[workers][http]") {
    Event never;
    const auto handler = [&](const HttpRequest& it, HttpResponse& response) {
        if (it.path() == "/wait") never.wait();
        response.text("x");
    };
    with_server(handler, [](HttpServer& server) {
        HttpClient waits{server.endpoint()};
        HttpClient begun{server.endpoint()};
        HttpClient silent{server.endpoint()};
        waits.send(request("/wait"));
        begun.send("GET");
        arrive();
        CHECK_FALSE(server.drain(20ms));
        CHECK(server.figures().forced == 3);  // the silent one did not close its side
        CHECK(server.figures().open == 0);
    });
}

TEST_CASE("http drain: a deadline that has passed cuts at once", "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        (void)client.get("/");
        CHECK_FALSE(server.drain(0s));
        CHECK(client.at_end());
    });
}

TEST_CASE("http drain: killing the one who drains leaves a server that can be drained",
          "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        (void)client.get("/");
        auto drained = start_drain(server, 20s);
        drained.kill();
        auto again = start_drain(server, 20s);
        CHECK(client.get("/").closes());
        client.stream.close();
        CHECK(again.get());
    });
}

TEST_CASE("http drain: twenty replacements under load lose no request", "[workers][http]") {
    tests::run_green_for_real([] {
        Listener shared = Listener::bind(Endpoint::parse(anywhere));
        const Endpoint at = shared.local();
        const auto make = [&] {
            auto server = std::make_unique<HttpServer>(
                Listener::adopt(
                    Fd{static_cast<int>(sys::must(sys::dup(shared.fd().number()), "dup"))}),
                [](const HttpRequest& it, HttpResponse& response) {
                    if (it.path().back() == '7') yield();
                    response.text(std::string(it.path()));
                });
            server->start();
            return server;
        };
        bool stop = false;
        std::uint64_t answered = 0, failed = 0, reconnects = 0;
        Group clients;
        const auto load = [&](bool keep) {
            while (!stop) {
                try {
                    HttpClient client{at};
                    for (bool open = true; open && !stop;) {
                        const std::string path = "/" + std::to_string(answered);
                        const Answer answer = client.get(path);
                        (answer.status == 200 && answer.body == path ? answered : failed) += 1;
                        open = keep && !answer.closes();
                    }
                    ++reconnects;
                } catch (const std::exception& error) {
                    UNSCOPED_INFO(error.what());
                    ++failed;
                }
            }
        };
        std::vector<std::unique_ptr<HttpServer>> servers;
        servers.push_back(make());
        servers.push_back(make());
        for (int i = 0; i < 16; ++i) clients.spawn(load, true);
        for (int i = 0; i < 8; ++i) clients.spawn(load, false);
        for (int roll = 0; roll < 20; ++roll) {
            for (auto& server : servers) {
                const std::uint64_t before = answered;
                while (answered < before + 50) yield();
                auto next = make();
                CHECK(server->drain(20s));
                CHECK(server->figures().crossed == 0);
                server = std::move(next);
            }
        }
        stop = true;
        CHECK(clients.join(20s));
        CHECK(failed == 0);
        CHECK(answered > 2000);
        CHECK(reconnects > 400);
        for (auto& server : servers) CHECK(server->drain(20s));
    });
}

TEST_CASE("http drain: each failing system call of a drain still ends it", "[workers][http]") {
    tests::run_green_for_real([] {
        log::set_level(log::Level::off);
        const std::size_t failures = tests::for_each_failure(EIO, [](const tests::FailNth&) {
            try {
                HttpServer server{anywhere, hello};
                Group draining;  // which ends before the server goes
                server.start();
                HttpClient client{server.endpoint()};
                HttpClient silent{server.endpoint()};
                (void)client.get("/");
                auto drained = draining.spawn([&server] { return server.drain(50ms); });
                arrive();
                const Answer answer = client.get("/");
                client.stream.close();
                silent.stream.close();
                (void)drained.get();
            } catch (const std::system_error&) {
            } catch (const tests::NoAnswer&) {
            }
        });
        CHECK(failures > 20);
        log::set_level(log::Level::info);
    });
}
