#include "support/streams.hpp"

#include <span>

namespace tests {

using green::Stream;

std::string read_all(Stream& stream) {
    std::string all;
    char buffer[4096];
    while (const std::size_t got = stream.read_some(std::span{buffer})) all.append(buffer, got);
    return all;
}

std::string read_exactly(Stream& stream, std::size_t size) {
    std::string all(size, ' ');
    for (std::size_t done = 0; done < size;) {
        const std::size_t got = stream.read_some(std::span{all}.subspan(done));
        if (got == 0) return all.substr(0, done);
        done += got;
    }
    return all;
}

std::pair<Stream, Stream> tcp_pair(const char* at) {
    green::Listener listener = green::Listener::bind(green::Endpoint::parse(at));
    Stream client = Stream::connect(listener.local(), std::chrono::minutes(1));
    return {std::move(client), listener.accept()};
}

}  // namespace tests
