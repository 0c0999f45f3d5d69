#include <functional>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "http_parser.hpp"
#include "support/run_green.hpp"

using green::HttpLimits;
using green::detail::RequestParser;
using Stage = RequestParser::Stage;

namespace {

struct Result {
    Stage stage = Stage::head;
    int failure = 0;
    std::string method, target, body;
    std::size_t fields = 0;
    bool continues = false;
    std::string rest;  // not taken
    friend bool operator==(const Result&, const Result&) = default;
};

HttpLimits small() {
    HttpLimits limits;
    limits.request_line = 200;
    limits.headers = 1000;
    limits.header_count = 10;
    limits.body = 5000;
    return limits;
}

/// Feeds the bytes in pieces, as a connection does.
Result parse(const std::string& bytes, const std::function<std::size_t()>& piece,
             const HttpLimits& limits = small()) {
    RequestParser parser{limits};
    parser.reset();
    Result result;
    std::string pending;
    for (std::size_t at = 0; at < bytes.size();) {
        const std::size_t size = std::min(piece(), bytes.size() - at);
        pending.append(bytes, at, size);
        at += size;
        pending.erase(0, parser.feed(pending));
        result.continues |= parser.expects_continue();
    }
    result.stage = parser.stage();
    result.failure = parser.failure();
    result.method = parser.request().method();
    result.target = parser.request().target();
    result.body = parser.request().body();
    result.fields = parser.request().headers().size();
    result.rest = pending;
    return result;
}

Result parse(const std::string& bytes, const HttpLimits& limits = small()) {
    const Result whole = parse(
        bytes, [&] { return bytes.size(); }, limits);
    const Result single = parse(
        bytes, [] { return std::size_t{1}; }, limits);
    INFO(bytes);
    CHECK(whole.stage == single.stage);
    CHECK(whole.failure == single.failure);
    if (whole.stage == Stage::complete) {
        CHECK(whole.target == single.target);
        CHECK(whole.body == single.body);
        CHECK(whole.rest == single.rest);
    }
    return whole;
}

std::string chunked(const std::string& body) {
    return "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body;
}

std::string with(const std::string& fields) {
    return "POST /x HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n";
}

}  // namespace

TEST_CASE("http parse: a request is read however it is cut, and nothing behind it is taken",
          "[workers][http]") {
    const auto [bytes, body] = GENERATE(table<std::string, std::string>({
        {with(""), ""},
        {with("Content-Length: 5\r\n") + "hello", "hello"},
        {with("Content-Length: 0\r\n"), ""},
        {with("content-length:5\r\n") + "hello", "hello"},
        {chunked("5\r\nhello\r\n0\r\n\r\n"), "hello"},
        {chunked("5;name=value\r\nhello\r\nA\r\n, and more\r\n000\r\n\r\n"), "hello, and more"},
        {chunked("0\r\n\r\n"), ""},
        {chunked("1\r\nx\r\n0\r\nTrailer: dropped\r\n\r\n"), "x"},
        {"\r\n\r\n" + with(""), ""},
        {"GET / HTTP/1.0\r\n\r\n", ""},
    }));
    const std::string behind = "GET /next";
    const Result result = parse(bytes + behind);
    INFO(bytes);
    CHECK(result.stage == Stage::complete);
    CHECK(result.failure == 0);
    CHECK(result.body == body);
    CHECK(result.rest == behind);
    CHECK(parse(bytes.substr(0, bytes.size() - 1)).stage != Stage::complete);
}

TEST_CASE("http parse: what could be understood in two ways is refused", "[workers][http]") {
    const auto [bytes, status] = GENERATE(table<std::string, int>({
        // lengths
        {with("Content-Length: -1\r\n"), 400},
        {with("Content-Length: +5\r\n") + "hello", 400},
        {with("Content-Length: five\r\n"), 400},
        {with("Content-Length: 5x\r\n"), 400},
        {with("Content-Length: 0x5\r\n"), 400},
        {with("Content-Length: 5.0\r\n"), 400},
        {with("Content-Length: \r\n"), 400},
        {with("Content-Length: 5, 5\r\n") + "hello", 400},
        {with("Content-Length: 5\r\nContent-Length: 5\r\n") + "hello", 400},
        {with("Content-Length: 5\r\nContent-Length: 6\r\n") + "hello", 400},
        {with("Content-Length: 99999999999999999999\r\n"), 400},
        {with("Content-Length: 5001\r\n"), 413},
        // length and coding
        {with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
        {with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
        {with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
        {with("Transfer-Encoding: gzip, chunked\r\n"), 400},
        {with("Transfer-Encoding: chunked, identity\r\n"), 400},
        {with("Transfer-Encoding: xchunked\r\n"), 501},
        {with("Transfer-Encoding: gzip\r\n"), 501},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        // chunks
        {chunked("xyz\r\n"), 400},
        {chunked("\r\n"), 400},
        {chunked("-5\r\nhello\r\n"), 400},
        {chunked("0x5\r\nhello\r\n"), 400},
        {chunked("00000000000000005\r\nhello\r\n"), 400},
        {chunked("ffffffffffffffff\r\n"), 413},
        {chunked("10000000000000000\r\n"), 400},
        {chunked("1389\r\n"), 413},
        {chunked("5\nhello\r\n0\r\n\r\n"), 400},
        {chunked("5\r\nhello0\r\n\r\n"), 400},
        {chunked("5\r\nhello\n0\r\n\r\n"), 400},
        {chunked("5\r\nhelloGET / HTTP/1.1\r\nHost: evil\r\n\r\n"), 400},
        {chunked("5\r\nhello\r\nGET / HTTP/1.1\r\nHost: evil\r\n\r\n"), 400},
        {chunked("0\r\nGET / HTTP/1.1\r\nHost: evil\r\n\r\n"), 400},
        {chunked("0\r\n folded: trailer\r\n\r\n"), 400},
        {chunked("5;" + std::string(2000, 'e') + "\r\nhello\r\n"), 400},
        {chunked("0\r\nTrailer: " + std::string(2000, 't') + "\r\n\r\n"), 431},
        // lines and fields
        {"GET / HTTP/1.1\nHost: h\n\n\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\r\nA: b\nContent-Length: 5\r\n\r\n", 400},
        {with("Folded: a\r\n b\r\n"), 400},
        {with(" Leading: space\r\n"), 400},
        {with("Space : before\r\n"), 400},
        {with("No colon\r\n"), 400},
        {with(": no name\r\n"), 400},
        {with("Nul: a" + std::string(1, '\0') + "b\r\n"), 400},
        {with("Bare: a\rb\r\n"), 400},
        {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400},
        {" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
        {"GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505},
        {"GET / JUNK\r\nHost: h\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {with("Host: other\r\n"), 400},
        {"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 501},
        {with("Expect: a miracle\r\n"), 417},
        // limits
        {"GET /" + std::string(200, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
        {"GET /" + std::string(5000, 'a'), 414},
        {with("Long: " + std::string(1000, 'l') + "\r\n"), 431},
        {with("A: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\n"),
         431},
    }));
    const Result result = parse(bytes);
    INFO(bytes);
    CHECK(result.stage == Stage::failed);
    CHECK(result.failure == status);
}

TEST_CASE("http parse: the fields are as sent, and trailers are not among them",
          "[workers][http]") {
    const HttpLimits limits;
    RequestParser parser{limits};
    const std::string bytes =
        "PUT /a/b?c=d&e HTTP/1.1\r\nHost: h:80\r\nX-Long:   padded value \r\nx-long: second\r\n"
        "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: no\r\n\r\n";
    for (int round = 0; round < 2; ++round) {
        parser.reset();
        REQUIRE(parser.feed(bytes) == bytes.size());
        REQUIRE(parser.stage() == Stage::complete);
        const green::HttpRequest& request = parser.request();
        CHECK(request.method() == "PUT");
        CHECK(request.target() == "/a/b?c=d&e");
        CHECK(request.path() == "/a/b");
        CHECK(request.query() == "c=d&e");
        CHECK(request.header("x-LONG") == "padded value");
        CHECK(request.headers().size() == 4);
        CHECK_FALSE(request.header("X-Trailer"));
        CHECK(request.body() == "abc");
    }
}

TEST_CASE("http parse: the path of every form of a target", "[workers][http]") {
    const auto [target, path, query] = GENERATE(table<std::string, std::string, std::string>({
        {"/", "/", ""},
        {"/a%20b?", "/a%20b", ""},
        {"/?a=/b?c", "/", "a=/b?c"},
        {"http://host:80/a?b", "/a", "b"},
        {"http://host", "/", ""},
        {"http://host?b", "/", "b"},
        {"*", "*", ""},
        {"//double", "//double", ""},
    }));
    const HttpLimits limits;
    RequestParser parser{limits};
    parser.reset();
    (void)parser.feed("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n");
    REQUIRE(parser.stage() == Stage::complete);
    CHECK(parser.request().path() == path);
    CHECK(parser.request().query() == query);
}

TEST_CASE("http parse: 100-continue is expected while the body is missing", "[workers][http]") {
    CHECK(parse(with("Expect: 100-Continue\r\nContent-Length: 5\r\n")).continues);
    CHECK_FALSE(parse(with("Expect: 100-continue\r\n")).continues);
    CHECK_FALSE(
        parse("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").continues);
    CHECK_FALSE(parse(with("Content-Length: 5\r\n")).continues);
}

TEST_CASE("http parse: a body as large as the limit passes, one byte more does not",
          "[workers][http]") {
    const std::string most(5000, 'b');
    CHECK(parse(with("Content-Length: 5000\r\n") + most).body == most);
    CHECK(parse(chunked("1000\r\n" + most.substr(0, 4096) + "\r\n388\r\n" + most.substr(4096) +
                        "\r\n0\r\n\r\n"))
              .body == most);
    CHECK(parse(chunked("1000\r\n" + most.substr(0, 4096) + "\r\n389\r\n")).failure == 413);
}

TEST_CASE("http parse: damaged requests give the same however they are cut", "[workers][http]") {
    const std::uint64_t seed = tests::seed();
    INFO("GREENSUP_SEED=" << seed);
    std::mt19937_64 random{seed};
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    const std::vector<std::string> whole = {
        with("Content-Length: 5\r\n") + "hello",
        chunked("5\r\nhello\r\n0\r\n\r\n"),
        chunked("5;a=b\r\nhello\r\na\r\n0123456789\r\n0\r\nT: u\r\n\r\n"),
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        with("Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close, x\r\n") + "ab",
    };
    const std::string alphabet = "\r\n\r\n\t :;,0159afAFG/\x7f\xff";
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes = whole[below(whole.size())] + whole[below(whole.size())];
        for (std::size_t damage = below(4); damage > 0; --damage) {
            const std::size_t at = below(bytes.size());
            switch (below(3)) {
                case 0:
                    bytes[at] = alphabet[below(alphabet.size())];
                    break;
                case 1:
                    bytes.insert(at, 1, alphabet[below(alphabet.size())]);
                    break;
                default:
                    bytes.erase(at, 1 + below(3));
                    break;
            }
        }
        const Result all = parse(bytes, [&] { return bytes.size(); });
        const Result cut = parse(bytes, [&] { return 1 + below(9); });
        INFO(bytes);
        REQUIRE(all.stage == cut.stage);
        REQUIRE(all.failure == cut.failure);
        if (all.stage == Stage::complete)
            REQUIRE(all == Result{cut.stage, 0, cut.method, cut.target, cut.body, cut.fields,
                                  all.continues, cut.rest});
    }
}

TEST_CASE("http: percent-encoding is undone, and nothing is guessed", "[workers][http]") {
    using green::percent_decoded;
    CHECK(percent_decoded("a%20b%2Fc%2f%00") == std::string("a b/c/\0", 7));
    CHECK(percent_decoded("") == "");
    CHECK(percent_decoded("plain+plus") == "plain+plus");
    for (const char* bad : {"%", "%2", "%2x", "%x2", "a%", "%%20"})
        CHECK_FALSE(percent_decoded(bad));
}
