// greensup's side of the tcp cases: a server that returns what it receives, one greenlet for each
// connection.
#include <array>
#include <cstddef>
#include <span>

#include <green/green.hpp>

#include "server.hpp"

namespace {

void serve(green::Stream connection) {
    std::array<std::byte, 1024> buffer;  // so small that what a waiting connection owns is one page
    while (const std::size_t size = connection.read_some(buffer))
        connection.write_all(std::span{buffer}.first(size));
}

}  // namespace

int main() {
    auto listener = green::Listener::bind(green::Endpoint::parse("127.0.0.1:0"));
    bench::tell_port(listener.local().port());
    for (;;) green::spawn(serve, listener.accept());
}
