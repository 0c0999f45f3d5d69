#include <algorithm>
#include <stdexcept>

#include <green/http.hpp>

namespace green {
namespace {

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_name(std::string_view a, std::string_view b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

/// The target without the "http://host" that a proxy's request begins with.
std::string_view local_part(std::string_view target) noexcept {
    if (target.starts_with('/')) return target;
    const auto scheme = target.find("://");
    if (scheme == target.npos) return target;
    const auto path = target.find_first_of("/?", scheme + 3);
    return path == target.npos ? std::string_view{} : target.substr(path);
}

bool is_token(std::string_view text) noexcept {
    constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
        return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
               others.find(c) != others.npos;
    });
}

bool is_value(std::string_view text) noexcept {
    return std::none_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < ' ' && c != '\t') || byte == 127;
    });
}

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (lower(c) >= 'a' && lower(c) <= 'f') return lower(c) - 'a' + 10;
    return -1;
}

}  // namespace

std::string_view HttpRequest::path() const noexcept {
    const std::string_view local = local_part(target_);
    const std::string_view path = local.substr(0, local.find('?'));
    return path.empty() ? std::string_view{"/"} : path;
}

std::string_view HttpRequest::query() const noexcept {
    const auto mark = target_.find('?');
    return mark == target_.npos ? std::string_view{} : target_.substr(mark + 1);
}

std::optional<std::string_view> HttpRequest::header(std::string_view name) const noexcept {
    for (const HttpField& field : headers_) {
        if (same_name(field.name, name)) return field.value;
    }
    return std::nullopt;
}

std::optional<std::string> percent_decoded(std::string_view text) {
    std::string plain;
    plain.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            plain += text[i];
            continue;
        }
        const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low < 0) return std::nullopt;
        plain += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return plain;
}

void HttpResponse::status(int code) {
    if (code < 200 || code > 599) {
        throw std::invalid_argument("HTTP status " + std::to_string(code) +
                                    " is not from 200 to 599");
    }
    status_ = code;
}

void HttpResponse::header(std::string_view name, std::string_view value) {
    if (!is_token(name) || !is_value(value)) {
        throw std::invalid_argument("HTTP field \"" + std::string(name) +
                                    "\" has a character that cannot be sent");
    }
    for (const std::string_view own :
         {"Content-Length", "Transfer-Encoding", "Connection", "Date"}) {
        if (same_name(name, own))
            throw std::invalid_argument(std::string(own) + " is written by the server");
    }
    if (same_name(name, "Content-Type")) type_ = {};
    fields_.append(name).append(": ").append(value).append("\r\n");
}

void HttpResponse::text(std::string content) {
    type_ = "text/plain; charset=utf-8";
    body(std::move(content));
}

void HttpResponse::json(std::string content) {
    type_ = "application/json";
    body(std::move(content));
}

}  // namespace green
