#pragma once
// One connection of an HTTP server, and what all of them share.
//
//  C1  A silent connection owns a greenlet with one frame of ours on its stack. Buffers are the
//  core's scratch area
//      and, from the first byte of a request to the last one of its answer, a pooled Exchange.
//  C2  Bytes in the scratch area are used before anybody can switch.
//  C3  Answers to requests that came together leave together; but no answer stays behind while a
//  handler waits. C4  `silent` is said only while not one byte of a request was received: that is
//  what a drain may half-close. C5  Nobody closes with bytes unread: that would reset the
//  connection and with it the answers under way.

#include <array>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <green/detail/intrusive.hpp>
#include <green/event.hpp>
#include <green/http.hpp>
#include <green/server.hpp>

#include "http_parser.hpp"

namespace green::detail {

class HttpConnection;

/// From the first byte of a request to the last one of its answer.
struct Exchange {
    explicit Exchange(const HttpLimits& limits) : parser{limits} {}

    /// Parses what was received, after what was left from before.
    void take(std::string_view fresh);
    /// Goes on with what was received behind the last request.
    void parse_rest();
    [[nodiscard]] bool has_rest() const noexcept { return at < input.size(); }
    /// Nothing of a request was received.
    [[nodiscard]] bool untouched() const noexcept {
        return parser.stage() == RequestParser::Stage::head && !has_rest();
    }

    RequestParser parser;
    HttpResponse response;
    std::string input;  // received, from `at` on not parsed
    std::size_t at = 0;
    std::string output;  // answers that wait for others to leave with
};

class HttpCore {
 public:
    HttpCore(Listener listener, HttpServer::Handler handler, const HttpLimits& limits);

    [[nodiscard]] bool drain(Deadline deadline);

    // For connections.
    [[nodiscard]] std::unique_ptr<Exchange> take_exchange();
    void give_back(std::unique_ptr<Exchange> exchange) noexcept;
    /// Calls the handler; what it throws becomes a 500.
    void handle(const HttpRequest& request, HttpResponse& response);
    /// Puts the head of an answer at the end of a buffer.
    void write_head(std::string& into, const HttpRequest& request, const HttpResponse& response,
                    bool keeps);
    /// The body as far as it belongs on the wire.
    [[nodiscard]] static std::string_view wire_body(const HttpRequest& request,
                                                    const HttpResponse& response) noexcept;
    static void error_answer(HttpResponse& response, int status);
    /// Has the answers of a connection sent should its handler wait.
    void hold(HttpConnection& connection) noexcept;
    static void reset(HttpResponse& response) noexcept;
    static bool closes(const HttpRequest& request, const HttpResponse& response) noexcept {
        return !request.keep_alive_ || response.closes_;
    }

    const HttpLimits limits;
    HttpFigures figures;
    bool draining = false;
    std::array<char, 32UL * 1024> scratch;
    IntrusiveList<HttpConnection> connections;

    struct Held : ListHook {
        explicit Held(HttpConnection& owner) noexcept : connection{owner} {}
        HttpConnection& connection;
    };

    StreamServer& server() noexcept { return server_; }
    void start();

 private:
    void send_held();
    [[nodiscard]] std::string_view date();

    HttpServer::Handler handler_;
    std::vector<std::unique_ptr<Exchange>> pool_;
    std::time_t date_of_ = -1;
    std::array<char, 29> date_{};
    IntrusiveList<Held> held_;
    Event held_some_;
    StreamServer server_;  // its greenlets use all of the above
    Group sender_;
};

class HttpConnection : public ListHook {
 public:
    HttpConnection(HttpCore& core, Stream stream);
    ~HttpConnection();

    /// Serves until one of the two sides wants no more. Switches.
    void run();

    /// For a drain: says that no more will be answered, if nothing of a request has arrived. Never
    /// switches.
    void half_close_if_silent() noexcept;
    /// Sends what it holds, as far as that needs no waiting. Its own greenlet must be inside the
    /// handler.
    void send_now() noexcept;
    [[nodiscard]] HttpCore::Held& held() noexcept { return held_; }

 private:
    enum class State : std::uint8_t { silent, busy, half_closed };
    enum class Next : std::uint8_t { request, silence, end };

    void serve();
    [[nodiscard]] bool await_first_byte();
    [[nodiscard]] Next await_request();
    [[nodiscard]] bool receive(Deadline deadline);
    void answer();
    void refuse(int status);
    void append_answer(bool keeps);
    [[nodiscard]] bool more_has_come() noexcept;
    void flush();
    void part();

    HttpCore& core_;
    Stream stream_;
    std::unique_ptr<Exchange> exchange_;
    HttpCore::Held held_{*this};
    State state_ = State::silent;
    bool ends_ = false;  // after what was answered last
};

}  // namespace green::detail
