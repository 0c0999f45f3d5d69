#include "frames/link.hpp"

#include <array>
#include <cstddef>
#include <optional>

#include <green/socket.hpp>
#include <green/sys.hpp>

#include "frames/descriptors.hpp"

namespace green::ipc {
namespace {

/// The end to read, and the end to write.
std::optional<std::array<Fd, 2>> make_pipe() noexcept {
    int ends[2];
    if (!sys::pipe2(ends).ok()) return std::nullopt;
    std::array pipe{Fd{ends[0]}, Fd{ends[1]}};
    std::byte probe{};
    if (!sys::write_quietly(ends[1], &probe, 1).ok() || !sys::read(ends[0], &probe, 1).ok())
        return std::nullopt;
    return pipe;
}

}  // namespace

void Link::end_output() noexcept {
    (void)sys::shutdown(socket.number(), SHUT_WR);
    out.close();
}

void Link::refuse_input() noexcept {
    refuse_more(socket.number());
    // As there, room for who waits: he is told when he tries to fill it. Not more than a pipe holds
    // by itself, as somebody may go on writing.
    if (in.is_open()) {
        char dropped[4096];
        for (int i = 0; i < 16; ++i) {
            const sys::Outcome got = sys::read(in.number(), dropped, sizeof dropped);
            if (!got.ok() || got.value == 0) break;
        }
    }
    in.close();
}

std::pair<Link, Link> make_links() {
    auto [a, b] = Stream::pair();
    for (Fd* fd : {&a.fd(), &b.fd()}) {
        // So that a large payload waits for its reader less often. The system may give less.
        const int room = 1 << 20;
        (void)sys::setsockopt(fd->number(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    }
    Link left{std::move(a.fd()), {}, {}, false};
    Link right{std::move(b.fd()), {}, {}, false};
    auto there = make_pipe();
    auto back = make_pipe();
    if (there && back) {
        left.has_pipes = right.has_pipes = true;
        left.in = std::move((*back)[0]);
        left.out = std::move((*there)[1]);
        right.in = std::move((*there)[0]);
        right.out = std::move((*back)[1]);
    }
    return {std::move(left), std::move(right)};
}

}  // namespace green::ipc
