#pragma once
// The kernel of a simulation: descriptors, what stands behind them, and whom to tell of a change.
//
//  K1  Each call happens at one instant of the virtual clock. Between two calls nothing happens;
//      what takes time is on the reactor's agenda.
//  K2  A report says what holds when it is made, as epoll does; each edge gives one, several before
//      the hub's look give one together.
//  K3  Whatever could be otherwise is drawn from the one source of chance, in the order of the
//      calls. Nothing else varies: no address, no real time, no number of the real kernel.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <green/simulation.hpp>
#include <green/sys.hpp>

#include "sim/file.hpp"
#include "sim/random.hpp"
#include "sim/socket.hpp"
#include "sim/tcp_net.hpp"
#include "sim/unix_names.hpp"
#include "sim/virtual_reactor.hpp"

namespace green::sim {

class Kernel final : public sys::World {
 public:
    /// Numbers of simulated descriptors: above those of real ones, which end at 2^20 unless the
    /// system was told otherwise.
    static constexpr int first_number = 1 << 20;

    /// Stands behind this thread's door while it lives. Borrows the reactor, which is the clock.
    Kernel(detail::VirtualReactor& reactor, std::uint64_t seed,
           const Simulation::Conditions& conditions);
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;
    ~Kernel() override;

    // For files.
    [[nodiscard]] Random& random() noexcept { return random_; }
    [[nodiscard]] const Simulation::Conditions& conditions() const noexcept { return conditions_; }
    [[nodiscard]] TimePoint now() noexcept { return reactor_.now(); }
    void at(TimePoint when, std::function<void()> function) {
        reactor_.at(when, std::move(function));
    }
    [[nodiscard]] TcpNet& tcp() noexcept { return tcp_; }
    [[nodiscard]] UnixNames& unix_names() noexcept { return unix_names_; }
    /// How much a new buffer holds.
    [[nodiscard]] std::size_t buffer_size();
    /// How much of `possible`, which is not 0, one call moves.
    [[nodiscard]] std::size_t moved(std::size_t possible);
    /// Whether a call on a socket that could move something says EAGAIN all the same. The caller
    /// sees to it that there is another edge.
    [[nodiscard]] bool stumbles() { return random_.chance(conditions_.percent_spurious); }
    void edge(int number);

    // For the reactor.
    [[nodiscard]] int watch(int number);
    void unwatch(int number) noexcept;
    /// Tells the reactor what became ready since the last time.
    void report();
    [[nodiscard]] bool has_report() const noexcept { return !edges_.empty(); }

    // For the simulation.
    void limit_descriptors(std::size_t most) noexcept { conditions_.most_descriptors = most; }
    [[nodiscard]] std::size_t open_descriptors() const noexcept { return open_; }
    [[nodiscard]] std::uint64_t fingerprint() const noexcept { return fingerprint_; }
    /// One line per open descriptor.
    [[nodiscard]] std::string describe_descriptors() const;

    // sys::World
    [[nodiscard]] bool owns(int fd) const noexcept override { return fd >= first_number; }
    sys::Outcome socket(int domain, int type, int protocol) noexcept override;
    sys::Outcome socketpair(int domain, int type, int (&ends)[2]) noexcept override;
    sys::Outcome pipe2(int (&ends)[2], int flags) noexcept override;
    sys::Outcome eventfd(unsigned int value, int flags) noexcept override;
    sys::Outcome dup(int fd) noexcept override;
    sys::Outcome close(int fd) noexcept override;
    sys::Outcome read(int fd, std::span<const iovec> parts) noexcept override;
    sys::Outcome write(int fd, std::span<const iovec> parts) noexcept override;
    sys::Outcome recvmsg(int fd, msghdr& message, int flags) noexcept override;
    sys::Outcome sendmsg(int fd, const msghdr& message, int flags) noexcept override;
    sys::Outcome fcntl(int fd, int command, long argument) noexcept override;
    sys::Outcome fstat(int fd, struct stat& into) noexcept override;
    sys::Outcome bind(int fd, const sockaddr* address, socklen_t size) noexcept override;
    sys::Outcome listen(int fd, int backlog) noexcept override;
    sys::Outcome accept4(int fd, sockaddr* peer, socklen_t* size) noexcept override;
    sys::Outcome connect(int fd, const sockaddr* address, socklen_t size) noexcept override;
    sys::Outcome shutdown(int fd, int how) noexcept override;
    sys::Outcome getsockopt(int fd, int level, int option, void* value,
                            socklen_t& size) noexcept override;
    sys::Outcome setsockopt(int fd, int level, int option, const void* value,
                            socklen_t size) noexcept override;
    sys::Outcome getsockname(int fd, sockaddr* address, socklen_t& size) noexcept override;
    sys::Outcome getpeername(int fd, sockaddr* address, socklen_t& size) noexcept override;
    std::optional<sys::Outcome> open(const char* path, int flags) noexcept override;
    std::optional<sys::Outcome> unlink(const char* path) noexcept override;
    std::optional<sys::Outcome> poll(std::span<pollfd> fds, int milliseconds) noexcept override;

 private:
    struct Descriptor {
        std::shared_ptr<File> file;  // none: free
        bool edge = false;           // stands in edges_
    };

    [[nodiscard]] Descriptor* descriptor(int number) noexcept;
    /// Room for so many more descriptors.
    [[nodiscard]] bool has_room(std::size_t count) const noexcept {
        return open_ + count <= conditions_.most_descriptors;
    }
    /// Gives a file the lowest free number.
    [[nodiscard]] int install(std::shared_ptr<File> file);
    sys::Outcome install_one(sys::Call call, std::shared_ptr<File> file);
    sys::Outcome install_two(sys::Call call, std::shared_ptr<File> first,
                             std::shared_ptr<File> second, int (&numbers)[2]);
    /// Makes a call on the file behind a number, and notes what came of it. One with MSG_DONTWAIT
    /// among its flags may find nothing on a descriptor that blocks.
    template <class Function>
    sys::Outcome on_file(sys::Call call, int fd, Function function, int flags = 0);
    template <class Function>
    sys::Outcome on_socket(sys::Call call, int fd, Function function, int flags = 0);
    sys::Outcome noted(sys::Call call, int fd, sys::Outcome outcome) noexcept;
    void note(std::uint64_t bits) noexcept {
        fingerprint_ = Random::scrambled(fingerprint_ ^ bits) + 1;
    }

    detail::VirtualReactor& reactor_;
    Random random_;
    Simulation::Conditions conditions_;
    TcpNet tcp_;
    UnixNames unix_names_;
    std::vector<Descriptor> descriptors_;
    std::size_t open_ = 0;
    std::size_t lowest_ = 0;  // no number below it is free
    std::vector<int> edges_;  // numbers, in the order of their first edge
    std::uint64_t fingerprint_ = 0;
    sys::World* outer_;
};

}  // namespace green::sim
