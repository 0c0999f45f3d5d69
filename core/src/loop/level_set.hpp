#pragma once
// Descriptors that others own, reported while they are ready: an epoll set of its own, level
// triggered. libev's ev_io would do, but ends the process when it finds a descriptor closed.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include <green/detail/intrusive.hpp>

#include "loop/reactor.hpp"

namespace green::detail {

class LevelSet {
 public:
    LevelSet() noexcept = default;
    LevelSet(const LevelSet&) = delete;
    LevelSet& operator=(const LevelSet&) = delete;
    ~LevelSet() { close(); }

    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
    /// The descriptor that is readable when there is something to collect, made when there is
    /// none. Throws std::system_error.
    [[nodiscard]] int descriptor();
    /// Needs the descriptor. Throws std::system_error, and then nothing has changed.
    [[nodiscard]] std::unique_ptr<Watch> add(int fd, Readiness wanted,
                                             std::function<void(Readiness)> report);

    /// Reports what is ready. Returns whether the set should be made anew: it tells of something
    /// that was closed, but lives on elsewhere, and there is no other way to silence it.
    [[nodiscard]] bool collect() noexcept;
    /// Makes the set anew, under another descriptor. Returns false, and keeps it, when that is
    /// refused.
    [[nodiscard]] bool renew() noexcept;
    /// At its end, and for a forked child's copy of it, which is not used any more.
    void close() noexcept;

 private:
    struct Item final : Watch, ListHook {
        ~Item() override;
        void tell(std::uint32_t events) const;

        LevelSet* set = nullptr;
        int fd = -1;
        std::uint32_t mask = 0;
        std::function<void(Readiness)> report;
    };
    struct Entry {
        IntrusiveList<Item> items;
        std::uint32_t mask = 0;  // what is registered; 0: nothing
        std::uint32_t generation = 0;
    };

    [[nodiscard]] int apply(int fd, Entry& entry, std::uint32_t mask) noexcept;
    void remove(Item& item) noexcept;

    int epoll_ = -1;
    std::map<int, Entry> entries_;  // a map: entries must not move
    std::uint32_t next_generation_ = 0;
};

}  // namespace green::detail
