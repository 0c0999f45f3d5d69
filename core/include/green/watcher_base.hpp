#pragma once
// What all watchers have in common; the kinds are in watcher.hpp.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/home.hpp>
#include <green/detail/intrusive.hpp>
#include <green/detail/park.hpp>

namespace green {

class Watcher;

namespace detail {

class Watch;
class WatcherBoard;

enum class WatcherKind : std::uint8_t {
    io,
    timer,
    periodic,
    signal,
    child,
    stat,
    async,
    idle,
    prepare,
    check,
    fork,
};
inline constexpr std::size_t watcher_kinds = static_cast<std::size_t>(WatcherKind::fork) + 1;

/// A watcher's place in one of the hub's lists.
struct WatcherSeat : ListHook {
    explicit WatcherSeat(Watcher& its_watcher) noexcept : watcher{&its_watcher} {}
    Watcher* watcher;
};

}  // namespace detail

/// Runs a callback in the hub each time something happens, from start() to stop().
///
///  * Callbacks run on the hub's stack and must not wait: BlockingInHub. What they throw goes to
///    the error handler, and the hub goes on.
///  * What happens makes a watcher *pending*. Those that are pending run once per turn of the hub,
///    the highest priority first, equal ones in the order in which they became so. One that becomes
///    pending several times before it runs runs once. What becomes pending while they run waits for
///    the next turn; ready greenlets come first.
///  * While it is active, a watcher with ref() keeps the hub alive: it is something that can still
///    happen, for LoopExit and for hub_join().
///  * A watcher belongs to the hub of the thread that started it; only AsyncWatcher::send() may be
///    called elsewhere. It stops when it is destroyed, and when its hub goes. It never moves;
///    detach() gives it to the hub. It may be stopped, restarted and destroyed in its own callback.
///  * In a forked child none of the parent's is active, of whichever thread it was. It can be
///    started there, in a hub of the child's.
class Watcher {
 public:
    class Ready;

    static constexpr int lowest_priority = -2;
    static constexpr int highest_priority = 2;

    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;
    virtual ~Watcher();

    /// Started, and neither stopped nor at its end by itself.
    [[nodiscard]] bool active() const noexcept { return active_ && home_.is_here(); }
    /// It has happened, and the callback is still to run.
    [[nodiscard]] virtual bool pending() const noexcept {
        return pending_.linked() && home_.is_here();
    }

    /// The callback will not run any more, also when it was pending; it is destroyed, once it has
    /// returned if it is running. A greenlet in wait() gets Closed. Silent when it is not active.
    void stop() noexcept;
    /// Makes it pending as though it had happened. Throws UsageError when it is not active.
    void feed();

    /// Whether it keeps the hub alive. By default those do that the world, or time, can make
    /// happen: all but signal, prepare, check and fork watchers.
    [[nodiscard]] bool ref() const noexcept { return ref_; }
    void set_ref(bool ref) noexcept;

    [[nodiscard]] int priority() const noexcept { return priority_; }
    /// 0 when nothing is said. Throws UsageError outside of the range, and while it is active or
    /// pending.
    void set_priority(int priority);

    /// Waits until it happens next; starts it for that long unless it is active. Switches, unless
    /// what it watches for has happened for good.
    /// Returns false once `deadline` has passed. Throws ConcurrentUse when another greenlet waits
    /// for it, Closed when it is stopped meanwhile, and what start() throws.
    bool wait(Deadline deadline = Deadline::never());
    /// Ends the wait() of another greenlet, if there is one, by that error.
    void cancel_wait(const std::exception_ptr& error) noexcept;

    /// What it watches for, for reports: "fd 7", "a timer".
    [[nodiscard]] virtual std::string describe() const = 0;

 protected:
    Watcher(detail::WatcherKind kind, bool ref) noexcept;

    void begin(std::function<void()> callback);
    void replace(std::function<void()> callback);
    /// Throws UsageError.
    void check_inactive(const char* attempt) const;

    void activate();

    // For the kinds: what the world makes of it.
    void make_pending() noexcept;
    void drop_pending() noexcept;
    /// It has reached its end by itself; it may be pending still.
    void deactivate() noexcept;
    /// Tells of an error of its own and stops it.
    void fail(const std::exception_ptr& error) noexcept;
    [[nodiscard]] bool in_own_callback() const noexcept {
        return running_ != nullptr && home_.is_here();
    }

    std::unique_ptr<detail::Watch> watch_;  // what the reactor watches for it, if anything

 private:
    friend class detail::WatcherBoard;
    struct Run;

    /// What arm() needs of the user's code; comes shortly before it.
    virtual void prepare() {}
    /// Begins to watch. Throws, and then nothing has begun.
    virtual void arm() = 0;
    virtual void disarm() noexcept;
    /// Just before the callback runs. What it throws stops the watcher.
    virtual void collect() {}
    /// What it watches for has happened before anybody began to wait.
    [[nodiscard]] virtual bool happened() { return false; }
    /// In a forked child, in place of disarm(): what it was armed with is the parent's, and must
    /// not be touched.
    virtual void abandon() noexcept {}
    /// What was begun in the parent of a forked child is not there: as though it had never been.
    void come_home() noexcept;

    /// Wakes its waiter ahead of its run.
    void settle() noexcept;
    void run() noexcept;
    void call_back(Run& run) noexcept;
    [[nodiscard]] bool remembers() const noexcept;
    [[nodiscard]] bool wake_waiter() noexcept;
    void wake_waiter(const std::exception_ptr& error) noexcept;
    /// There must be one.
    [[nodiscard]] Ready& dismiss_waiter() noexcept;

    detail::Home home_;  // where all of this is true
    detail::WatcherKind kind_;
    bool ref_;
    bool active_ = false;
    bool owned_by_hub_ = false;
    bool started_by_waiter_ = false;
    bool settled_ = false;  // it is pending, and its waiter has been woken
    bool unseen_ = false;   // it happened for a waiter who left without having seen it
    int priority_ = 0;
    detail::WatcherBoard* board_ = nullptr;  // while it is active or pending
    std::function<void()> callback_;
    Run* running_ = nullptr;
    Ready* waiter_ = nullptr;
    Ready* woken_ = nullptr;  // the last waiter that was told, until it has left
    detail::WatcherSeat seat_{*this};
    detail::WatcherSeat pending_{*this};
    std::uint64_t pending_since_ = 0;
};

/// Waits until a watcher happens next: Watcher::wait() beside other things to wait for. The wait
/// ends by the same errors.
class Watcher::Ready : public detail::WaitNode {
 public:
    explicit Ready(Watcher& watcher) noexcept;
    Ready(const Ready&) = delete;
    Ready& operator=(const Ready&) = delete;
    ~Ready() override;

    void prepare() override;
    bool arm() override;
    void disarm() noexcept override;
    void abandon() noexcept override;
    void describe(std::string& into) const override;
    [[noreturn]] void throw_lost() const override;

 private:
    friend class Watcher;
    Watcher* watcher_;  // nullptr: it has gone
    bool prepared_ = false;
    std::exception_ptr error_;  // by which the wait ends
};

/// The part of a watcher that knows its type.
template <class Self>
class WatcherOf : public Watcher {
 public:
    /// A callback that is given its watcher, which may be all that knows it.
    using Callback = std::function<void(Self&)>;

    /// Begins to watch. Throws UsageError for an empty callback and while it is active, and
    /// std::system_error when the system refuses; then it is as before.
    void start(std::function<void()> callback) { begin(std::move(callback)); }
    void start(Callback callback) { begin(bound(std::move(callback))); }

    /// Replaces the callback of an active watcher, also from inside that callback. Throws
    /// UsageError for an empty one, and when it is not active.
    void set_callback(std::function<void()> callback) { replace(std::move(callback)); }
    void set_callback(Callback callback) { replace(bound(std::move(callback))); }

 protected:
    using Watcher::Watcher;

 private:
    [[nodiscard]] std::function<void()> bound(Callback callback) {
        if (!callback) return {};
        return [this, callback = std::move(callback)] { callback(static_cast<Self&>(*this)); };
    }
};

/// Gives an active watcher to the hub: it lives until it stops, or ends by itself, and is destroyed
/// in the hub's next turn. Until then a plain reference to it is good.
/// Throws UsageError when there is none or it is not active.
void detach(std::unique_ptr<Watcher> watcher);

}  // namespace green
