#include "os/log_sink.hpp"

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <utility>

namespace green::log::detail {
namespace {

constexpr std::size_t largest_piece = 65'536;

// As many whole lines as fit into what a pipe takes at once or not at all; a longer line alone.
std::string_view piece_of(std::string_view text) noexcept {
    if (text.size() <= PIPE_BUF) return text;
    const std::size_t last = text.substr(0, PIPE_BUF).rfind('\n');
    if (last != std::string_view::npos) return text.substr(0, last + 1);
    const std::size_t first = text.find('\n');
    return text.substr(0, first == std::string_view::npos ? text.size() : first + 1);
}

}  // namespace

void Sink::close() noexcept {
    if (owned_) (void)sys::close(number_);
    manner_ = Manner::closed;
    number_ = -1;
    owned_ = false;
}

void Sink::open(int fd) noexcept {
    close();
    struct stat kind {};
    if (!sys::fstat(fd, kind).ok()) return;
    if (S_ISFIFO(kind.st_mode) || S_ISCHR(kind.st_mode)) {
        char path[32];
        (void)std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        const sys::Outcome own = sys::open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY);
        if (own.ok()) {
            number_ = own.as_int();
            owned_ = true;
            manner_ = Manner::nonblocking;
            return;
        }
        manner_ = Manner::careful;  // it belongs to another user, or /proc is not there
    } else {
        manner_ = S_ISSOCK(kind.st_mode) ? Manner::socket : Manner::plain;
    }
    const sys::Outcome copy = sys::dup(fd);
    owned_ = copy.ok();
    number_ = owned_ ? copy.as_int() : fd;  // no descriptor is left: use the one that is lent
}

sys::Outcome Sink::write(std::string_view text) noexcept {
    if (manner_ == Manner::closed) return {-1, EBADF};
    if (manner_ == Manner::plain) {
        text = text.substr(0, largest_piece);
        return sys::write(number_, text.data(), text.size());
    }
    std::string_view piece = piece_of(text);
    if (manner_ == Manner::socket) {
        return sys::send(number_, piece.data(), piece.size(), MSG_DONTWAIT);
    }
    if (manner_ == Manner::careful) {
        pollfd one{number_, POLLOUT, 0};
        const sys::Outcome room = sys::poll(&one, 1, 0);
        if (!room.ok()) return room;
        if (room.value == 0) return {-1, EAGAIN};
        piece = piece.substr(0, PIPE_BUF);  // for so much there is room
    }
    return write_pipe(piece);
}

// A pipe without a reader raises SIGPIPE, and has no flag against it. It must not end a process
// that only wanted to say something.
sys::Outcome Sink::write_pipe(std::string_view piece) const noexcept {
    sigset_t broken;
    sigset_t before;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    const bool blocked = sys::sigprocmask(SIG_BLOCK, &broken, &before).ok();
    const sys::Outcome outcome = sys::write(number_, piece.data(), piece.size());
    if (!blocked) return outcome;
    if (outcome.error == EPIPE) (void)sys::sigtimedwait(broken);
    if (!sys::sigprocmask(SIG_SETMASK, &before, nullptr).ok()) {
        (void)sys::sigprocmask(SIG_SETMASK, &before, nullptr);  // as only a test makes it fail
    }
    return outcome;
}

}  // namespace green::log::detail
