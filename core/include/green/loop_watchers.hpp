#pragma once
// Watchers of time that passes, of calls from elsewhere, and of the hub itself.

#include <atomic>
#include <functional>
#include <string>

#include <green/deadline.hpp>
#include <green/detail/callers.hpp>
#include <green/detail/timer.hpp>
#include <green/watcher_base.hpp>

namespace green {

/// Time that passes, from start() on: once, or again and again. What a late hub misses of a
/// repeating one is left out, and the beat is kept.
class TimerWatcher final : public WatcherOf<TimerWatcher> {
 public:
    /// An `after` of zero or less means: in the hub's next turn. A `repeat` of zero means: once.
    /// Throws UsageError for a negative `repeat`.
    explicit TimerWatcher(Duration after, Duration repeat = Duration::zero());
    ~TimerWatcher() override { stop(); }

    /// For the next start(). Throws like the constructor, and UsageError while it is active.
    void set(Duration after, Duration repeat);
    /// For the next again(), and for what follows the next firing. Throws UsageError as above.
    void set_repeat(Duration repeat);
    [[nodiscard]] Duration repeat() const noexcept { return repeat_; }

    /// Moves the next firing to one `repeat` from now; without a `repeat` it stops. In its own
    /// callback it need not be active any more, else UsageError is thrown.
    void again();
    /// The same for one that may not be active, and with that callback from now on.
    void again(std::function<void()> callback);
    [[nodiscard]] std::string describe() const override { return "a timer"; }

 private:
    struct Clock : detail::Timer {
        TimerWatcher* owner = nullptr;
    };
    static void expired(detail::Timer& timer) noexcept;
    void arm() override;
    void disarm() noexcept override;
    void abandon() noexcept override { clock_.room = detail::Timer::Room::none; }
    void start_clock(TimePoint when);

    Duration after_{};
    Duration repeat_{};
    TimePoint due_{};
    Clock clock_;
};

/// A call from elsewhere. Several may come as one.
class AsyncWatcher final : public WatcherOf<AsyncWatcher> {
 public:
    AsyncWatcher() noexcept : WatcherOf{detail::WatcherKind::async, true} {}
    ~AsyncWatcher() override { stop(); }

    /// Makes it pending, and wakes the hub. From any thread and from signal handlers, while this
    /// object lives. What nobody has seen yet is kept for who listens next.
    void send() noexcept;
    /// It was sent, and nobody has seen it yet. From any thread.
    [[nodiscard]] bool pending() const noexcept override { return sent_; }
    [[nodiscard]] std::string describe() const override { return "a call from elsewhere"; }

 private:
    void arm() override;
    void disarm() noexcept override;
    void collect() override { sent_ = false; }
    [[nodiscard]] bool happened() override { return !active() && sent_.exchange(false); }
    void abandon() noexcept override { listener_ = nullptr; }

    static_assert(std::atomic<detail::WatcherBoard*>::is_always_lock_free);
    std::atomic<bool> sent_{false};
    std::atomic<detail::WatcherBoard*> listener_{nullptr};  // while it is active
    detail::Callers senders_;                               // who may be using the listener now
};

/// The hub has nothing else to do: no greenlet is ready, and no watcher of the same or a higher
/// priority is pending. Keeps the hub from sleeping.
class IdleWatcher final : public WatcherOf<IdleWatcher> {
 public:
    IdleWatcher() noexcept : WatcherOf{detail::WatcherKind::idle, true} {}
    ~IdleWatcher() override { stop(); }
    [[nodiscard]] std::string describe() const override { return "idleness"; }

 private:
    void arm() override {}
};

/// The hub is about to look outside. It looks when this, and whatever else is pending then, has
/// run.
class PrepareWatcher final : public WatcherOf<PrepareWatcher> {
 public:
    PrepareWatcher() noexcept : WatcherOf{detail::WatcherKind::prepare, false} {}
    ~PrepareWatcher() override { stop(); }
    [[nodiscard]] std::string describe() const override { return "the begin of a turn"; }

 private:
    void arm() override {}
};

/// The hub has looked outside. Becomes pending after what was found there.
class CheckWatcher final : public WatcherOf<CheckWatcher> {
 public:
    CheckWatcher() noexcept : WatcherOf{detail::WatcherKind::check, false} {}
    ~CheckWatcher() override { stop(); }
    [[nodiscard]] std::string describe() const override { return "the end of a turn"; }

 private:
    void arm() override {}
};

/// The thread of this hub calls fork(2). The callback runs in the child, before fork() returns
/// there: to close what the child must not have. There is no hub in it: nothing of green that
/// waits, or wakes, can be used.
class ForkWatcher final : public WatcherOf<ForkWatcher> {
 public:
    ForkWatcher() noexcept : WatcherOf{detail::WatcherKind::fork, false} {}
    ~ForkWatcher() override { stop(); }
    [[nodiscard]] std::string describe() const override { return "a fork"; }

 private:
    void arm() override {}
};

}  // namespace green
