// What the connections of a server share: the handler, the pool, the heads of answers, the drain.
#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>

#include <green/context.hpp>
#include <green/hub.hpp>
#include <green/log.hpp>

#include "http_connection.hpp"

namespace green {
namespace detail {
namespace {

constexpr std::size_t pooled = 64;
constexpr std::size_t usual_buffer = 64UL * 1024;

std::string_view reason(int status) noexcept {
    switch (status) {
        case 200:
            return "OK";
        case 201:
            return "Created";
        case 202:
            return "Accepted";
        case 204:
            return "No Content";
        case 206:
            return "Partial Content";
        case 301:
            return "Moved Permanently";
        case 302:
            return "Found";
        case 303:
            return "See Other";
        case 304:
            return "Not Modified";
        case 307:
            return "Temporary Redirect";
        case 308:
            return "Permanent Redirect";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 411:
            return "Length Required";
        case 412:
            return "Precondition Failed";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 415:
            return "Unsupported Media Type";
        case 417:
            return "Expectation Failed";
        case 422:
            return "Unprocessable Content";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "Status";
    }
}

void append_number(std::string& into, std::size_t number) {
    std::array<char, 20> digits;
    char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    into.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

bool has_no_body(int status) noexcept { return status == 204 || status == 304; }

}  // namespace

HttpCore::HttpCore(Listener listener, HttpServer::Handler handler, const HttpLimits& given)
    : limits{given},
      handler_{std::move(handler)},
      server_{std::move(listener), [this](Stream stream) {
                  HttpConnection{*this, std::move(stream)}.run();
              }} {
    pool_.reserve(pooled);  // give_back() must not throw
}

void HttpCore::start() {
    const Context::Scope unlimited{Context::current().without_deadline()};
    if (sender_.empty()) sender_.spawn([this] { send_held(); }).set_name("http sender");
    server_.start();
}

std::unique_ptr<Exchange> HttpCore::take_exchange() {
    if (pool_.empty()) return std::make_unique<Exchange>(limits);
    auto exchange = std::move(pool_.back());
    pool_.pop_back();
    return exchange;
}

void HttpCore::give_back(std::unique_ptr<Exchange> exchange) noexcept {
    if (pool_.size() >= pooled) return;
    exchange->parser.reset();
    reset(exchange->response);
    for (std::string* buffer : {&exchange->input, &exchange->output}) {
        buffer->clear();
        if (buffer->capacity() > usual_buffer) *buffer = {};
    }
    exchange->at = 0;
    pool_.push_back(std::move(exchange));
}

void HttpCore::handle(const HttpRequest& request, HttpResponse& response) {
    std::exception_ptr error;
    try {
        handler_(request, response);
    } catch (const std::exception&) {
        error = std::current_exception();
    } catch (const Timeout&) {  // a limit of the handler's own that it let fly
        error = std::current_exception();
    }
    if (!error) return;
    log::error(
        "http.handler_failed",
        {{"method", request.method()}, {"path", request.path()}, {"error", describe(error)}});
    error_answer(response, 500);
    response.closes_ = false;
}

void HttpCore::reset(HttpResponse& response) noexcept {
    response.status_ = 200;
    response.type_ = {};
    response.fields_.clear();
    if (response.body_.capacity() > usual_buffer) response.body_ = {};
    response.body_.clear();
    response.closes_ = false;
}

void HttpCore::error_answer(HttpResponse& response, int status) {
    reset(response);
    response.status(status);
    response.text(std::string(reason(status)) + "\n");
}

std::string_view HttpCore::wire_body(const HttpRequest& request,
                                     const HttpResponse& response) noexcept {
    if (has_no_body(response.status_) || request.method() == "HEAD") return {};
    return response.body_;
}

void HttpCore::write_head(std::string& into, const HttpRequest& request,
                          const HttpResponse& response, bool keeps) {
    into += "HTTP/1.1 ";
    append_number(into, static_cast<std::size_t>(response.status_));
    into.append(" ")
        .append(reason(response.status_))
        .append("\r\nDate: ")
        .append(date())
        .append("\r\n");
    if (!response.type_.empty())
        into.append("Content-Type: ").append(response.type_).append("\r\n");
    if (!has_no_body(response.status_)) {
        into += "Content-Length: ";
        append_number(into, response.body_.size());
        into += "\r\n";
    }
    if (!keeps) {
        into += "Connection: close\r\n";
    } else if (!request.http_1_1_) {
        into += "Connection: keep-alive\r\n";
    }
    into.append(response.fields_).append("\r\n");
}

std::string_view HttpCore::date() {
    const std::time_t now = std::time(nullptr);
    if (now != date_of_) {
        constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        std::tm utc{};
        (void)::gmtime_r(&now, &utc);
        const auto two = [](char* at, int number) {
            at[0] = static_cast<char>('0' + number / 10 % 10);
            at[1] = static_cast<char>('0' + number % 10);
        };
        // By hand, since strftime() would write the names in the language of the locale.
        std::copy_n("Sun, 06 Nov 1994 08:49:37 GMT", date_.size(), date_.begin());
        std::copy_n(days[utc.tm_wday], 3, date_.begin());
        std::copy_n(months[utc.tm_mon], 3, date_.begin() + 8);
        two(&date_[5], utc.tm_mday);
        two(&date_[12], (utc.tm_year + 1900) / 100);
        two(&date_[14], utc.tm_year + 1900);
        two(&date_[17], utc.tm_hour);
        two(&date_[20], utc.tm_min);
        two(&date_[23], utc.tm_sec);
        date_of_ = now;
    }
    return {date_.data(), date_.size()};
}

// --- answers that wait for others to leave with ---

void HttpCore::hold(HttpConnection& connection) noexcept {
    held_.push_back(connection.held());
    held_some_.set();
}

/// Runs when the handler of a connection that holds answers has switched away: whoever does not
/// wait has taken its connection out of the list before we come to run.
void HttpCore::send_held() {
    for (;;) {
        held_some_.wait();
        held_some_.clear();
        while (!held_.empty()) {
            HttpConnection& connection = held_.front().connection;
            held_.front().unlink();
            connection.send_now();
        }
    }
}

// --- the end ---

bool HttpCore::drain(Deadline deadline) {
    draining = true;
    server_.finish_accepting();
    // Half-closed connections need a moment before the deadline, to see that the client closes its
    // side.
    Deadline silence = deadline;
    if (!deadline.is_never() && !deadline.has_passed()) {
        const TimePoint start = now();
        silence = Deadline::at(deadline.when() - std::min<Duration>(limits.linger_time,
                                                                    (deadline.when() - start) / 2));
    }
    if (!server_.join(silence)) {
        connections.for_each([](HttpConnection& connection) { connection.half_close_if_silent(); });
        if (!server_.join(deadline)) figures.forced += server_.connections();
    }
    const bool served = server_.connections() == 0;
    server_.close();
    return served;
}

}  // namespace detail

HttpServer::HttpServer(std::string_view at, Handler handler, HttpLimits limits)
    : HttpServer{Listener::bind(Endpoint::parse(at)), std::move(handler), limits} {}

HttpServer::HttpServer(Listener listener, Handler handler, HttpLimits limits)
    : core_{std::make_unique<detail::HttpCore>(std::move(listener), std::move(handler), limits)} {}

HttpServer::~HttpServer() = default;

void HttpServer::start() { core_->start(); }
void HttpServer::stop_accepting() { core_->server().stop_accepting(); }
void HttpServer::serve_forever() {
    core_->start();
    core_->server().serve_forever();
}
bool HttpServer::drain(Deadline deadline) { return core_->drain(deadline); }
void HttpServer::close() { core_->server().close(); }
const Endpoint& HttpServer::endpoint() const noexcept { return core_->server().endpoint(); }

HttpFigures HttpServer::figures() const noexcept {
    HttpFigures figures = core_->figures;
    figures.open = core_->server().connections();
    return figures;
}

}  // namespace green
