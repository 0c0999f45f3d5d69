#pragma once
// What a hub knows of each descriptor: whether it may be worth trying, and who waits for it.

#include <cstdint>
#include <memory>
#include <vector>

#include <green/detail/fd_wait.hpp>

#include "loop/reactor.hpp"

namespace green::detail {

class FdTable {
 public:
    explicit FdTable(Reactor& reactor) noexcept : reactor_{&reactor} {}

    /// The entry for a descriptor number; stays where it is. Throws std::bad_alloc.
    [[nodiscard]] FdEntry& entry(int fd);
    /// The descriptor begins a life in this hub: a new generation, everything worth trying.
    void open(int fd);
    /// Wakes those who wait, tells the reactor to forget it. The close itself is the caller's next
    /// line.
    void close(int fd) noexcept;
    /// Starts watching at the first wait. Throws std::system_error.
    void watch(int fd, FdEntry& entry);

    void on_ready(int fd, std::uint32_t generation, Readiness readiness) noexcept;

 private:
    Reactor* reactor_;
    std::vector<std::unique_ptr<FdEntry>> entries_;
};

}  // namespace green::detail
