#pragma once
// How functions reach a hub from other threads. The hub and all its HubRefs share one: it outlives
// the hub, and says so.

#include <atomic>
#include <functional>
#include <mutex>
#include <vector>

#include <green/detail/birthplace.hpp>

#include "loop/reactor.hpp"

namespace green::detail {

class Mailbox {
 public:
    using Batch = std::vector<std::function<void()>>;

    explicit Mailbox(Reactor& reactor) noexcept : reactor_{&reactor} {}

    /// From any thread. Returns false, and drops the function, once the hub has gone.
    bool post(std::function<void()> function);

    // For the hub, in its thread.
    [[nodiscard]] bool waiting() const noexcept { return waiting_.load(std::memory_order_acquire); }
    [[nodiscard]] Batch take() noexcept;
    /// From now on nothing is taken in, and the reactor is not touched any more. Returns what was
    /// left.
    [[nodiscard]] Batch close() noexcept;

 private:
    const Birthplace birthplace_;
    std::mutex mutex_;
    Reactor* reactor_;  // nullptr: the hub has gone
    Batch posted_;
    std::atomic<bool> waiting_{false};
};

}  // namespace green::detail
