// The limit of messages over a stream of the kernel's, blocking, each after its size in 4 bytes:
// a pipe that is read 64 KiB at a time; from payloads of 64 KiB on a pair of sockets, read piece by
// piece, which is faster then. Coalesced: what is sent is gathered to 64 KiB too.
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <system_error>
#include <unistd.h>

#include "two_processes.hpp"

namespace {

constexpr std::size_t buffer_size = 65536;
constexpr int kernel_buffer = 1 << 20;  // the most that anybody may ask a pipe for

std::size_t must(ssize_t result, const char* call) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), call);
    return static_cast<std::size_t>(result);
}

struct Ends {
    int in;
    int out;
};

Ends open_ends(bool socket) {
    std::array<int, 2> ends{};
    if (socket) {
        must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), "socketpair");
        // What the system allows without privileges is less, and then it takes that.
        must(::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &kernel_buffer, sizeof kernel_buffer),
             "setsockopt");
        ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &kernel_buffer, sizeof kernel_buffer);
    } else {
        must(::pipe2(ends.data(), O_CLOEXEC), "pipe2");
        must(::fcntl(ends[1], F_SETPIPE_SZ, kernel_buffer), "F_SETPIPE_SZ");
    }
    return {ends[0], ends[1]};
}

template <bool gather>
class Stream {
 public:
    explicit Stream(const bench::Options& options)
        : large_{options.payload >= buffer_size}, ends_{open_ends(large_)} {}
    ~Stream() {
        ::close(ends_.in);
        ::close(ends_.out);
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    void attach_sender() {}
    void attach_receiver() {}

    void send(std::span<const std::byte> message) {
        auto size = static_cast<std::uint32_t>(message.size());
        if (gather && sizeof size + message.size() <= buffer_size) {
            if (filled_ + sizeof size + message.size() > buffer_size) flush();
            std::memcpy(&buffer_[filled_], &size, sizeof size);
            std::memcpy(&buffer_[filled_ + sizeof size], message.data(), message.size());
            filled_ += sizeof size + message.size();
            return;
        }
        std::array<iovec, 2> parts{
            {{&size, sizeof size}, {const_cast<std::byte*>(message.data()), message.size()}}};
        const auto written = must(::writev(ends_.out, parts.data(), 2), "writev");
        if (written < sizeof size) throw std::runtime_error("a torn header");
        write_all(message.subspan(written - sizeof size));
    }

    std::size_t receive(std::span<std::byte> into) {
        std::uint32_t size = 0;
        take(std::as_writable_bytes(std::span{&size, 1}));
        if (size > into.size()) throw std::runtime_error("a message of the wrong size");
        take(into.first(size));
        return size;
    }

 private:
    void write_all(std::span<const std::byte> bytes) {
        while (!bytes.empty())
            bytes = bytes.subspan(must(::write(ends_.out, bytes.data(), bytes.size()), "write"));
    }
    void flush() {
        write_all({buffer_.data(), filled_});
        filled_ = 0;
    }

    std::size_t read_some(std::span<std::byte> into) {
        const auto got = must(::read(ends_.in, into.data(), into.size()), "read");
        if (got == 0) throw std::runtime_error("the end of the stream");
        return got;
    }
    void take(std::span<std::byte> into) {
        while (!into.empty()) {
            if (next_ == filled_) {
                if (large_) {  // past the buffer
                    into = into.subspan(read_some(into));
                    continue;
                }
                filled_ = read_some(buffer_);
                next_ = 0;
            }
            const auto part = std::min(into.size(), filled_ - next_);
            std::memcpy(into.data(), &buffer_[next_], part);
            next_ += part;
            into = into.subspan(part);
        }
    }

    bool large_;
    Ends ends_;
    std::array<std::byte, buffer_size> buffer_;  // to be written, or read
    std::size_t filled_ = 0;
    std::size_t next_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    return bench::run(argc, argv,
                      {{"pipe_stream", bench::messages_per_second<Stream<false>>},
                       {"pipe_stream_coalesced", bench::messages_per_second<Stream<true>>}});
}
