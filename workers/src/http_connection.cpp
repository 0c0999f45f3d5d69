#include "http_connection.hpp"

#include <cerrno>
#include <sys/socket.h>
#include <system_error>
#include <utility>

#include <green/greenlet.hpp>

namespace green::detail {
namespace {

// A larger body is sent from where it is instead of being copied behind its head.
constexpr std::size_t copied_body = 16UL * 1024;
constexpr std::size_t batch = 64UL * 1024;

}  // namespace

void Exchange::take(std::string_view fresh) {
    if (has_rest()) {
        input.append(fresh);
        return parse_rest();
    }
    input.clear();
    at = 0;
    const std::size_t used = parser.feed(fresh);
    input.append(fresh.substr(used));
}

void Exchange::parse_rest() { at += parser.feed(std::string_view{input}.substr(at)); }

HttpConnection::HttpConnection(HttpCore& core, Stream stream)
    : core_{core}, stream_{std::move(stream)} {
    core_.connections.push_back(*this);
    ++core_.figures.accepted;
}

HttpConnection::~HttpConnection() {
    if (exchange_) core_.give_back(std::move(exchange_));
}

void HttpConnection::run() {
    try {
        serve();
    } catch (const std::system_error&) {
        // The client is gone, or too slow: there is nobody to tell.
    }
}

void HttpConnection::serve() {
    for (;;) {
        if (!exchange_ && !await_first_byte()) return;
        switch (await_request()) {
            case Next::request:
                answer();
                break;
            case Next::silence:
                break;
            case Next::end:
                ends_ = true;
                break;
        }
        if (ends_) return part();
        if (exchange_->untouched()) {
            flush();
            core_.give_back(std::move(exchange_));
        }
    }
}

/// Waits in silence. Returns false when the connection is at its end.
bool HttpConnection::await_first_byte() {
    state_ = State::silent;
    try {
        if (!receive(core_.limits.idle_time)) return false;
    } catch (const std::system_error& error) {
        if (error.code().value() != ETIMEDOUT) throw;
        half_close_if_silent();
        if (state_ == State::silent) {  // something came at the last moment
            if (!receive(Deadline::passed())) return false;
        }
    }
    if (state_ != State::half_closed) return true;
    if (exchange_) ++core_.figures.crossed;
    part();
    return false;
}

/// Reads on until a request is complete.
HttpConnection::Next HttpConnection::await_request() {
    using Stage = RequestParser::Stage;
    RequestParser& parser = exchange_->parser;
    std::optional<Deadline> head_limit;
    std::optional<Deadline> body_limit;
    bool continued = false;
    for (;;) {
        if (parser.stage() == Stage::complete) return Next::request;
        if (parser.stage() == Stage::failed) {
            refuse(parser.failure());
            return Next::end;
        }
        if (exchange_->untouched()) return Next::silence;
        if (parser.expects_continue() && !std::exchange(continued, true) &&
            !exchange_->has_rest()) {
            exchange_->output += "HTTP/1.1 100 Continue\r\n\r\n";
        }
        flush();
        const bool in_head = parser.stage() == Stage::head;
        std::optional<Deadline>& limit = in_head ? head_limit : body_limit;
        if (!limit) limit = Deadline{in_head ? core_.limits.head_time : core_.limits.body_time};
        try {
            if (!receive(*limit)) return Next::end;
        } catch (const std::system_error& error) {
            if (error.code().value() != ETIMEDOUT) throw;
            refuse(408);
            return Next::end;
        }
    }
}

/// Receives at least one byte and parses it. Returns false at the end of what the client sends.
bool HttpConnection::receive(Deadline deadline) {
    const std::size_t got = stream_.read_some(std::span{core_.scratch}, deadline);
    if (got == 0) return false;
    if (!exchange_) exchange_ = core_.take_exchange();
    if (state_ == State::half_closed) return true;  // it comes too late
    state_ = State::busy;
    exchange_->take({core_.scratch.data(), got});
    return true;
}

void HttpConnection::answer() {
    Exchange& it = *exchange_;
    const HttpRequest& request = it.parser.request();
    HttpCore::reset(it.response);
    ++core_.figures.requests;
    if (!it.output.empty()) core_.hold(*this);
    core_.handle(request, it.response);
    held_.unlink();
    // While draining, the last answer says that the connection closes. One that has another request
    // behind it is not the last.
    const bool keeps =
        !HttpCore::closes(request, it.response) && (!core_.draining || more_has_come());
    append_answer(keeps);
    if (!keeps) {
        ends_ = true;
        return;
    }
    it.parser.reset();
    if (it.has_rest()) it.parse_rest();
}

void HttpConnection::refuse(int status) {
    ++core_.figures.refused;
    HttpCore::error_answer(exchange_->response, status);
    append_answer(false);
}

void HttpConnection::append_answer(bool keeps) {
    Exchange& it = *exchange_;
    const HttpRequest& request = it.parser.request();
    core_.write_head(it.output, request, it.response, keeps);
    const std::string_view body = HttpCore::wire_body(request, it.response);
    if (body.size() <= copied_body) {
        it.output += body;
        if (it.output.size() >= batch) flush();
        return;
    }
    stream_.write_parts({it.output, body}, core_.limits.write_time);
    it.output.clear();
}

bool HttpConnection::more_has_come() noexcept {
    char byte;
    return exchange_->has_rest() || sys::recv(stream_.fd().number(), &byte, 1, MSG_PEEK).value > 0;
}

void HttpConnection::flush() {
    std::string& output = exchange_->output;
    if (output.empty()) return;
    stream_.write_all(output, core_.limits.write_time);
    output.clear();
}

void HttpConnection::send_now() noexcept {
    std::string& output = exchange_->output;
    try {
        stream_.write_all(output, Deadline::passed());
        output.clear();
    } catch (const WriteError& error) {
        output.erase(0, error.written());
    } catch (const std::exception&) {  // the connection's own greenlet will meet it
    }
}

void HttpConnection::half_close_if_silent() noexcept {
    if (state_ != State::silent) return;
    char byte;
    // What has arrived, be it the end, is about to be reported to the connection's greenlet.
    if (!sys::recv(stream_.fd().number(), &byte, 1, MSG_PEEK).would_block()) return;
    state_ = State::half_closed;
    (void)sys::shutdown(stream_.fd().number(), SHUT_WR);
}

/// Ends what we send, and reads what the client still sends until it has seen that (C5).
void HttpConnection::part() {
    if (exchange_) {
        if (state_ != State::half_closed) flush();
        core_.give_back(std::move(exchange_));
    }
    if (state_ != State::half_closed) {
        state_ = State::half_closed;
        stream_.shutdown_write();
    }
    const Deadline limit = core_.limits.linger_time;
    while (stream_.read_some(std::span{core_.scratch}, limit) > 0) {
    }
}

}  // namespace green::detail
