// The one file that knows Boost.Beast. Its parser is given whole heads and whole chunk headers
// only, and what it would let pass is refused before or after it: repeated or listed lengths,
// folded lines, unknown codings, endless leading zeros, missing Host.
#include "http_parser.hpp"

#include <algorithm>
#include <optional>

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/rfc7230.hpp>

namespace green::detail {
namespace {

namespace http = boost::beast::http;
using Error = boost::beast::error_code;
using Text = boost::beast::string_view;

std::string_view view(Text text) noexcept { return {text.data(), text.size()}; }

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_hex(char c) noexcept {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// Whether the request line ends in a version, be it one that we do not speak.
bool names_version(std::string_view head) noexcept {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    constexpr std::string_view pattern = " HTTP/d.d";
    if (line.size() < pattern.size()) return false;
    const std::string_view end = line.substr(line.size() - pattern.size());
    return end.starts_with(pattern.substr(0, 6)) && is_digit(end[6]) && end[7] == '.' &&
           is_digit(end[8]);
}

int status_of(const Error& error, std::string_view head) noexcept {
    if (error == http::error::body_limit) return 413;
    if (error == http::error::bad_version && names_version(head)) return 505;
    return 400;
}

}  // namespace

/// The fields of the request as the library finds them, and the questions whose answers it keeps to
/// itself.
class RequestParser::Library {
 public:
    explicit Library(HttpRequest& into) : request_{&into} {}

    void begin(std::size_t body_limit) {
        parser_.emplace(*this);
        parser_->eager(false);
        parser_->header_limit(~std::uint32_t{0});  // checked by us
        parser_->body_limit(body_limit);
        count_ = lengths_ = codings_ = hosts_ = 0;
        failure_ = 0;
        head_done_ = in_chunk_ = continues_ = false;
        first_chunk_ = true;
    }

    /// One step: the head, a chunk header, or a piece of the body.
    [[nodiscard]] std::size_t put(std::string_view bytes, Error& error) {
        return parser_->put({bytes.data(), bytes.size()}, error);
    }
    [[nodiscard]] bool done() const { return parser_->is_done(); }
    [[nodiscard]] bool at_chunk_header() const { return parser_->chunked() && !in_chunk_; }

    /// What is wrong with a head that the library has accepted; 0: nothing.
    [[nodiscard]] int head_failure() const noexcept {
        if (failure_ != 0) return failure_;
        if (lengths_ > 1 || codings_ > 1 || (lengths_ > 0 && codings_ > 0)) return 400;
        if (codings_ > 0 && (!parser_->chunked() || !request_->http_1_1_)) return 400;
        if (hosts_ > 1 || (hosts_ == 0 && request_->http_1_1_)) return 400;
        return 0;
    }

 private:
    class Parser final : public http::basic_parser<true> {
     public:
        explicit Parser(Library& owner) : owner_{owner} {}

     private:
        void on_request_impl(http::verb, Text method, Text target, int version, Error&) override {
            HttpRequest& request = *owner_.request_;
            request.method_ = view(method);
            request.target_ = view(target);
            request.http_1_1_ = version == 11;
        }
        void on_response_impl(int, Text, int, Error&) override {}
        void on_field_impl(http::field field, Text name, Text value, Error&) override {
            owner_.on_field(field, view(name), view(value));
        }
        void on_header_impl(Error&) override { owner_.head_done_ = true; }
        void on_body_init_impl(const boost::optional<std::uint64_t>& length, Error&) override {
            // Room for what is announced, as far as a lie costs little.
            owner_.request_->body_.reserve(
                std::min<std::uint64_t>(length.value_or(0), 64UL * 1024));
        }
        std::size_t on_body_impl(Text body, Error&) override { return owner_.append(body); }
        void on_chunk_header_impl(std::uint64_t size, Text, Error&) override {
            owner_.first_chunk_ = false;
            owner_.in_chunk_ = size > 0;
        }
        std::size_t on_chunk_body_impl(std::uint64_t remain, Text body, Error&) override {
            if (body.size() == remain) owner_.in_chunk_ = false;
            return owner_.append(body);
        }
        void on_finish_impl(Error&) override {}

        Library& owner_;
    };

    std::size_t append(Text body) {
        request_->body_.append(body.data(), body.size());
        return body.size();
    }

    void on_field(http::field field, std::string_view name, std::string_view value) {
        ++count_;
        if (head_done_)
            return;  // trailers are counted and dropped: nobody may add fields after the body
        request_->headers_.push_back({name, value});
        switch (field) {
            case http::field::content_length:
                ++lengths_;
                if (value.empty() || !std::all_of(value.begin(), value.end(), is_digit))
                    failure_ = 400;
                break;
            case http::field::transfer_encoding:
                ++codings_;
                if (!boost::beast::iequals({value.data(), value.size()}, "chunked")) {
                    failure_ = http::token_list{{value.data(), value.size()}}.exists("chunked")
                                   ? 400
                                   : 501;
                }
                break;
            case http::field::host:
                ++hosts_;
                break;
            case http::field::expect:
                continues_ = boost::beast::iequals({value.data(), value.size()}, "100-continue");
                if (!continues_) failure_ = 417;
                break;
            default:
                break;
        }
    }

    HttpRequest* request_;
    std::optional<Parser> parser_;
    std::size_t count_ = 0;
    int lengths_ = 0;
    int codings_ = 0;
    int hosts_ = 0;
    int failure_ = 0;
    bool head_done_ = false;
    bool in_chunk_ = false;
    bool first_chunk_ = true;
    bool continues_ = false;

    friend class RequestParser;
};

RequestParser::RequestParser(const HttpLimits& limits)
    : limits_{limits}, library_{std::make_unique<Library>(request_)} {}
RequestParser::~RequestParser() = default;

void RequestParser::reset() noexcept {
    constexpr std::size_t usual = 64UL * 1024;
    for (std::string* text : {&request_.head_, &request_.body_}) {
        if (text->capacity() > usual)
            *text = {};  // an unusually large request gives its memory back
        text->clear();
    }
    request_.headers_.clear();
    request_.method_ = request_.target_ = {};
    scanned_ = 0;
    failure_ = 0;
    stage_ = Stage::head;
}

bool RequestParser::refuse(int status) noexcept {
    failure_ = status;
    stage_ = Stage::failed;
    return false;
}

bool RequestParser::expects_continue() const noexcept {
    return stage_ == Stage::body && request_.http_1_1_ && library_->continues_;
}

std::size_t RequestParser::feed(std::string_view bytes) {
    std::size_t taken = 0;
    if (stage_ == Stage::head) taken = feed_head(bytes);
    if (stage_ == Stage::body) taken += feed_body(bytes.substr(taken));
    return taken;
}

std::size_t RequestParser::feed_head(std::string_view bytes) {
    std::size_t skipped = 0;
    while (scanned_ == 0 && bytes.starts_with("\r\n")) {  // some clients send one after a body
        bytes.remove_prefix(2);
        skipped += 2;
    }
    if (bytes == "\r") return skipped;
    // The end can begin up to three bytes before what was scanned.
    const std::size_t from = scanned_ > 3 ? scanned_ - 3 : 0;
    const std::size_t end = bytes.find("\r\n\r\n", from);
    const std::size_t line = bytes.substr(0, limits_.request_line + 2).find("\r\n");
    if (line == bytes.npos && bytes.size() > limits_.request_line) {
        refuse(414);
        return skipped;
    }
    const bool complete = end != bytes.npos;
    if ((complete ? end + 4 : bytes.size()) > limits_.headers) {
        refuse(431);
        return skipped;
    }
    if (!complete) {
        scanned_ = bytes.size();
        return skipped;
    }
    request_.head_.assign(bytes.substr(0, end + 4));
    scanned_ = 0;
    (void)check_head();
    return skipped + end + 4;
}

bool RequestParser::check_head() {
    const std::string& head = request_.head_;
    // Folded lines: the library would join them, others would not.
    for (std::size_t at = 0; (at = head.find("\r\n", at)) != head.npos; at += 2) {
        if (at + 2 < head.size() && (head[at + 2] == ' ' || head[at + 2] == '\t'))
            return refuse(400);
    }
    library_->begin(limits_.body);
    Error error;
    std::string_view rest = head;
    while (!rest.empty() && !library_->head_done_) {
        const std::size_t used = library_->put(rest, error);
        if (error || used == 0) break;
        rest.remove_prefix(used);
    }
    // The checks of our own come first: they know better than "bad" which of two bad things it is.
    if (const int wrong = library_->head_failure(); wrong != 0 && library_->head_done_)
        return refuse(wrong);
    if (error) return refuse(library_->failure_ != 0 ? library_->failure_ : status_of(error, head));
    if (!library_->head_done_ || !rest.empty()) return refuse(400);
    if (library_->count_ > limits_.header_count) return refuse(431);
    if (request_.method_ == "CONNECT") return refuse(501);
    request_.keep_alive_ = library_->parser_->keep_alive();
    stage_ = library_->done() ? Stage::complete : Stage::body;
    return true;
}

std::size_t RequestParser::feed_body(std::string_view bytes) {
    std::size_t taken = 0;
    while (stage_ == Stage::body && taken < bytes.size()) {
        const std::string_view rest = bytes.substr(taken);
        if (library_->at_chunk_header() && !chunk_header_complete(rest)) break;
        Error error;
        taken += library_->put(rest, error);
        if (error) {
            refuse(status_of(error, {}));
        } else if (library_->count_ > limits_.header_count) {
            refuse(431);
        } else if (library_->done()) {
            stage_ = Stage::complete;
        }
    }
    return taken;
}

/// Whether a whole chunk header, for the last chunk with its trailers, is at the front. Fails what
/// cannot be one.
bool RequestParser::chunk_header_complete(std::string_view bytes) {
    const std::size_t limit = limits_.headers;
    if (!library_->first_chunk_) {
        if (bytes.size() < 2 && std::string_view{"\r"}.starts_with(bytes)) return false;
        if (!bytes.starts_with("\r\n")) return refuse(400);
        bytes.remove_prefix(2);
    }
    const auto digits = static_cast<std::size_t>(
        std::find_if_not(bytes.begin(), bytes.end(), is_hex) - bytes.begin());
    if (digits > 16) return refuse(400);
    if (digits < bytes.size() &&
        (digits == 0 || std::string_view{"\r; \t"}.find(bytes[digits]) == bytes.npos)) {
        return refuse(400);
    }
    const std::size_t line = bytes.find("\r\n", scanned_ > 0 ? scanned_ - 1 : 0);
    if (std::min(line, bytes.size()) > limit) return refuse(400);
    if (line == bytes.npos) {
        scanned_ = bytes.size();
        return false;
    }
    scanned_ = 0;
    const std::string_view size = bytes.substr(0, digits);
    if (size.find_first_not_of('0') != size.npos) return true;
    const std::size_t end = bytes.find("\r\n\r\n", line);
    if (std::min(end, bytes.size()) > limit) return refuse(431);
    return end != bytes.npos;
}

}  // namespace green::detail
