#pragma once
// Longer than most headers: much is said of who waits for whom; the bodies of the calls that are
// templates are in detail/group_calls.hpp.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include <green/deadline.hpp>
#include <green/detail/home.hpp>
#include <green/detail/intrusive.hpp>
#include <green/detail/map_feed.hpp>
#include <green/detail/park.hpp>
#include <green/detail/slots.hpp>
#include <green/errors.hpp>
#include <green/greenlet.hpp>
#include <green/result_stream.hpp>

namespace green {

/// A set of greenlets that cannot outlive it: leaving its scope kills those that still run and
/// waits for them. join() first, where waiting is meant. A member leaves when it has ended, before
/// those who join it are woken.
///
/// What is said of waiting for room is of a Pool, which is a group with a limit: a plain group has
/// always room.
///
/// In a forked child it is empty: its members were the parent's.
class Group {
 public:
    class Ready;

    Group() noexcept : Group{detail::Slots::unlimited} {}
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;
    /// Switches while members run. Kills and timeouts of the caller wait until the last member has
    /// ended; a caller that is a member itself is let go first, and runs on. Likewise one that was
    /// killed before it ran, if the group goes with what it had captured. Others that wait for room
    /// get Closed, also when it has just come free; those that wait for the group find it empty.
    ~Group();

    /// As green::spawn, into this group. Switches while there is no room; nothing has been taken
    /// from the arguments until there is.
    template <class Function, class... Arguments>
    requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
    [[gnu::always_inline]] auto spawn(Function&& function, Arguments&&... arguments) {
        return launch(slots_.take(), Role::member, std::forward<Function>(function),
                      std::forward<Arguments>(arguments)...);
    }
    /// Takes a greenlet in, started or not. Switches while there is no room.
    /// Returns whether it is a member now: false when it has ended, or once `deadline` has passed.
    bool add(const AnyGreenlet& greenlet, Deadline deadline = Deadline::never());
    /// add(), then starts it.
    bool start(const AnyGreenlet& greenlet, Deadline deadline = Deadline::never());
    /// Lets a member go, which runs on; its room is free at once. One that still waits for its turn
    /// is not started any more. Returns whether it was a member.
    bool discard(const AnyGreenlet& greenlet) noexcept;

    /// Runs the function in a member and gives its value, or rethrows. Switches. Called by a member
    /// it runs right there, so that full pools cannot lock themselves up. A caller that is
    /// interrupted kills the call, and waits for its end.
    template <class Function, class... Arguments>
    requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
    auto apply(Function&& function, Arguments&&... arguments)
        -> detail::CallResult<Function, Arguments...>;
    /// As spawn(), but never switches: without room the greenlet is started when it is its turn. It
    /// is a member all the same: join() waits for it, kill() ends it.
    template <class Function, class... Arguments>
    requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
    [[gnu::always_inline]] auto apply_async(Function&& function, Arguments&&... arguments) {
        auto greenlet =
            deferred(std::forward<Function>(function), std::forward<Arguments>(arguments)...);
        start_in_turn(greenlet);
        return greenlet;
    }
    /// As apply_async(); a value that comes is given to `callback` by reference, in the call's own
    /// greenlet, before others see it. What the callback throws is the call's failure.
    template <class Callback, class Function, class... Arguments>
    requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
    auto apply_async_then(Callback&& callback, Function&& function, Arguments&&... arguments);

    /// Calls the function for each element, each call in a member of its own; gives the values in
    /// the order of the input, or nothing when there are none. Switches.
    /// The first error in time, of a call or of the input, is thrown, and so is an interrupt of the
    /// caller: the other calls are killed and waited for before. A caller that is a member lends
    /// its own room, one element at a time, when there is no other.
    template <class Function, class Range>
    requires detail::MapsOver<Function, Range>
    auto map(Function function, Range&& range);
    /// map() in a greenlet, which is a member that needs no room. Never switches. A range given as
    /// an lvalue is borrowed until it has ended.
    template <class Function, class Range>
    requires detail::MapsOver<Function, Range>
    auto map_async(Function&& function, Range&& range);

    /// Calls the function for each element as map() does, but lazily: the results can be read while
    /// input is still to come, in the order of the input. Never switches; a greenlet of its own
    /// reads the input, one element ahead of the room in the group, and may wait in it. A range
    /// given as an lvalue is borrowed until then.
    /// At most `maxsize` elements are begun and not read. Without it: twice the limit of a Pool,
    /// any number in a plain group. Throws UsageError when it is 0.
    template <class Function, class Range>
    requires detail::MapsOver<Function, Range>
    [[nodiscard]] auto imap(Function&& function, Range&& range, std::size_t maxsize = automatic) {
        return lazy_map(detail::MapOrder::input, std::forward<Function>(function),
                        std::forward<Range>(range), maxsize);
    }
    /// The same, with the results in the order of completion.
    template <class Function, class Range>
    requires detail::MapsOver<Function, Range>
    [[nodiscard]] auto imap_unordered(Function&& function, Range&& range,
                                      std::size_t maxsize = automatic) {
        return lazy_map(detail::MapOrder::completion, std::forward<Function>(function),
                        std::forward<Range>(range), maxsize);
    }

    /// Waits until the group is empty. Switches, unless it is. Returns false once `deadline` has
    /// passed.
    bool join(Deadline deadline = Deadline::never());
    /// As join(), but throws what the first member to fail threw, as soon as it has failed. Each
    /// failure is thrown once; one that came before this call counts, one that apply() or a map
    /// has handed to its caller does not.
    bool join_or_raise(Deadline deadline = Deadline::never());

    /// Kills every member, also those that come meanwhile, and waits for them. Each is shot once in
    /// its membership: who survived is not shot again, whatever the reason. A member that calls it
    /// is shot last, there and then.
    /// Returns the survivors once `deadline` has passed; they stay members. Nobody waits for his
    /// own end: a member whose kill was delivered before, or waits under a Shield, waits for the
    /// others only, except those that do the same, and is a survivor.
    std::vector<AnyGreenlet> kill(Deadline deadline = Deadline::never()) {
        return kill(nullptr, deadline);
    }
    std::vector<AnyGreenlet> kill(std::exception_ptr reason, Deadline deadline = Deadline::never());
    /// Kills those that are members now, without waiting.
    void kill_soon(std::exception_ptr reason = nullptr);
    /// Kills one member and waits for it. Returns whether it has ended; at once when it is no
    /// member, was shot before, or is the caller under a Shield.
    bool killone(const AnyGreenlet& greenlet, Deadline deadline = Deadline::never()) {
        return killone(greenlet, nullptr, deadline);
    }
    bool killone(const AnyGreenlet& greenlet, std::exception_ptr reason,
                 Deadline deadline = Deadline::never());

    [[nodiscard]] bool contains(const AnyGreenlet& greenlet) const noexcept;
    /// Members, with those that wait for their turn.
    [[nodiscard]] std::size_t size() const noexcept { return home_.is_here() ? size_ : 0; }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] std::vector<AnyGreenlet> members() { return list(false); }

 protected:
    /// What a greenlet is in the group for.
    enum class Role : std::uint8_t {
        member,
        call,    // somebody waits for its outcome, whose affair its failure is
        guest,   // a call in the room of its caller, who does nothing but wait for it
        feeder,  // of a lazy map: dies with the group, but nobody waits for it
    };

    explicit Group(std::size_t limit) noexcept : slots_{limit} {}

    template <class Function, class... Arguments>
    [[gnu::always_inline]] auto launch(detail::Slots::Slot slot, Role role, Function&& function,
                                       Arguments&&... arguments) {
        auto greenlet =
            deferred(std::forward<Function>(function), std::forward<Arguments>(arguments)...);
        enter(greenlet, std::move(slot), role);
        greenlet.start();
        return greenlet;
    }

    detail::Slots slots_;

 private:
    struct Member;
    struct QueuedCall;
    class Visit;
    class Killing;
    class MemberWaits;

    static constexpr std::size_t automatic = std::numeric_limits<std::size_t>::max();

    void enter(const AnyGreenlet& greenlet, detail::Slots::Slot slot, Role role);
    void start_in_turn(const AnyGreenlet& greenlet);
    void insert(std::unique_ptr<Member> member);
    void left(Role role) noexcept;
    /// In a forked child members and those who wait for them are memory, that of another thread's
    /// perhaps half changed, or another's by now: nobody looks at it.
    void come_home() noexcept;
    void let_go_of_those_that_end_here();
    [[nodiscard]] std::vector<AnyGreenlet> list(bool with_feeders);
    void raise_failure();
    [[nodiscard]] Member* find(const AnyGreenlet& greenlet) const noexcept;
    [[nodiscard]] bool has_room(const AnyGreenlet& greenlet) const noexcept;
    void shoot(Member& member, const std::exception_ptr& reason);
    void shoot_all(const std::exception_ptr& reason, const Visit& visit);
    [[nodiscard]] bool gone() const noexcept { return size_ == 0 && feeders_ == 0; }
    [[nodiscard]] bool only_waiting_members() const noexcept {
        return size_ + feeders_ == waiting_members_;
    }
    bool wait_until_gone(const Visit& visit, const MemberWaits* caller, Deadline deadline);
    [[nodiscard]] std::size_t lazy_bound(std::size_t maxsize) const noexcept;

    template <class Function, class Range>
    auto lazy_map(detail::MapOrder order, Function&& function, Range&& range, std::size_t maxsize);
    template <class T, class Function, class Range>
    void feed(detail::MapFeed<T>& results, Function& function, Range&& range, std::size_t maxsize);

    detail::Home home_;
    detail::IntrusiveList<detail::ListHook> members_;  // of Member
    detail::IntrusiveList<detail::ListHook> shot_;     // of Member
    std::size_t size_ = 0;
    std::size_t feeders_ = 0;
    std::size_t waiting_members_ = 0;  // that wait in kill()
    unsigned killing_ = 0;
    std::exception_ptr killing_reason_;
    std::optional<AnyGreenlet> failed_;  // the first whose failure nobody has been told of
    detail::WaitList<Ready> joiners_;
    detail::WaitList<detail::ListNode> killers_;
    detail::WaitList<detail::ListNode> failure_waiters_;
    detail::IntrusiveList<detail::ListHook> visits_;  // of Visit
};

/// Waits until the group is empty.
class Group::Ready : public detail::WaitNode {
 public:
    explicit Ready(Group& group) noexcept : WaitNode{detail::Reach::inside}, group_{&group} {}
    bool arm() override {
        if (group_->empty()) return true;
        group_->joiners_.push_back(*this);
        return false;
    }
    void describe(std::string& into) const override { into += "a group's end"; }

 private:
    Group* group_;
};

}  // namespace green

#include <green/detail/group_calls.hpp>
