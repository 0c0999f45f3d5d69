#pragma once
// Requests out of bytes. The library behind it is named in http_parser.cpp only.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <green/http.hpp>

namespace green::detail {

/// Reads the requests of one connection, one after the other. Never waits, never throws for what a
/// client sent.
class RequestParser {
 public:
    enum class Stage : std::uint8_t { head, body, complete, failed };

    explicit RequestParser(const HttpLimits& limits);
    RequestParser(const RequestParser&) = delete;
    RequestParser& operator=(const RequestParser&) = delete;
    ~RequestParser();

    /// Begins the next request. What feed() said before is forgotten.
    void reset() noexcept;

    /// Takes bytes from the front of what was received and not taken yet, and says how many. Call
    /// it again with the rest and more, until the stage is `complete` or `failed`; it takes nothing
    /// then.
    [[nodiscard]] std::size_t feed(std::string_view bytes);

    [[nodiscard]] Stage stage() const noexcept { return stage_; }
    /// The status to answer when it failed.
    [[nodiscard]] int failure() const noexcept { return failure_; }
    /// The client waits for "100 Continue" before it sends the body.
    [[nodiscard]] bool expects_continue() const noexcept;
    [[nodiscard]] const HttpRequest& request() const noexcept { return request_; }

 private:
    class Library;

    [[nodiscard]] std::size_t feed_head(std::string_view bytes);
    [[nodiscard]] std::size_t feed_body(std::string_view bytes);
    [[nodiscard]] bool chunk_header_complete(std::string_view bytes);
    bool check_head();
    bool refuse(int status) noexcept;

    const HttpLimits& limits_;
    HttpRequest request_;
    std::unique_ptr<Library> library_;
    std::size_t scanned_ = 0;  // of an incomplete head or chunk header
    int failure_ = 0;
    Stage stage_ = Stage::head;
};

}  // namespace green::detail
