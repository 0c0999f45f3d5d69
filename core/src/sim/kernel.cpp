#include "sim/kernel.hpp"

#include <algorithm>
#include <sys/eventfd.h>
#include <utility>

#include "sim/pipe.hpp"
#include "sim/tcp_socket.hpp"
#include "sim/unix_socket.hpp"

namespace green::sim {

using sys::Call;
using sys::Outcome;

void File::changed() {
    for (const int number : numbers) kernel_.edge(number);
}

Kernel::Kernel(detail::VirtualReactor& reactor, std::uint64_t seed,
               const Simulation::Conditions& conditions)
    : reactor_{reactor},
      random_{seed},
      conditions_{conditions},
      tcp_{*this},
      outer_{sys::set_world(this)} {}

Kernel::~Kernel() { (void)sys::set_world(outer_); }

std::size_t Kernel::buffer_size() {
    // By orders of magnitude: a tiny buffer finds other faults than a large one.
    std::size_t most = conditions_.most_buffer;
    while (most / 2 > conditions_.least_buffer && random_.below(4) != 0) most /= 2;
    return random_.between(std::max<std::size_t>(1, conditions_.least_buffer), most);
}

std::size_t Kernel::moved(std::size_t possible) {
    return random_.chance(conditions_.percent_short) ? 1 + random_.below(possible) : possible;
}

// --- descriptors ---

Kernel::Descriptor* Kernel::descriptor(int number) noexcept {
    const auto index = static_cast<std::size_t>(number - first_number);
    if (number < first_number || index >= descriptors_.size()) return nullptr;
    return descriptors_[index].file == nullptr ? nullptr : &descriptors_[index];
}

int Kernel::install(std::shared_ptr<File> file) {
    while (lowest_ < descriptors_.size() && descriptors_[lowest_].file != nullptr) ++lowest_;
    if (lowest_ == descriptors_.size()) descriptors_.emplace_back();
    descriptors_[lowest_].file = std::move(file);
    ++open_;
    return first_number + static_cast<int>(lowest_);
}

Outcome Kernel::install_one(Call call, std::shared_ptr<File> file) {
    if (!has_room(1)) return noted(call, -1, failed(EMFILE));
    return noted(call, -1, {install(std::move(file)), 0});
}

Outcome Kernel::install_two(Call call, std::shared_ptr<File> first, std::shared_ptr<File> second,
                            int (&numbers)[2]) {
    if (!has_room(2)) return noted(call, -1, failed(EMFILE));
    numbers[0] = install(std::move(first));
    numbers[1] = install(std::move(second));
    return noted(call, numbers[0], done());
}

Outcome Kernel::noted(Call call, int fd, Outcome outcome) noexcept {
    note(static_cast<std::uint64_t>(call));
    note(static_cast<std::uint64_t>(fd));
    note(static_cast<std::uint64_t>(outcome.value));
    note(static_cast<std::uint64_t>(outcome.error));
    note(static_cast<std::uint64_t>(now().time_since_epoch().count()));
    return outcome;
}

template <class Function>
Outcome Kernel::on_file(Call call, int fd, Function function, int flags) {
    Descriptor* const found = descriptor(fd);
    if (found == nullptr) return noted(call, fd, failed(EBADF));
    File& file = *found->file;
    Outcome outcome = function(file);
    // The thread that would be blocked is the only one that could end it.
    const bool blocks = file.blocking && (flags & MSG_DONTWAIT) == 0;
    if (outcome.would_block() && blocks) outcome.error = EDEADLK;
    return noted(call, fd, outcome);
}

template <class Function>
Outcome Kernel::on_socket(Call call, int fd, Function function, int flags) {
    const auto of_socket = [&](File& file) {
        Socket* const socket = file.as_socket();
        return socket == nullptr ? failed(ENOTSOCK) : function(*socket);
    };
    return on_file(call, fd, of_socket, flags);
}

std::string Kernel::describe_descriptors() const {
    std::string text;
    for (std::size_t i = 0; i < descriptors_.size(); ++i) {
        File* const file = descriptors_[i].file.get();
        if (file == nullptr) continue;
        text += "fd " + std::to_string(static_cast<std::size_t>(first_number) + i);
        if (const Socket* socket = file->as_socket()) {
            text += ": socket " + socket->local().text();
            if (const auto peer = socket->peer()) text += " connected to " + peer->text();
        } else {
            text += file->type() == S_IFIFO ? ": pipe" : ": eventfd";
        }
        text += '\n';
    }
    return text;
}

// --- edges ---

int Kernel::watch(int number) {
    Descriptor* const found = descriptor(number);
    // What is real cannot be waited for here: its time is not ours.
    if (found == nullptr) return owns(number) ? EBADF : EOPNOTSUPP;
    found->file->numbers.push_back(number);
    edge(number);  // the first report is its present state
    return 0;
}

void Kernel::unwatch(int number) noexcept {
    Descriptor* const found = descriptor(number);
    if (found == nullptr) return;
    std::erase(found->file->numbers, number);
    std::erase(edges_, number);
    found->edge = false;
}

void Kernel::edge(int number) {
    Descriptor* const found = descriptor(number);
    if (!std::exchange(found->edge, true)) edges_.push_back(number);
}

void Kernel::report() {
    std::vector<int> numbers = std::exchange(edges_, {});
    if (conditions_.shuffles) {
        for (std::size_t left = numbers.size(); left > 1; --left) {
            std::swap(numbers[left - 1], numbers[random_.below(left)]);
        }
    }
    for (const int number : numbers) {
        Descriptor& one = *descriptor(number);
        one.edge = false;
        const std::uint32_t events = one.file->events();
        if (events == 0) continue;
        note(static_cast<std::uint64_t>(number) << 32 | events);
        reactor_.make_ready(number, detail::readiness_of(events));
    }
}

// --- calls ---

Outcome Kernel::socket(int domain, int type, int protocol) noexcept {
    const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    const bool tcp = domain == AF_INET || domain == AF_INET6;
    if (!tcp && domain != AF_UNIX) return noted(Call::socket, -1, failed(EAFNOSUPPORT));
    if (kind != SOCK_STREAM || (protocol != 0 && !(tcp && protocol == IPPROTO_TCP))) {
        return noted(Call::socket, -1, failed(EPROTONOSUPPORT));
    }
    if (tcp) return install_one(Call::socket, std::make_shared<TcpSocket>(*this, domain));
    return install_one(Call::socket, std::make_shared<UnixSocket>(*this));
}

Outcome Kernel::socketpair(int domain, int type, int (&ends)[2]) noexcept {
    if (domain != AF_UNIX) return noted(Call::socketpair, -1, failed(EOPNOTSUPP));
    if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM) {
        return noted(Call::socketpair, -1, failed(EPROTONOSUPPORT));
    }
    auto [first, second] = UnixSocket::pair(*this);
    return install_two(Call::socketpair, std::move(first), std::move(second), ends);
}

Outcome Kernel::pipe2(int (&ends)[2], int flags) noexcept {
    auto [reader, writer] = make_pipe(*this);
    reader->blocking = writer->blocking = (flags & O_NONBLOCK) == 0;
    return install_two(Call::pipe2, std::move(reader), std::move(writer), ends);
}

Outcome Kernel::eventfd(unsigned int value, int flags) noexcept {
    auto counter = std::make_shared<EventCounter>(*this, value, (flags & EFD_SEMAPHORE) != 0);
    counter->blocking = (flags & EFD_NONBLOCK) == 0;
    return install_one(Call::eventfd, std::move(counter));
}

Outcome Kernel::dup(int fd) noexcept {
    Descriptor* const found = descriptor(fd);
    if (found == nullptr) return noted(Call::dup, fd, failed(EBADF));
    return install_one(Call::dup, std::shared_ptr<File>{found->file});
}

Outcome Kernel::close(int fd) noexcept {
    Descriptor* const found = descriptor(fd);
    if (found == nullptr) return noted(Call::close, fd, failed(EBADF));
    unwatch(fd);
    const std::shared_ptr<File> file = std::exchange(found->file, nullptr);
    --open_;
    lowest_ = std::min(lowest_, static_cast<std::size_t>(fd - first_number));
    if (file.use_count() == 1) file->closed();
    return noted(Call::close, fd, done());
}

Outcome Kernel::read(int fd, std::span<const iovec> parts) noexcept {
    return on_file(Call::read, fd, [&](File& file) { return file.read(parts); });
}

Outcome Kernel::write(int fd, std::span<const iovec> parts) noexcept {
    return on_file(Call::write, fd, [&](File& file) { return file.write(parts); });
}

Outcome Kernel::recvmsg(int fd, msghdr& message, int flags) noexcept {
    const auto receive = [&](Socket& socket) {
        message.msg_controllen = 0;
        message.msg_flags = 0;
        if ((flags & MSG_OOB) != 0) {  // of which there is none
            const bool tcp_listener = socket.family() != AF_UNIX && socket.listens();
            return failed(tcp_listener ? ENOTCONN : EINVAL);
        }
        return socket.receive({message.msg_iov, message.msg_iovlen}, (flags & MSG_PEEK) != 0);
    };
    return on_socket(Call::recvmsg, fd, receive, flags);
}

Outcome Kernel::sendmsg(int fd, const msghdr& message, int flags) noexcept {
    const auto send = [&](Socket& socket) {
        if (message.msg_controllen != 0 || (flags & MSG_OOB) != 0) return failed(EOPNOTSUPP);
        return socket.send({message.msg_iov, message.msg_iovlen});
    };
    return on_socket(Call::sendmsg, fd, send, flags);
}

Outcome Kernel::fcntl(int fd, int command, long argument) noexcept {
    return on_file(Call::fcntl, fd, [&](File& file) {
        switch (command) {
            case F_GETFL:
                return done(static_cast<std::size_t>(O_RDWR | (file.blocking ? 0 : O_NONBLOCK)));
            case F_SETFL:
                file.blocking = (argument & O_NONBLOCK) == 0;
                return done();
            case F_GETFD:
                return done(FD_CLOEXEC);
            case F_SETFD:  // no simulated descriptor survives an exec
                return done();
            default:
                return failed(EINVAL);
        }
    });
}

Outcome Kernel::fstat(int fd, struct stat& into) noexcept {
    return on_file(Call::fstat, fd, [&](File& file) {
        into = {};
        into.st_mode = file.type() | S_IRUSR | S_IWUSR;
        return done();
    });
}

Outcome Kernel::bind(int fd, const sockaddr* address, socklen_t size) noexcept {
    return on_socket(Call::bind, fd, [&](Socket& socket) {
        const auto at = address_of(socket.family(), address, size);
        return at ? socket.bind(*at) : failed(EINVAL);
    });
}

Outcome Kernel::listen(int fd, int backlog) noexcept {
    return on_socket(Call::listen, fd, [&](Socket& socket) { return socket.listen(backlog); });
}

Outcome Kernel::accept4(int fd, sockaddr* peer, socklen_t* size) noexcept {
    return on_socket(Call::accept4, fd, [&](Socket& socket) -> Outcome {
        if (!has_room(1)) return failed(EMFILE);
        const Socket::Accepted got = socket.accept();
        if (got.error != 0) return failed(got.error);
        if (peer != nullptr) store(*got.from, peer, *size);
        return {install(got.socket), 0};
    });
}

Outcome Kernel::connect(int fd, const sockaddr* address, socklen_t size) noexcept {
    return on_socket(Call::connect, fd, [&](Socket& socket) {
        const auto to = address_of(socket.family(), address, size);
        return to ? socket.connect(*to) : failed(EINVAL);
    });
}

Outcome Kernel::shutdown(int fd, int how) noexcept {
    return on_socket(Call::shutdown, fd, [&](Socket& socket) {
        const bool known = how == SHUT_RD || how == SHUT_WR || how == SHUT_RDWR;
        return known ? socket.shutdown(how) : failed(EINVAL);
    });
}

Outcome Kernel::getsockopt(int fd, int level, int option, void* value, socklen_t& size) noexcept {
    return on_socket(Call::getsockopt, fd,
                     [&](Socket& socket) { return socket.get_option(level, option, value, size); });
}

Outcome Kernel::setsockopt(int fd, int level, int option, const void* value,
                           socklen_t size) noexcept {
    return on_socket(Call::setsockopt, fd,
                     [&](Socket& socket) { return socket.set_option(level, option, value, size); });
}

Outcome Kernel::getsockname(int fd, sockaddr* address, socklen_t& size) noexcept {
    return on_socket(Call::getsockname, fd, [&](Socket& socket) {
        store(socket.local(), address, size);
        return done();
    });
}

Outcome Kernel::getpeername(int fd, sockaddr* address, socklen_t& size) noexcept {
    return on_socket(Call::getpeername, fd, [&](Socket& socket) {
        const auto peer = socket.peer();
        if (!peer) return failed(ENOTCONN);
        store(*peer, address, size);
        return done();
    });
}

std::optional<Outcome> Kernel::open(const char* path, int flags) noexcept {
    if (!unix_names_.has_file(path)) return std::nullopt;
    if ((flags & O_PATH) == 0) return noted(Call::open, -1, failed(ENXIO));
    return install_one(Call::open, std::make_shared<SocketFile>(*this));
}

std::optional<Outcome> Kernel::unlink(const char* path) noexcept {
    if (!unix_names_.remove_file(path)) return std::nullopt;
    return noted(Call::unlink, -1, done());
}

std::optional<Outcome> Kernel::poll(std::span<pollfd> fds, int milliseconds) noexcept {
    std::size_t ours = 0;
    std::size_t real = 0;
    for (const pollfd& one : fds) {
        ours += owns(one.fd);
        real += one.fd >= 0 && !owns(one.fd);
    }
    if (ours == 0) return std::nullopt;
    if (real > 0) return noted(Call::poll, -1, failed(EOPNOTSUPP));  // of both worlds at once
    std::size_t ready = 0;
    for (pollfd& one : fds) {
        one.revents = 0;
        if (one.fd < 0) continue;
        Descriptor* const found = descriptor(one.fd);
        const auto asked = static_cast<std::uint32_t>(one.events) | POLLERR | POLLHUP;
        const std::uint32_t holds =
            found == nullptr ? std::uint32_t{POLLNVAL} : found->file->events() & asked;
        one.revents = static_cast<short>(holds);
        ready += holds != 0;
    }
    if (ready == 0 && milliseconds != 0) return noted(Call::poll, -1, failed(EDEADLK));
    return noted(Call::poll, -1, done(ready));
}

}  // namespace green::sim
