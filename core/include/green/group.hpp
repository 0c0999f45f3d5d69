#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include <green/deadline.hpp>
#include <green/detail/intrusive.hpp>
#include <green/detail/park.hpp>
#include <green/greenlet.hpp>

namespace green {

/// A set of greenlets that cannot outlive it: leaving its scope kills those that still run and
/// waits for them. join() first, where waiting is meant. A member leaves when it has ended, before
/// those who join it are woken.
class Group {
 public:
    Group() = default;
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;
    /// Switches while members run. Kills and timeouts of the caller wait until the last member has
    /// ended.
    ~Group();

    /// As green::spawn, into this group. Never switches.
    template <class Function, class... Arguments>
    requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
    [[gnu::always_inline]] auto spawn(Function&& function, Arguments&&... arguments) {
        auto greenlet =
            deferred(std::forward<Function>(function), std::forward<Arguments>(arguments)...);
        add(greenlet);
        greenlet.start();
        return greenlet;
    }
    /// Takes a greenlet in. One that has ended is not taken.
    void add(const AnyGreenlet& greenlet);

    /// Waits until the group is empty. Switches, unless it is. Returns false once `deadline` has
    /// passed.
    bool join(Deadline deadline = Deadline::never());
    /// Kills every member, also those spawned meanwhile, and waits for them.
    /// Returns the survivors once `deadline` has passed; they stay members.
    std::vector<AnyGreenlet> kill(Deadline deadline = Deadline::never());

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::vector<AnyGreenlet> members();

 private:
    struct Member;
    void left() noexcept;

    detail::IntrusiveList<detail::ListHook> members_;  // of Member
    std::size_t size_ = 0;
    std::uint64_t arrivals_ = 0;
    detail::WaitList<detail::ListNode> waiters_;
};

}  // namespace green
