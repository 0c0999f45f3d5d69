#include <atomic>
#include <cerrno>
#include <csignal>
#include <optional>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <green/sys.hpp>

#include "sched/sanitizer.hpp"

namespace green::sys {
namespace {

// How many hands are on the door, of all threads: one look at it is all that a call pays for them.
std::atomic<int> hands{0};
std::atomic<Injector*> current_injector{nullptr};
constinit thread_local World* current_world = nullptr;

[[nodiscard]] bool manned() noexcept { return hands.load(std::memory_order_acquire) != 0; }

/// A hand that replaces another one changes nothing.
void count_hand(const void* now, const void* before) noexcept {
    hands.fetch_add(int{now != nullptr} - int{before != nullptr}, std::memory_order_acq_rel);
}

[[gnu::cold]] int injected(Call call, int fd) noexcept {
    Injector* injector = current_injector.load(std::memory_order_acquire);
    return injector == nullptr ? 0 : injector->before(call, fd);
}

/// Whose the call is, if not the real kernel's; a call without a descriptor makes one.
[[gnu::cold]] World* world_of(int fd) noexcept {
    return current_world != nullptr && (fd < 0 || current_world->owns(fd)) ? current_world
                                                                           : nullptr;
}

/// A call that no world takes over.
constexpr auto only_real = [](World&) noexcept { return std::optional<Outcome>{}; };

template <class Function, class Elsewhere = decltype(only_real)>
Outcome once(Call call, int fd, Function function, Elsewhere elsewhere = {}) noexcept {
    if (manned()) [[unlikely]] {
        if (const int error = injected(call, fd)) return {-1, error};
        if (World* world = world_of(fd)) {
            if (const std::optional<Outcome> answer = elsewhere(*world)) return *answer;
        }
    }
    const auto value = static_cast<std::intptr_t>(function());
    if (value == -1) return {-1, errno};
    return {value, 0};
}

template <class Function, class Elsewhere = decltype(only_real)>
Outcome retried(Call call, int fd, Function function, Elsewhere elsewhere = {}) noexcept {
    for (;;) {
        const Outcome outcome = once(call, fd, function, elsewhere);
        if (outcome.error != EINTR) return outcome;
    }
}

constexpr const char* names[] = {
    "accept4",    "bind",          "clone",        "close",       "connect",
    "dup",        "epoll_create1", "epoll_ctl",    "epoll_wait",  "eventfd",
    "fallocate",  "fcntl",         "flock",        "fork",        "fstat",
    "ftruncate",  "getsockname",   "getsockopt",   "getpeername", "kill",
    "listen",     "madvise",       "memfd_create", "mkdir",       "mmap",
    "mprotect",   "munmap",        "open",         "pidfd_open",  "pidfd_send_signal",
    "pipe2",      "poll",          "pread",        "prlimit",     "pwrite",
    "pwritev2",   "read",          "readlink",     "recv",        "recvmsg",
    "rename",     "rmdir",         "sched_yield",  "send",        "sendmsg",
    "setsockopt", "shutdown",      "sigaction",    "sigprocmask", "sigtimedwait",
    "socket",     "socketpair",    "unlink",       "waitid",      "write",
    "writev",
};
static_assert(std::size(names) == call_count);

}  // namespace

bool Outcome::would_block() const noexcept { return error == EAGAIN || error == EWOULDBLOCK; }

const char* name(Call call) noexcept { return names[static_cast<std::size_t>(call)]; }

Injector* set_injector(Injector* injector) noexcept {
    Injector* const before = current_injector.exchange(injector);
    count_hand(injector, before);
    return before;
}

World* set_world(World* world) noexcept {
    World* const before = std::exchange(current_world, world);
    count_hand(world, before);
    return before;
}

World* world() noexcept { return current_world; }

void fail(int error, std::string_view what) {
    throw std::system_error(error, std::system_category(), std::string(what));
}

Outcome open(const char* path, int flags, mode_t mode) noexcept {
    return retried(
        Call::open, -1, [&] { return ::open(path, flags | O_CLOEXEC, mode); },
        [&](World& world) { return world.open(path, flags); });
}
Outcome close(int fd) noexcept {
    // Linux frees the number even when close fails or is interrupted, so it is never repeated.
    int error = 0;
    if (manned()) [[unlikely]] {
        error = injected(Call::close, fd);
        if (World* world = fd < 0 ? nullptr : world_of(fd)) {
            const Outcome closed = world->close(fd);
            return error != 0 ? Outcome{-1, error} : closed;
        }
    }
    const int result = ::close(fd);
    if (error != 0) return {-1, error};
    return result == 0 || errno == EINTR ? Outcome{} : Outcome{-1, errno};
}
Outcome dup(int fd) noexcept {
    return retried(
        Call::dup, fd, [&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, 3); },
        [&](World& world) { return world.dup(fd); });
}
Outcome read(int fd, void* into, std::size_t size) noexcept {
    return retried(
        Call::read, fd, [&] { return ::read(fd, into, size); },
        [&](World& world) {
            const iovec part{into, size};
            return world.read(fd, {&part, 1});
        });
}
Outcome write(int fd, const void* from, std::size_t size) noexcept {
    return retried(
        Call::write, fd, [&] { return ::write(fd, from, size); },
        [&](World& world) {
            const iovec part{const_cast<void*>(from), size};
            return world.write(fd, {&part, 1});
        });
}
Outcome writev(int fd, const iovec* parts, int count) noexcept {
    return retried(
        Call::writev, fd, [&] { return ::writev(fd, parts, count); },
        [&](World& world) {
            return world.write(fd, {parts, static_cast<std::size_t>(count)});
        });
}
Outcome write_quietly(int fd, const void* from, std::size_t size) noexcept {
    constexpr int no_signal = 0x100;  // RWF_NOSIGNAL, since Linux 6.18
    const iovec part{const_cast<void*>(from), size};
    return retried(
        Call::pwritev2, fd, [&] { return ::pwritev2(fd, &part, 1, -1, no_signal); },
        [&](World& world) {
            return world.write(fd, {&part, 1});
        });
}
Outcome pread(int fd, void* into, std::size_t size, off_t offset) noexcept {
    return retried(Call::pread, fd, [&] { return ::pread(fd, into, size, offset); });
}
Outcome pwrite(int fd, const void* from, std::size_t size, off_t offset) noexcept {
    return retried(Call::pwrite, fd, [&] { return ::pwrite(fd, from, size, offset); });
}
Outcome fcntl(int fd, int command, long argument) noexcept {
    return retried(
        Call::fcntl, fd, [&] { return ::fcntl(fd, command, argument); },
        [&](World& world) { return world.fcntl(fd, command, argument); });
}
Outcome fstat(int fd, struct stat& into) noexcept {
    return retried(
        Call::fstat, fd, [&] { return ::fstat(fd, &into); },
        [&](World& world) { return world.fstat(fd, into); });
}
Outcome flock(int fd, int operation) noexcept {
    return retried(Call::flock, fd, [&] { return ::flock(fd, operation | LOCK_NB); });
}
Outcome pipe2(int (&ends)[2], int flags) noexcept {
    return once(
        Call::pipe2, -1, [&] { return ::pipe2(ends, flags | O_CLOEXEC); },
        [&](World& world) { return world.pipe2(ends, flags); });
}
Outcome eventfd(unsigned int value, int flags) noexcept {
    return once(
        Call::eventfd, -1, [&] { return ::eventfd(value, flags | EFD_CLOEXEC); },
        [&](World& world) { return world.eventfd(value, flags); });
}
Outcome poll(pollfd* fds, nfds_t count, int milliseconds) noexcept {
    const Outcome outcome = once(
        Call::poll, -1, [&] { return ::poll(fds, count, milliseconds); },
        [&](World& world) {
            return world.poll({fds, count}, milliseconds);
        });
    return outcome.error == EINTR ? Outcome{} : outcome;
}

Outcome unlink(const char* path) noexcept {
    return once(
        Call::unlink, -1, [&] { return ::unlink(path); },
        [&](World& world) { return world.unlink(path); });
}
Outcome rename(const char* from, const char* to) noexcept {
    return once(Call::rename, -1, [&] { return ::rename(from, to); });
}
Outcome mkdir(const char* path, mode_t mode) noexcept {
    return once(Call::mkdir, -1, [&] { return ::mkdir(path, mode); });
}
Outcome rmdir(const char* path) noexcept {
    return once(Call::rmdir, -1, [&] { return ::rmdir(path); });
}
Outcome readlink(const char* path, char* into, std::size_t size) noexcept {
    return once(Call::readlink, -1, [&] { return ::readlink(path, into, size); });
}
Outcome ftruncate(int fd, off_t size) noexcept {
    return retried(Call::ftruncate, fd, [&] { return ::ftruncate(fd, size); });
}
Outcome fallocate(int fd, off_t offset, off_t size) noexcept {
    return retried(Call::fallocate, fd, [&] { return ::fallocate(fd, 0, offset, size); });
}

Outcome mmap(void* address, std::size_t size, int protection, int flags, int fd,
             off_t offset) noexcept {
    return once(Call::mmap, fd, [&] {
        return reinterpret_cast<std::intptr_t>(
            ::mmap(address, size, protection, flags, fd, offset));
    });
}
Outcome munmap(void* address, std::size_t size) noexcept {
    return once(Call::munmap, -1, [&] { return ::munmap(address, size); });
}
Outcome madvise(void* address, std::size_t size, int advice) noexcept {
    return once(Call::madvise, -1, [&] { return ::madvise(address, size, advice); });
}
Outcome mprotect(void* address, std::size_t size, int protection) noexcept {
    return once(Call::mprotect, -1, [&] { return ::mprotect(address, size, protection); });
}
Outcome memfd_create(const char* name, unsigned int flags) noexcept {
    return once(Call::memfd_create, -1, [&] { return ::memfd_create(name, flags | MFD_CLOEXEC); });
}

Outcome socket(int domain, int type, int protocol) noexcept {
    return once(
        Call::socket, -1,
        [&] { return ::socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol); },
        [&](World& world) { return world.socket(domain, type, protocol); });
}
Outcome socketpair(int domain, int type, int (&ends)[2]) noexcept {
    return once(
        Call::socketpair, -1,
        [&] { return ::socketpair(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends); },
        [&](World& world) { return world.socketpair(domain, type, ends); });
}
Outcome bind(int fd, const sockaddr* address, socklen_t size) noexcept {
    return once(
        Call::bind, fd, [&] { return ::bind(fd, address, size); },
        [&](World& world) { return world.bind(fd, address, size); });
}
Outcome listen(int fd, int backlog) noexcept {
    return once(
        Call::listen, fd, [&] { return ::listen(fd, backlog); },
        [&](World& world) { return world.listen(fd, backlog); });
}
Outcome accept4(int fd, sockaddr* peer, socklen_t* size) noexcept {
    return retried(
        Call::accept4, fd, [&] { return ::accept4(fd, peer, size, SOCK_CLOEXEC | SOCK_NONBLOCK); },
        [&](World& world) { return world.accept4(fd, peer, size); });
}
Outcome connect(int fd, const sockaddr* address, socklen_t size) noexcept {
    // An interrupted connect goes on by itself: repeating it would say EALREADY.
    Outcome outcome = once(
        Call::connect, fd, [&] { return ::connect(fd, address, size); },
        [&](World& world) { return world.connect(fd, address, size); });
    if (outcome.error == EINTR) outcome.error = EINPROGRESS;
    return outcome;
}
Outcome shutdown(int fd, int how) noexcept {
    return once(
        Call::shutdown, fd, [&] { return ::shutdown(fd, how); },
        [&](World& world) { return world.shutdown(fd, how); });
}
Outcome recv(int fd, void* into, std::size_t size, int flags) noexcept {
    return retried(
        Call::recv, fd, [&] { return ::recv(fd, into, size, flags); },
        [&](World& world) {
            iovec part{into, size};
            msghdr message{};
            message.msg_iov = &part;
            message.msg_iovlen = 1;
            return world.recvmsg(fd, message, flags);
        });
}
Outcome send(int fd, const void* from, std::size_t size, int flags) noexcept {
    return retried(
        Call::send, fd, [&] { return ::send(fd, from, size, flags | MSG_NOSIGNAL); },
        [&](World& world) {
            iovec part{const_cast<void*>(from), size};
            msghdr message{};
            message.msg_iov = &part;
            message.msg_iovlen = 1;
            return world.sendmsg(fd, message, flags);
        });
}
Outcome recvmsg(int fd, msghdr& message, int flags) noexcept {
    return retried(
        Call::recvmsg, fd, [&] { return ::recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC); },
        [&](World& world) { return world.recvmsg(fd, message, flags); });
}
Outcome sendmsg(int fd, const msghdr& message, int flags) noexcept {
    return retried(
        Call::sendmsg, fd, [&] { return ::sendmsg(fd, &message, flags | MSG_NOSIGNAL); },
        [&](World& world) { return world.sendmsg(fd, message, flags); });
}
Outcome getsockopt(int fd, int level, int option, void* value, socklen_t& size) noexcept {
    return once(
        Call::getsockopt, fd, [&] { return ::getsockopt(fd, level, option, value, &size); },
        [&](World& world) { return world.getsockopt(fd, level, option, value, size); });
}
Outcome setsockopt(int fd, int level, int option, const void* value, socklen_t size) noexcept {
    return once(
        Call::setsockopt, fd, [&] { return ::setsockopt(fd, level, option, value, size); },
        [&](World& world) { return world.setsockopt(fd, level, option, value, size); });
}
Outcome getsockname(int fd, sockaddr* address, socklen_t& size) noexcept {
    return once(
        Call::getsockname, fd, [&] { return ::getsockname(fd, address, &size); },
        [&](World& world) { return world.getsockname(fd, address, size); });
}
Outcome getpeername(int fd, sockaddr* address, socklen_t& size) noexcept {
    return once(
        Call::getpeername, fd, [&] { return ::getpeername(fd, address, &size); },
        [&](World& world) { return world.getpeername(fd, address, size); });
}

Outcome epoll_create1() noexcept {
    return once(Call::epoll_create1, -1, [] { return ::epoll_create1(EPOLL_CLOEXEC); });
}
Outcome epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
    return once(Call::epoll_ctl, fd, [&] { return ::epoll_ctl(epoll, operation, fd, event); });
}
Outcome epoll_wait(int epoll, epoll_event* events, int size, int milliseconds) noexcept {
    const Outcome outcome = once(Call::epoll_wait, epoll,
                                 [&] { return ::epoll_wait(epoll, events, size, milliseconds); });
    return outcome.error == EINTR ? Outcome{} : outcome;
}

Outcome clone(ChildMain child, void* stack_top, int flags, void* argument, int* pidfd) noexcept {
    return once(Call::clone, -1,
                [&] { return detail::sanitizer::clone(child, stack_top, flags, argument, pidfd); });
}
Outcome fork() noexcept {
    return once(Call::fork, -1, [] { return ::fork(); });
}
Outcome pidfd_open(pid_t pid) noexcept {
    return once(Call::pidfd_open, -1, [&] { return ::syscall(SYS_pidfd_open, pid, 0); });
}
Outcome pidfd_send_signal(int pidfd, int signal) noexcept {
    return once(Call::pidfd_send_signal, pidfd,
                [&] { return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0); });
}
Outcome kill(pid_t pid, int signal) noexcept {
    return once(Call::kill, -1, [&] { return ::kill(pid, signal); });
}
Outcome waitid(idtype_t type, id_t id, siginfo_t& into, int options) noexcept {
    return retried(Call::waitid, static_cast<int>(id),
                   [&] { return ::waitid(type, id, &into, options); });
}
Outcome sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept {
    const int error = manned() ? injected(Call::sigprocmask, -1) : 0;
    return {0, error != 0 ? error : ::pthread_sigmask(how, set, old)};
}
Outcome sigtimedwait(const sigset_t& set) noexcept {
    constexpr timespec at_once{};
    return retried(Call::sigtimedwait, -1, [&] { return ::sigtimedwait(&set, nullptr, &at_once); });
}
Outcome sigaction(int signal, const struct sigaction* action, struct sigaction* old) noexcept {
    return once(Call::sigaction, -1, [&] { return ::sigaction(signal, action, old); });
}
Outcome sched_yield() noexcept {
    return once(Call::sched_yield, -1, [] { return ::sched_yield(); });
}
Outcome prlimit(pid_t pid, int resource, const rlimit* limit, rlimit* old) noexcept {
    return once(Call::prlimit, -1, [&] {
        return ::prlimit(pid, static_cast<__rlimit_resource>(resource), limit, old);
    });
}

}  // namespace green::sys
