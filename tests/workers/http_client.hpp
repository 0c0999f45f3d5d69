#pragma once
// A client that shows what is on the wire.

#include <stdexcept>
#include <string>
#include <string_view>

#include <green/socket.hpp>

namespace tests {

struct Answer {
    int status = 0;
    std::string head;
    std::string body;

    /// The value of a field; empty when it is not there.
    [[nodiscard]] std::string field(const std::string& name) const {
        const auto at = head.find("\r\n" + name + ": ");
        if (at == head.npos) return {};
        const auto from = at + name.size() + 4;
        return head.substr(from, head.find("\r\n", from) - from);
    }
    [[nodiscard]] bool closes() const { return field("Connection") == "close"; }
};

/// The answer did not come, or not to its end.
struct NoAnswer : std::runtime_error {
    using runtime_error::runtime_error;
};

class HttpClient {
 public:
    explicit HttpClient(const green::Endpoint& at) : stream{green::Stream::connect(at, limit())} {}

    void send(std::string_view bytes) { stream.write_all(bytes, limit()); }

    /// Reads one answer; without its body when that is not sent, as for HEAD.
    Answer read(bool without_body = false) {
        Answer answer;
        std::size_t end;
        while ((end = buffer.find("\r\n\r\n")) == buffer.npos) more();
        answer.head = buffer.substr(0, end + 2);
        buffer.erase(0, end + 4);
        answer.status = std::stoi(answer.head.substr(9, 3));
        const std::string length = answer.field("Content-Length");
        if (length.empty() || without_body) return answer;
        while (buffer.size() < std::stoul(length)) more();
        answer.body = buffer.substr(0, std::stoul(length));
        buffer.erase(0, answer.body.size());
        return answer;
    }
    Answer get(const std::string& path) {
        send("GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n");
        return read();
    }
    /// Everything up to the end.
    std::string rest() {
        try {
            for (;;) more();
        } catch (const NoAnswer&) {
        }
        return std::exchange(buffer, {});
    }
    /// The server closes, and sends nothing before.
    bool at_end() { return rest().empty(); }

    green::Stream stream;
    std::string buffer;

 private:
    static green::Deadline limit() { return std::chrono::seconds(20); }

    void more() {
        char bytes[4096];
        const std::size_t got = stream.read_some(std::span{bytes}, limit());
        if (got == 0)
            throw NoAnswer("the connection ended after " + std::to_string(buffer.size()) +
                           " bytes");
        buffer.append(bytes, got);
    }
};

}  // namespace tests
