#include <algorithm>
#include <array>
#include <cerrno>
#include <netinet/tcp.h>
#include <optional>
#include <string>
#include <sys/file.h>

#include <green/greenlet.hpp>
#include <green/socket.hpp>

namespace green {
namespace {

using detail::Direction;
using detail::FdOperation;

std::string of(const char* what, int fd) { return std::string(what) + " fd " + std::to_string(fd); }

// An option that only makes it faster: failing to set it is no reason to refuse the connection.
void set_nodelay(const Fd& fd) noexcept {
    const int on = 1;
    (void)sys::setsockopt(fd.number(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int int_option(const Fd& fd, int level, int option, const char* what) {
    int value = 0;
    socklen_t size = sizeof value;
    sys::must(sys::getsockopt(fd.number(), level, option, &value, size), of(what, fd.number()));
    return value;
}

template <class Call>
Endpoint name_of(const Fd& fd, Call call, const char* what) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    sys::must(call(fd.number(), any, size), of(what, fd.number()));
    return Endpoint::from(any, size);
}

}  // namespace

Stream::Kind Stream::kind_of(const Endpoint& endpoint) noexcept {
    return endpoint.is_unix() ? Kind::other : Kind::tcp;
}

bool Stream::is_tcp() noexcept {
    if (kind_ == Kind::unknown) {
        int protocol = 0;
        socklen_t size = sizeof protocol;
        const bool known =
            sys::getsockopt(fd_.number(), SOL_SOCKET, SO_PROTOCOL, &protocol, size).ok();
        kind_ = known && protocol == IPPROTO_TCP ? Kind::tcp : Kind::other;
    }
    return kind_ == Kind::tcp;
}

Stream Stream::connect(const Endpoint& to, Deadline deadline) {
    Fd fd{static_cast<int>(sys::must(sys::socket(to.family(), SOCK_STREAM), "socket"))};
    if (!to.is_unix()) set_nodelay(fd);
    sys::Outcome outcome = sys::connect(fd.number(), to.address(), to.size());
    // A Unix listener whose backlog is full: the kernel offers nothing to wait for.
    for (Duration pause = std::chrono::milliseconds(1); to.is_unix() && outcome.would_block();
         pause = std::min<Duration>(2 * pause, std::chrono::milliseconds(50))) {
        if (deadline.has_passed()) sys::fail(ETIMEDOUT, "connecting to " + to.text());
        sleep(std::min(pause, deadline.when() - now()));
        outcome = sys::connect(fd.number(), to.address(), to.size());
    }
    if (outcome.error == EINPROGRESS) {
        if (!fd.wait_writable(deadline)) sys::fail(ETIMEDOUT, "connecting to " + to.text());
        outcome.error = int_option(fd, SOL_SOCKET, SO_ERROR, "getsockopt");
    }
    if (outcome.error != 0) sys::fail(outcome.error, "connecting to " + to.text());
    return Stream{std::move(fd), kind_of(to)};
}

std::pair<Stream, Stream> Stream::pair() {
    int ends[2] = {-1, -1};
    sys::must(sys::socketpair(AF_UNIX, SOCK_STREAM, ends), "socketpair");
    return {Stream{Fd{ends[0]}, Kind::other}, Stream{Fd{ends[1]}, Kind::other}};
}

std::size_t Stream::read_some(std::span<std::byte> into, Deadline deadline) {
    for (FdOperation operation{fd_, Direction::read, deadline}; operation.go();) {
        const sys::Outcome got = sys::recv(operation.number(), into.data(), into.size());
        if (got.ok()) {
            if (got.as_size() < into.size() && got.value > 0 && is_tcp()) operation.drained();
            return got.as_size();
        }
        if (!got.would_block()) sys::fail(got.error, of("reading from", operation.number()));
        operation.blocked();
    }
    sys::fail(ETIMEDOUT, of("reading from", fd_.number()));
}

void Stream::write_all(std::span<const std::byte> bytes, Deadline deadline) {
    const std::string_view part{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    write_parts(std::span{&part, 1}, deadline);
}

namespace {

/// What is left to write of a list of pieces.
class Remainder {
 public:
    explicit Remainder(std::span<const std::string_view> parts) noexcept : parts_{parts} {
        skip(0);
    }

    [[nodiscard]] bool empty() const noexcept { return parts_.empty(); }

    /// One system call; the cheaper one where it will do.
    [[nodiscard]] sys::Outcome send_some(int fd) const noexcept {
        const std::string_view first = parts_.front().substr(done_);
        if (parts_.size() == 1) return sys::send(fd, first.data(), first.size());
        std::array<iovec, 16> vectors;
        const std::size_t count = std::min(vectors.size(), parts_.size());
        for (std::size_t i = 0; i < count; ++i) {
            const std::string_view part = i == 0 ? first : parts_[i];
            vectors[i] = {const_cast<char*>(part.data()), part.size()};
        }
        msghdr message{};
        message.msg_iov = vectors.data();
        message.msg_iovlen = count;
        return sys::sendmsg(fd, message);
    }

    void skip(std::size_t bytes) noexcept {
        done_ += bytes;
        while (!parts_.empty() && done_ >= parts_.front().size()) {
            done_ -= parts_.front().size();
            parts_ = parts_.subspan(1);
        }
    }

 private:
    std::span<const std::string_view> parts_;
    std::size_t done_ = 0;  // of the first part
};

}  // namespace

void Stream::write_parts(std::span<const std::string_view> parts, Deadline deadline) {
    Remainder rest{parts};
    std::size_t written = 0;
    try {
        FdOperation operation{fd_, Direction::write, deadline};
        while (!rest.empty()) {
            if (!operation.go()) sys::fail(ETIMEDOUT, "writing");
            const sys::Outcome sent = rest.send_some(operation.number());
            if (sent.ok()) {
                written += sent.as_size();
                rest.skip(sent.as_size());
            } else if (sent.would_block()) {
                operation.blocked();
            } else {
                sys::fail(sent.error, "writing");
            }
        }
    } catch (const std::system_error& error) {  // also of the waiting: closed by another greenlet
        throw WriteError{error.code().value(), written, "writing"};
    }
}

void Stream::shutdown_write() {
    sys::must(sys::shutdown(fd_.number(), SHUT_WR), of("shutdown of", fd_.number()));
}

Endpoint Stream::peer() const { return name_of(fd_, sys::getpeername, "peer of"); }
Endpoint Stream::local() const { return name_of(fd_, sys::getsockname, "name of"); }

// --- listening ---

namespace {

/// Of a simulation: its names are its own, and nobody else is there who could bind one.
bool is_simulated(const Fd& fd) noexcept {
    const sys::World* const world = sys::world();
    return world != nullptr && world->owns(fd.number());
}

/// Keeps all others out who bind the same file, while it lives. In between a file is looked at and
/// then removed, and one that is bound does not listen yet: it cannot be told from that of a dead
/// one.
///
/// What is locked is a file beside it, which nobody else has a reason to lock: who finds it taken
/// is the second one, and has nothing to wait for. A directory is locked by those who bind other
/// files in it, too, and by who keeps it from being tidied up, as long as he runs. Who is killed in
/// between leaves the file behind without a lock, and the next one of the same user takes it. Where
/// the file cannot be made or opened, as when another user has left it, nobody is kept out.
class BindingAlone {
 public:
    /// Throws std::system_error: EADDRINUSE when another one is about to bind it.
    explicit BindingAlone(const Endpoint& at) : name_{at.path() + ".greensup-binding"} {
        constexpr int flags = O_RDWR | O_CREAT | O_NOFOLLOW;
        const sys::Outcome opened = sys::open(name_.c_str(), flags, S_IRUSR | S_IWUSR);
        if (opened.error == EMFILE || opened.error == ENFILE || opened.error == ENOMEM)
            sys::fail(opened.error, "binding " + at.text() + ": making " + name_);
        if (!opened.ok()) return;
        file_ = Fd{opened.as_int()};
        const sys::Outcome locked = sys::flock(file_.number(), LOCK_EX);
        locked_ = locked.ok();
        struct stat status {};
        sys::must(sys::fstat(file_.number(), status), of("fstat of", file_.number()));
        const bool removed = status.st_nlink == 0;  // by one who has bound meanwhile
        if (locked.would_block() || removed) sys::fail(EADDRINUSE, "binding " + at.text());
    }
    BindingAlone(const BindingAlone&) = delete;
    BindingAlone& operator=(const BindingAlone&) = delete;
    ~BindingAlone() {
        if (!file_.is_open()) return;
        // First the name: who has opened it before must find that it is gone.
        (void)sys::unlink(name_.c_str());
        // A child that was forked meanwhile has the descriptor too: closing it is not enough.
        (void)sys::flock(file_.number(), LOCK_UN);
    }

    /// Otherwise nobody is kept out, and nothing may be removed.
    [[nodiscard]] bool locked() const noexcept { return locked_; }

 private:
    std::string name_;
    Fd file_;
    bool locked_ = false;
};

/// The file is a socket, and nobody listens on it.
bool is_stale(const Endpoint& at) {
    const std::string path = at.path();
    if (path.empty()) return false;
    const sys::Outcome opened = sys::open(path.c_str(), O_PATH | O_NOFOLLOW);
    if (!opened.ok()) return false;
    const Fd file{opened.as_int()};
    struct stat status {};
    if (!sys::fstat(file.number(), status).ok() || !S_ISSOCK(status.st_mode)) return false;
    const Fd probe{static_cast<int>(sys::must(sys::socket(AF_UNIX, SOCK_STREAM), "socket"))};
    return sys::connect(probe.number(), at.address(), at.size()).error == ECONNREFUSED;
}

// Errors of one connection that was given up before it was accepted, or of the network beneath it
// (accept(2)).
bool is_transient(int error) noexcept {
    switch (error) {
        case ECONNABORTED:
        case EPERM:
        case EPROTO:
        case ENOPROTOOPT:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
            return true;
        default:
            return false;
    }
}

}  // namespace

Listener Listener::bind(const Endpoint& at, int backlog) {
    Fd fd{static_cast<int>(sys::must(sys::socket(at.family(), SOCK_STREAM), "socket"))};
    if (!at.is_unix()) {
        const int on = 1;
        sys::must(sys::setsockopt(fd.number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on),
                  "SO_REUSEADDR");
        set_nodelay(fd);  // Linux hands it down to each connection
    }
    std::optional<BindingAlone> alone;
    if (!at.path().empty() && !is_simulated(fd)) alone.emplace(at);
    const bool may_replace = !alone || alone->locked();
    sys::Outcome bound = sys::bind(fd.number(), at.address(), at.size());
    if (bound.error == EADDRINUSE && may_replace && is_stale(at)) {
        (void)sys::unlink(at.path().c_str());
        bound = sys::bind(fd.number(), at.address(), at.size());
    }
    sys::must(bound, "binding " + at.text());
    sys::must(sys::listen(fd.number(), backlog), "listening on " + at.text());
    return Listener{std::move(fd), Stream::kind_of(at), false};
}

Listener Listener::adopt(Fd fd) {
    if (int_option(fd, SOL_SOCKET, SO_ACCEPTCONN, "adopting") == 0) {
        throw UsageError(of("this socket does not listen:", fd.number()));
    }
    const auto flags = sys::must(sys::fcntl(fd.number(), F_GETFL), of("fcntl of", fd.number()));
    if ((flags & O_NONBLOCK) == 0) {
        sys::must(sys::fcntl(fd.number(), F_SETFL, static_cast<long>(flags) | O_NONBLOCK),
                  "O_NONBLOCK");
    }
    const bool tcp = int_option(fd, SOL_SOCKET, SO_PROTOCOL, "adopting") == IPPROTO_TCP;
    const bool sets_nodelay = tcp && int_option(fd, IPPROTO_TCP, TCP_NODELAY, "adopting") == 0;
    return Listener{std::move(fd), tcp ? Stream::Kind::tcp : Stream::Kind::other, sets_nodelay};
}

Stream Listener::accept() {
    // Without a limit it ends with a connection or by an exception.
    return *accept_for(Deadline::never());
}

std::optional<Stream> Listener::accept_for(Deadline deadline) {
    int given_up = 0;
    for (FdOperation operation{fd_, Direction::read, deadline}; operation.go();) {
        const sys::Outcome got = sys::accept4(operation.number(), nullptr, nullptr);
        if (got.ok()) {
            Fd connection{got.as_int()};
            if (sets_nodelay_) set_nodelay(connection);
            return Stream{std::move(connection), kind_};
        }
        if (got.would_block()) {
            operation.blocked();
        } else if (!is_transient(got.error) || ++given_up == 64) {
            sys::fail(got.error, of("accepting on", operation.number()));
        }
    }
    return std::nullopt;
}

Endpoint Listener::local() const { return name_of(fd_, sys::getsockname, "name of"); }

}  // namespace green
