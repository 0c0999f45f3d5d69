#pragma once
// What a hub knows of each descriptor: whether it may be worth trying, and who waits for it.

#include <array>
#include <cstddef>
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

    /// Tells the nodes that still wait, of links and sets that outlive the hub.
    void end() noexcept;

    void on_ready(int fd, std::uint32_t generation, Readiness readiness) noexcept;

 private:
    // In pages, made when first touched: an entry never moves, and the high numbers of a simulation
    // cost the list of pages, not a table.
    static constexpr std::size_t page_size = 256;
    using Page = std::array<FdEntry, page_size>;
    [[nodiscard]] FdEntry* find(int fd) noexcept;

    Reactor* reactor_;
    std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace green::detail
