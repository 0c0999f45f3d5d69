#pragma once
// The one door to the operating system. Every system call greensup makes is in this list, so that a
// test can make any of them fail (see Injector), so that a simulation can stand in for the kernel
// (see World), and so that EINTR is handled in one place.
//
// Nothing here throws and nothing here switches. The errno of a failure is in the Outcome, read
// before anybody can switch away.
//
// Longer than most headers: it is that list.

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <span>
#include <string>
#include <string_view>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

namespace green::sys {

/// What a system call gave back: its value, or the errno it failed with.
struct [[nodiscard]] Outcome {
    std::intptr_t value = 0;
    int error = 0;

    [[nodiscard]] bool ok() const noexcept { return error == 0; }
    [[nodiscard]] bool would_block() const noexcept;
    /// The value as a descriptor or a count.
    [[nodiscard]] int as_int() const noexcept { return static_cast<int>(value); }
    [[nodiscard]] std::size_t as_size() const noexcept { return static_cast<std::size_t>(value); }
};

enum class Call : std::uint8_t {
    accept4,
    bind,
    clone,
    close,
    connect,
    dup,
    epoll_create1,
    epoll_ctl,
    epoll_wait,
    eventfd,
    fallocate,
    fcntl,
    flock,
    fork,
    fstat,
    ftruncate,
    getsockname,
    getsockopt,
    getpeername,
    kill,
    listen,
    madvise,
    memfd_create,
    mkdir,
    mmap,
    mprotect,
    munmap,
    open,
    pidfd_open,
    pidfd_send_signal,
    pipe2,
    poll,
    pread,
    prlimit,
    pwrite,
    pwritev2,
    read,
    readlink,
    recv,
    recvmsg,
    rename,
    rmdir,
    sched_yield,
    send,
    sendmsg,
    setsockopt,
    shutdown,
    sigaction,
    sigprocmask,
    sigtimedwait,
    socket,
    socketpair,
    unlink,
    waitid,
    write,
    writev,
};
inline constexpr std::size_t call_count = static_cast<std::size_t>(Call::writev) + 1;

/// The name as in section 2 of the manual.
[[nodiscard]] const char* name(Call call) noexcept;

/// A test's hand on the door. `before` is asked ahead of each call, on whatever thread makes it;
/// anything but 0 is the errno with which the call fails without being made. close() is asked too,
/// and closes even when told to fail, as the kernel does.
class Injector {
 public:
    virtual ~Injector() = default;
    virtual int before(Call call, int fd) noexcept = 0;
};

/// Puts an injector in the door (nullptr: none) and returns the one before. Borrows it until it is
/// replaced, which must not happen while another thread may be in a call.
Injector* set_injector(Injector* injector) noexcept;

/// Another kernel behind the door, for the calls of one thread: it makes all sockets, pipes and
/// eventfds, and is asked about the descriptors that it owns, after the injector. What is not in
/// this list stays with the real kernel, to which the numbers mean nothing: EBADF.
/// Each function is as the one of its name below. `parts` are what one call moves.
class World {
 public:
    virtual ~World() = default;

    /// The number is one of its own, open or not.
    [[nodiscard]] virtual bool owns(int fd) const noexcept = 0;

    virtual Outcome socket(int domain, int type, int protocol) noexcept = 0;
    virtual Outcome socketpair(int domain, int type, int (&ends)[2]) noexcept = 0;
    virtual Outcome pipe2(int (&ends)[2], int flags) noexcept = 0;
    virtual Outcome eventfd(unsigned int value, int flags) noexcept = 0;
    virtual Outcome dup(int fd) noexcept = 0;
    virtual Outcome close(int fd) noexcept = 0;

    virtual Outcome read(int fd, std::span<const iovec> parts) noexcept = 0;
    virtual Outcome write(int fd, std::span<const iovec> parts) noexcept = 0;
    virtual Outcome recvmsg(int fd, msghdr& message, int flags) noexcept = 0;
    virtual Outcome sendmsg(int fd, const msghdr& message, int flags) noexcept = 0;
    virtual Outcome fcntl(int fd, int command, long argument) noexcept = 0;
    virtual Outcome fstat(int fd, struct stat& into) noexcept = 0;

    virtual Outcome bind(int fd, const sockaddr* address, socklen_t size) noexcept = 0;
    virtual Outcome listen(int fd, int backlog) noexcept = 0;
    virtual Outcome accept4(int fd, sockaddr* peer, socklen_t* size) noexcept = 0;
    virtual Outcome connect(int fd, const sockaddr* address, socklen_t size) noexcept = 0;
    virtual Outcome shutdown(int fd, int how) noexcept = 0;
    virtual Outcome getsockopt(int fd, int level, int option, void* value,
                               socklen_t& size) noexcept = 0;
    virtual Outcome setsockopt(int fd, int level, int option, const void* value,
                               socklen_t size) noexcept = 0;
    virtual Outcome getsockname(int fd, sockaddr* address, socklen_t& size) noexcept = 0;
    virtual Outcome getpeername(int fd, sockaddr* address, socklen_t& size) noexcept = 0;

    // Nothing: not a matter of this world, but of the real one.
    virtual std::optional<Outcome> open(const char* path, int flags) noexcept = 0;
    virtual std::optional<Outcome> unlink(const char* path) noexcept = 0;
    virtual std::optional<Outcome> poll(std::span<pollfd> fds, int milliseconds) noexcept = 0;
};

/// Puts a world behind the door for this thread (nullptr: the real one) and returns the one before.
/// Borrows it until replaced.
World* set_world(World* world) noexcept;
/// The one of this thread; nullptr: the real one.
[[nodiscard]] World* world() noexcept;

// Descriptors. All that make one make it close-on-exec; sockets, pipes and eventfds are
// non-blocking too, unless the name of the parameter says otherwise.
Outcome open(const char* path, int flags, mode_t mode = 0) noexcept;
Outcome close(int fd) noexcept;
Outcome dup(int fd) noexcept;
Outcome read(int fd, void* into, std::size_t size) noexcept;
Outcome write(int fd, const void* from, std::size_t size) noexcept;
Outcome writev(int fd, const iovec* parts, int count) noexcept;
/// write(2) that never raises SIGPIPE; EOPNOTSUPP where the system has no such thing.
Outcome write_quietly(int fd, const void* from, std::size_t size) noexcept;
Outcome pread(int fd, void* into, std::size_t size, off_t offset) noexcept;
Outcome pwrite(int fd, const void* from, std::size_t size, off_t offset) noexcept;
Outcome fcntl(int fd, int command, long argument = 0) noexcept;
Outcome fstat(int fd, struct stat& into) noexcept;
Outcome flock(int fd, int operation) noexcept;  // LOCK_NB is added: this never waits
Outcome pipe2(int (&ends)[2], int flags = O_NONBLOCK) noexcept;
Outcome eventfd(unsigned int value, int flags = O_NONBLOCK) noexcept;
Outcome poll(pollfd* fds, nfds_t count, int milliseconds) noexcept;  // EINTR comes back as 0 ready

// Files.
Outcome unlink(const char* path) noexcept;
Outcome rename(const char* from, const char* to) noexcept;
Outcome mkdir(const char* path, mode_t mode) noexcept;
Outcome rmdir(const char* path) noexcept;
Outcome readlink(const char* path, char* into, std::size_t size) noexcept;
Outcome ftruncate(int fd, off_t size) noexcept;
Outcome fallocate(int fd, off_t offset, off_t size) noexcept;

// Memory. mmap's value is the address.
Outcome mmap(void* address, std::size_t size, int protection, int flags, int fd,
             off_t offset) noexcept;
Outcome munmap(void* address, std::size_t size) noexcept;
Outcome madvise(void* address, std::size_t size, int advice) noexcept;
Outcome mprotect(void* address, std::size_t size, int protection) noexcept;
Outcome memfd_create(const char* name, unsigned int flags = 0) noexcept;

// Sockets. Writes never raise SIGPIPE.
Outcome socket(int domain, int type, int protocol = 0) noexcept;
Outcome socketpair(int domain, int type, int (&ends)[2]) noexcept;
Outcome bind(int fd, const sockaddr* address, socklen_t size) noexcept;
Outcome listen(int fd, int backlog) noexcept;
Outcome accept4(int fd, sockaddr* peer, socklen_t* size) noexcept;
Outcome connect(int fd, const sockaddr* address,
                socklen_t size) noexcept;  // EINTR comes back as EINPROGRESS
Outcome shutdown(int fd, int how) noexcept;
Outcome recv(int fd, void* into, std::size_t size, int flags = 0) noexcept;
Outcome send(int fd, const void* from, std::size_t size, int flags = 0) noexcept;
Outcome recvmsg(int fd, msghdr& message, int flags = 0) noexcept;
Outcome sendmsg(int fd, const msghdr& message, int flags = 0) noexcept;
Outcome getsockopt(int fd, int level, int option, void* value, socklen_t& size) noexcept;
Outcome setsockopt(int fd, int level, int option, const void* value, socklen_t size) noexcept;
Outcome getsockname(int fd, sockaddr* address, socklen_t& size) noexcept;
Outcome getpeername(int fd, sockaddr* address, socklen_t& size) noexcept;

// Waiting.
Outcome epoll_create1() noexcept;
Outcome epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept;
Outcome epoll_wait(int epoll, epoll_event* events, int size,
                   int milliseconds) noexcept;  // EINTR: 0 ready

// Processes and signals.
using ChildMain = int (*)(void* argument);
/// clone(2) with its own stack; `pidfd` receives the descriptor when CLONE_PIDFD is among the
/// flags.
Outcome clone(ChildMain child, void* stack_top, int flags, void* argument, int* pidfd) noexcept;
Outcome fork() noexcept;
Outcome pidfd_open(pid_t pid) noexcept;
Outcome pidfd_send_signal(int pidfd, int signal) noexcept;
Outcome kill(pid_t pid, int signal) noexcept;
Outcome waitid(idtype_t type, id_t id, siginfo_t& into, int options) noexcept;
Outcome sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept;  // of the calling thread
/// Takes one of the signals if it is pending, and does not wait: EAGAIN when none is.
Outcome sigtimedwait(const sigset_t& set) noexcept;
Outcome sigaction(int signal, const struct sigaction* action, struct sigaction* old) noexcept;
/// Lets others have the processor, and comes back at once where there are none.
Outcome sched_yield() noexcept;
Outcome prlimit(pid_t pid, int resource, const rlimit* limit, rlimit* old) noexcept;

/// Throws std::system_error for a failed call: "WHAT: reason".
[[noreturn]] void fail(int error, std::string_view what);

/// The value of a call that must not fail, else fail().
inline std::intptr_t must(Outcome outcome, std::string_view what) {
    if (!outcome.ok()) fail(outcome.error, what);
    return outcome.value;
}

}  // namespace green::sys
