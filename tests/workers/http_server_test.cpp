#include <functional>
#include <stdexcept>
#include <string>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/http.hpp>
#include <green/log.hpp>

#include "support/faults.hpp"
#include "support/run_green.hpp"
#include "workers/http_client.hpp"

using namespace green;
using namespace std::chrono_literals;
using tests::Answer;
using tests::HttpClient;

namespace {

constexpr const char* anywhere = "127.0.0.1:0";

/// A server on the real world; nothing may be left of it.
void with_server(HttpServer::Handler handler, const std::function<void(HttpServer&)>& body,
                 HttpLimits limits = {}) {
    tests::run_green_for_real([&] {
        log::set_level(log::Level::off);
        HttpServer server{anywhere, std::move(handler), limits};
        server.start();
        body(server);
        server.close();
        CHECK(server.figures().open == 0);
        log::set_level(log::Level::info);
    });
}

void hello(const HttpRequest& request, HttpResponse& response) {
    response.text("hello " + std::string(request.path()));
}

std::string request(const std::string& line, const std::string& fields = "",
                    const std::string& body = "") {
    return line + " HTTP/1.1\r\nHost: test\r\n" + fields + "\r\n" + body;
}

struct Counter final : sys::Injector {
    explicit Counter(sys::Call which) : call{which} { (void)sys::set_injector(this); }
    ~Counter() override { (void)sys::set_injector(nullptr); }
    int before(sys::Call asked, int) noexcept override {
        seen += asked == call ? 1 : 0;
        return 0;
    }
    sys::Call call;
    int seen = 0;
};

}  // namespace

TEST_CASE("http server: many requests on one connection are answered in full", "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        for (int i = 0; i < 100; ++i) {
            const Answer answer = client.get("/" + std::to_string(i));
            CHECK(answer.status == 200);
            CHECK(answer.body == "hello /" + std::to_string(i));
        }
        const Answer answer = client.get("/x");
        CHECK(answer.field("Content-Type") == "text/plain; charset=utf-8");
        CHECK(answer.field("Content-Length") == "8");
        CHECK(answer.field("Connection").empty());
        CHECK(answer.field("Date").size() == 29);
        CHECK(answer.field("Date").ends_with(" GMT"));
        CHECK(server.figures().accepted == 1);
        CHECK(server.figures().requests == 101);
    });
}

TEST_CASE("http server: what the handler says is what is sent", "[workers][http]") {
    const auto handler = [](const HttpRequest& it, HttpResponse& response) {
        if (it.path() == "/empty") return;
        if (it.path() == "/none") return response.status(204);
        if (it.path() == "/json") return response.json("{}");
        if (it.path() == "/close") return response.close();
        if (it.path() == "/echo") {
            response.header("X-Method", it.method());
            response.header("Content-Type", "image/png");
            response.body(std::string(it.body()));
        }
        response.status(202);
    };
    with_server(handler, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        Answer answer = client.get("/empty");
        CHECK(answer.status == 200);
        CHECK(answer.field("Content-Length") == "0");
        answer = client.get("/none");
        CHECK(answer.status == 204);
        CHECK(answer.field("Content-Length").empty());
        CHECK(client.get("/json").field("Content-Type") == "application/json");
        client.send(request("PUT /echo", "Content-Length: 4\r\n", "body"));
        answer = client.read();
        CHECK(answer.status == 202);
        CHECK(answer.head.starts_with("HTTP/1.1 202 Accepted\r\n"));
        CHECK(answer.field("X-Method") == "PUT");
        CHECK(answer.field("Content-Type") == "image/png");
        CHECK(answer.body == "body");
        CHECK(client.get("/close").closes());
        CHECK(client.at_end());
    });
}

TEST_CASE("http server: HEAD gets the head of the answer and no body", "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        client.send(request("HEAD /abc") + request("GET /next"));
        const Answer head = client.read(true);
        CHECK(head.field("Content-Length") == "10");
        CHECK(client.read().body == "hello /next");
    });
}

TEST_CASE("http server: who wants to close gets a closing answer, HTTP/1.0 must ask to stay",
          "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        for (const std::string& bytes :
             {request("GET /", "Connection: close\r\n"), std::string("GET / HTTP/1.0\r\n\r\n")}) {
            HttpClient client{server.endpoint()};
            client.send(bytes);
            CHECK(client.read().closes());
            CHECK(client.at_end());
        }
        HttpClient client{server.endpoint()};
        for (int i = 0; i < 2; ++i) {
            client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
            CHECK(client.read().field("Connection") == "keep-alive");
        }
    });
}

TEST_CASE("http server: a client that has closed its side is answered", "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        client.send(request("GET /half"));
        client.stream.shutdown_write();
        CHECK(client.read().body == "hello /half");
        CHECK(client.at_end());
    });
}

TEST_CASE("http server: an answer is one write, and so are those to pipelined requests",
          "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        (void)client.get("/warm");
        std::string sixteen;
        for (int i = 0; i < 16; ++i) sixteen += request("GET /" + std::to_string(i));
        const Counter writes{sys::Call::send};
        (void)client.get("/one");
        CHECK(writes.seen == 2);  // ours and theirs
        client.send(sixteen);
        for (int i = 0; i < 16; ++i) CHECK(client.read().body == "hello /" + std::to_string(i));
        CHECK(writes.seen == 4);
    });
}

TEST_CASE("http server: a request on a kept-alive connection costs one read and no epoll_ctl",
          "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        for (int i = 0; i < 3; ++i) (void)client.get("/warm");
        {
            const Counter reads{sys::Call::recv};
            for (int i = 0; i < 10; ++i) (void)client.get("/x");
            CHECK(reads.seen == 20);  // both sides
        }
        const Counter registrations{sys::Call::epoll_ctl};
        for (int i = 0; i < 10; ++i) (void)client.get("/x");
        CHECK(registrations.seen == 0);
    });
}

TEST_CASE("http server: an answer does not wait for a later handler that waits",
          "[workers][http]") {
    Event go;
    const auto handler = [&](const HttpRequest& it, HttpResponse& response) {
        if (it.path() == "/slow") go.wait();
        response.text(std::string(it.path()));
    };
    with_server(handler, [&](HttpServer& server) {
        HttpClient client{server.endpoint()};
        client.send(request("GET /fast") + request("GET /slow") + request("GET /last"));
        CHECK(client.read().body == "/fast");
        go.set();
        CHECK(client.read().body == "/slow");
        CHECK(client.read().body == "/last");
    });
}

TEST_CASE("http server: large bodies pass in both directions", "[workers][http]") {
    const auto echo = [](const HttpRequest& it, HttpResponse& response) {
        response.body(std::string(it.body()));
    };
    with_server(echo, [](HttpServer& server) {
        std::string body(4 << 20, ' ');
        for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 31 % 251);
        HttpClient client{server.endpoint()};
        auto sender = spawn([&] {
            client.send(
                request("POST /", "Content-Length: " + std::to_string(body.size()) + "\r\n", body));
            client.send(request("POST /", "Transfer-Encoding: chunked\r\n",
                                "400000\r\n" + body + "\r\n0\r\n\r\n"));
        });
        CHECK(client.read().body == body);
        CHECK(client.read().body == body);
        sender.get();
    });
}

TEST_CASE("http server: it says continue once, where the body is waited for", "[workers][http]") {
    const auto echo = [](const HttpRequest& it, HttpResponse& response) {
        response.body(std::string(it.body()));
    };
    with_server(echo, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        const std::string fields = "Expect: 100-continue\r\nContent-Length: 4\r\n";
        client.send(request("POST /", fields));
        CHECK(client.read().status == 100);
        client.send("bo");
        tests::settle();
        client.send("dy");
        CHECK(client.read().body == "body");
        client.send(request("POST /", fields, "sent"));  // without waiting for it
        CHECK(client.read().body == "sent");
    });
}

TEST_CASE("http server: a bad request is answered, closed, and nothing behind it is served",
          "[workers][http]") {
    HttpLimits limits;
    limits.request_line = 100;
    limits.headers = 500;
    limits.body = 1000;
    const auto [bytes, status] = GENERATE(table<std::string, int>({
        {"GET /" + std::string(200, 'x') + " HTTP/1.1\r\n", 414},
        {request("GET /", "Big: " + std::string(600, 'x') + "\r\n"), 431},
        {request("POST /", "Content-Length: 1001\r\n"), 413},
        {request("POST /", "Content-Length: -1\r\n"), 400},
        {request("POST /", "Content-Length: many\r\n"), 400},
        {request("POST /", "Transfer-Encoding: chunked\r\n", "zz\r\n"), 400},
        {request("POST /", "Transfer-Encoding: chunked\r\n",
                 "0\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"),
         400},
        {request("POST /", "Transfer-Encoding: chunked\r\n",
                 "1\r\nxGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"),
         400},
        {"GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505},
        {request("POST /", "Expect: 100-continue\r\nContent-Length: 5000\r\n"), 413},
    }));
    with_server(
        hello,
        [&, &bytes = bytes, &status = status](HttpServer& server) {
            HttpClient client{server.endpoint()};
            client.send(request("GET /before") + bytes + request("GET /behind"));
            CHECK(client.read().body == "hello /before");
            const Answer answer = client.read();
            CHECK(answer.status == status);
            CHECK(answer.closes());
            client.stream.shutdown_write();
            CHECK(client.at_end());
            CHECK(server.figures().requests == 1);
            CHECK(server.figures().refused == 1);
        },
        limits);
}

TEST_CASE("http server: the refusal of a body that is too large reaches a client that still sends",
          "[workers][http]") {
    HttpLimits limits;
    limits.body = 1000;
    with_server(
        hello,
        [](HttpServer& server) {
            HttpClient client{server.endpoint()};
            client.send(request("POST /", "Content-Length: 4000000\r\n"));
            client.send(std::string(4'000'000, 'x'));  // more than all buffers hold
            CHECK(client.read().status == 413);
            client.stream.shutdown_write();
            CHECK(client.at_end());
        },
        limits);
}

TEST_CASE("http server: a handler that throws is a 500, and the connection goes on",
          "[workers][http]") {
    const auto handler = [](const HttpRequest& it, HttpResponse& response) {
        response.header("X-Half", "done");
        if (it.path() == "/throw") throw std::runtime_error("boom");
        if (it.path() == "/limit") {
            AsyncResult<int> never;
            (void)never.get(1ms);
        }
        if (it.path() == "/inject") response.header("X-Name", "value\r\nX-Injected: yes");
        if (it.path() == "/inject-name") response.header("X-Name:\n", "value");
        if (it.path() == "/own") response.header("content-length", "3");
        if (it.path() == "/status") response.status(1000);
    };
    with_server(handler, [](HttpServer& server) {
        HttpClient client{server.endpoint()};
        for (const char* path :
             {"/throw", "/limit", "/inject", "/inject-name", "/own", "/status"}) {
            const Answer answer = client.get(path);
            CHECK(answer.status == 500);
            CHECK(answer.field("X-Half").empty());
            CHECK(answer.head.find("Injected") == std::string::npos);
        }
        CHECK(client.get("/fine").status == 200);
    });
}

TEST_CASE("http server: who is too slow is told so, who is silent is closed", "[workers][http]") {
    HttpLimits limits;
    limits.head_time = limits.body_time = 10ms;
    limits.idle_time = 10ms;
    with_server(
        hello,
        [](HttpServer& server) {
            HttpClient slow_head{server.endpoint()};
            slow_head.send("GET / HT");
            CHECK(slow_head.read().status == 408);
            HttpClient slow_body{server.endpoint()};
            slow_body.send(request("POST /", "Content-Length: 5\r\n", "he"));
            CHECK(slow_body.read().status == 408);
            HttpClient silent{server.endpoint()};
            CHECK(silent.at_end());
            HttpClient empty_lines{server.endpoint()};
            empty_lines.send("\r\n\r\n");
            CHECK(empty_lines.at_end());
        },
        limits);
}

TEST_CASE("http server: it binds what is asked for", "[workers][http]") {
    CHECK_THROWS_AS((HttpServer{"nonsense", hello}), std::invalid_argument);
    tests::run_green_for_real([] {
        HttpServer server{Listener::bind(Endpoint::parse("unix:@greensup-http-test-" +
                                                         std::to_string(::getpid()))),
                          hello};
        auto serving = spawn([&] { server.serve_forever(); });
        HttpClient client{server.endpoint()};
        CHECK(client.get("/unix").body == "hello /unix");
        server.close();
        serving.get();
    });
}

TEST_CASE("http server: closing at each wait leaves nothing", "[workers][http]") {
    Event never;
    const auto handler = [&](const HttpRequest& it, HttpResponse& response) {
        if (it.path() == "/wait") never.wait();
        if (it.path() == "/large") response.body(std::string(64 << 20, 'l'));
    };
    const std::string bytes = GENERATE(
        as<std::string>{}, "", "GET", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
        "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n", "GET /large HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "bad\r\n\r\n");
    with_server(handler, [&](HttpServer& server) {
        HttpClient client{server.endpoint()};
        client.send(bytes);
        while (server.figures().open == 0) yield();
        for (int i = 0; i < 10; ++i) tests::settle();
        CHECK(server.figures().open == 1);
        server.close();
    });
}

TEST_CASE("http server: a client that goes away at any byte harms nobody", "[workers][http]") {
    with_server(hello, [](HttpServer& server) {
        const std::string bytes =
            request("POST /", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n");
        for (std::size_t size = 0; size <= bytes.size(); ++size) {
            HttpClient client{server.endpoint()};
            client.send(bytes.substr(0, size));
        }
        HttpClient last{server.endpoint()};
        CHECK(last.get("/last").body == "hello /last");
    });
}

TEST_CASE("http server: each failing system call costs one connection at the most",
          "[workers][http]") {
    tests::run_green_for_real([] {
        log::set_level(log::Level::off);
        HttpServer server{anywhere, hello};
        server.start();
        const std::size_t failures =
            tests::for_each_failure(EIO, [&](const tests::FailNth& failure) {
                try {
                    HttpClient client{server.endpoint()};
                    const Answer a = client.get("/a");
                    CHECK(a.body == "hello /a");
                    const Answer b = client.get("/b");
                    CHECK(b.body == "hello /b");
                } catch (const std::system_error&) {
                    CHECK(failure.fired());
                } catch (const tests::NoAnswer&) {
                    CHECK(failure.fired());
                }
            });
        CHECK(failures > 10);
        HttpClient after{server.endpoint()};
        CHECK(after.get("/after").body == "hello /after");
        server.close();
        log::set_level(log::Level::info);
    });
}
