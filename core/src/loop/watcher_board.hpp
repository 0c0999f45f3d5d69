#pragma once
// The watchers of a hub: which are active, which are pending, and when they run.
//
//  W1  A watcher that happened stands in the list of its priority until it runs. Only those run
//      that stood there when the running began, so that no callback can keep the hub from its
//      greenlets.
//  W2  A callback may start, stop and destroy any watcher, itself included. So a watcher is
//      unlinked before it runs, and not touched afterwards unless it says that it is still there.
//  W3  What the hub owns is destroyed only between callbacks.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <green/watcher_base.hpp>

namespace green::detail {

class Hub;

class WatcherBoard {
 public:
    explicit WatcherBoard(Hub& hub) noexcept : hub_{&hub} {}

    [[nodiscard]] Hub& hub() noexcept { return *hub_; }

    // For watchers.

    /// Throws UsageError when the hub is going.
    void check_open() const;
    void enter(Watcher& watcher) noexcept;
    void leave(Watcher& watcher) noexcept;
    void make_pending(Watcher& watcher) noexcept;
    void drop_pending(Watcher& watcher) noexcept;
    void set_ref(Watcher& watcher, bool ref) noexcept;
    void adopt(std::unique_ptr<Watcher> watcher) noexcept;
    /// From any thread and from signal handlers.
    void sent() noexcept;

    // For the hub.

    [[nodiscard]] std::size_t pending() const noexcept { return pending_count_; }
    [[nodiscard]] bool keep_hub_hot() noexcept { return !of(WatcherKind::idle).empty(); }
    [[nodiscard]] std::size_t keeping_alive() const noexcept { return keeping_alive_; }
    [[nodiscard]] std::size_t size() const noexcept { return active_count_; }
    void before_looking_outside() noexcept;
    /// Wakes those who wait for what has happened, so that it beats their limits.
    void wake_waiters() noexcept;
    void after_looking_outside(bool nobody_is_ready) noexcept;
    /// A descriptor is about to be closed.
    void closing(int fd) noexcept;
    void report(std::string& into);
    /// Stops them all, for good.
    void close() noexcept;
    [[nodiscard]] bool minds_forks() noexcept { return !of(WatcherKind::fork).empty(); }
    /// In a forked child: runs the fork watchers, and nothing afterwards.
    void forked() noexcept;

 private:
    using List = IntrusiveList<WatcherSeat>;
    static constexpr std::size_t levels = Watcher::highest_priority - Watcher::lowest_priority + 1;

    [[nodiscard]] List& of(WatcherKind kind) noexcept {
        return active_[static_cast<std::size_t>(kind)];
    }
    [[nodiscard]] List& pending_at(int priority) noexcept {
        return pending_[static_cast<std::size_t>(priority - Watcher::lowest_priority)];
    }
    void make_all_pending(WatcherKind kind) noexcept;
    void make_idle_pending() noexcept;
    void run_pending() noexcept;
    void destroy_ended() noexcept;

    Hub* hub_;
    std::array<List, watcher_kinds> active_;
    std::array<List, levels> pending_;
    List ended_;  // owned by the hub, and not active any more
    std::size_t active_count_ = 0;
    std::size_t pending_count_ = 0;
    std::size_t keeping_alive_ = 0;
    std::uint64_t next_pending_ = 0;
    bool closed_ = false;
    std::atomic<bool> any_sent_{false};
};

}  // namespace green::detail
