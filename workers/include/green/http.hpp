#pragma once
// An HTTP/1.1 server: keep-alive, pipelining, bodies of known length and in chunks. It parses
// strictly: what two programs could understand differently is refused, and the connection closed.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <green/deadline.hpp>
#include <green/endpoint.hpp>
#include <green/socket.hpp>

namespace green {

namespace detail {
class RequestParser;
class HttpCore;
}  // namespace detail

struct HttpField {
    std::string_view name;
    std::string_view value;
};

/// A request with its whole body. Its texts live until the handler returns.
class HttpRequest {
 public:
    [[nodiscard]] std::string_view method() const noexcept { return method_; }
    /// As it was sent: "/texts/a%20b?x=1".
    [[nodiscard]] std::string_view target() const noexcept { return target_; }
    /// The target up to the '?', not decoded; without the host that a proxy's request names.
    [[nodiscard]] std::string_view path() const noexcept;
    /// What follows the '?'.
    [[nodiscard]] std::string_view query() const noexcept;

    /// The first field of that name, in any case.
    [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const noexcept;
    [[nodiscard]] std::span<const HttpField> headers() const noexcept { return headers_; }
    [[nodiscard]] std::string_view body() const noexcept { return body_; }

 private:
    friend class detail::RequestParser;
    friend class detail::HttpCore;

    std::string head_;  // what the views look into
    std::string_view method_;
    std::string_view target_;
    std::vector<HttpField> headers_;
    std::string body_;
    bool http_1_1_ = true;
    bool keep_alive_ = true;
};

/// Undoes %XX. Returns nothing where a '%' is not followed by two hex digits.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text);

/// What is answered: 200 without a body, if nothing is said. Each call replaces what the same one
/// said before.
class HttpResponse {
 public:
    /// From 200 to 599, else std::invalid_argument.
    void status(int code);
    /// Adds a field. Throws std::invalid_argument for a name or a value that would break the
    /// framing (CR, LF, ...), and for those that the server writes itself: Content-Length,
    /// Transfer-Encoding, Connection, Date.
    void header(std::string_view name, std::string_view value);
    void body(std::string content) { body_ = std::move(content); }
    /// A body with its Content-Type: text/plain in UTF-8, or application/json.
    void text(std::string content);
    void json(std::string content);
    /// The connection is closed after this answer.
    void close() noexcept { closes_ = true; }

 private:
    friend class detail::HttpCore;

    int status_ = 200;
    std::string_view type_;  // a literal
    std::string fields_;     // as on the wire
    std::string body_;
    bool closes_ = false;
};

struct HttpLimits {
    std::size_t request_line = 8UL * 1024;  // 414
    std::size_t headers =
        32UL * 1024;  // 431, for the request line and all fields together; trailers too
    std::size_t header_count = 100;        // 431
    std::size_t body = 8UL * 1024 * 1024;  // 413
    Duration head_time =
        std::chrono::seconds(10);  // from the first byte to the end of the head: 408
    Duration body_time = std::chrono::seconds(60);   // for the body: 408
    Duration idle_time = std::chrono::seconds(75);   // between requests: closed
    Duration write_time = std::chrono::seconds(60);  // for one answer: closed
    Duration linger_time =
        std::chrono::seconds(2);  // for the client to close after the last answer
};

struct HttpFigures {
    std::size_t open = 0;        // connections, also those that wait for the client to close
    std::uint64_t accepted = 0;  // connections
    std::uint64_t requests = 0;  // given to the handler
    std::uint64_t refused = 0;   // answered with an error before they reached it
    std::uint64_t forced = 0;    // connections that a drain had to cut
    std::uint64_t crossed =
        0;  // silent connections on which bytes came after we had said that we close
};

/// Answers each request by a call of the handler, in the connection's own greenlet: it may wait.
/// What it throws is logged and answered with 500.
///
///     green::HttpServer web{"127.0.0.1:8080", [](const green::HttpRequest& request,
///     green::HttpResponse& response) {
///         response.text("hello " + std::string(request.path()));
///     }};
///     web.serve_forever();
class HttpServer {
 public:
    using Handler = std::function<void(const HttpRequest&, HttpResponse&)>;

    /// Listens from here on. Throws as Listener::bind and Endpoint::parse.
    HttpServer(std::string_view at, Handler handler, HttpLimits limits = {});
    HttpServer(Listener listener, Handler handler, HttpLimits limits = {});
    /// As close().
    ~HttpServer();

    /// As those of StreamServer.
    void start();
    void stop_accepting();
    void serve_forever();
    /// Ends without losing a request: docs/explanation/draining.md says how. Takes what has come up
    /// to now, serves it, closes each connection after an answer; silent ones shortly before the
    /// deadline. Switches. Returns false if connections had to be cut at the deadline.
    bool drain(Deadline deadline);
    /// Cuts all connections. Switches, unless there are none.
    void close();

    [[nodiscard]] const Endpoint& endpoint() const noexcept;
    [[nodiscard]] HttpFigures figures() const noexcept;

 private:
    std::unique_ptr<detail::HttpCore> core_;
};

}  // namespace green
