#pragma once
// The hub of a thread, as far as users see it. It appears when somebody first waits; there is
// nothing to start.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <green/deadline.hpp>

namespace green {

namespace detail {
class Mailbox;
}

/// What a thread can choose before its hub appears.
struct HubOptions {
    /// Address space for each greenlet's stack with its guard; memory is used as far as the stack
    /// is. A page of the kernel's own tables serves 2 MiB of it: programs with a million greenlets
    /// choose 64 KiB or less. The hub's own, on which callbacks run, never has less than 256 KiB.
    std::size_t stack_size = 256UL * 1024;
    /// The hub looks outside after so many switches or after so much time, whichever comes first;
    /// the clock is asked on every 32nd switch. Duration::max() is no limit.
    unsigned budget_switches = 1024;
    std::chrono::steady_clock::duration budget_time = std::chrono::microseconds(100);
};
/// For the hub of this thread. Throws UsageError when it is there already.
void configure_hub(const HubOptions& options);

/// Figures of this thread's hub.
struct HubFigures {
    std::size_t greenlets = 0;   // started and not ended
    std::size_t stacks = 0;      // in use
    std::size_t timers = 0;      // pending
    std::size_t outside = 0;     // waits that the world can end
    std::uint64_t switches = 0;  // since the hub appeared
    std::size_t watchers = 0;    // active
    std::size_t pending = 0;     // watchers whose callback is to run
    std::uint64_t turns = 0;     // how often it has looked outside
    /// How long one that becomes ready waits for its turn, behind all that are: measured in each
    /// turn of the hub in which anybody is. The last that was measured, and the longest.
    Duration lag{};
    Duration longest_lag{};
};
[[nodiscard]] HubFigures hub_figures();

/// Waits until nothing is left that could happen by itself: no greenlet is ready or will ever be,
/// no timer runs, no watcher that keeps the hub alive is active. Greenlets that wait for each other
/// are left waiting. Switches, unless it is so. May be called again, and the hub used afterwards.
/// Returns false once `deadline` has passed, which does not count as something left to happen.
/// Throws UsageError in any greenlet but main.
bool hub_join(Deadline deadline = Deadline::never());

enum class GreenletState : std::uint8_t {
    delayed,  // starts when its time has come
    ready,    // waits for its turn
    running,
    waiting,
};

/// What is known of a greenlet that was started and has not ended.
struct GreenletReport {
    std::uint64_t id = 0;
    std::string name;
    GreenletState state = GreenletState::running;
    std::vector<std::string> waits_on;       // the first of these that comes
    TimePoint since{};                       // when it began to wait
    std::uint64_t spawner = 0;               // the id of the one that made it, which may have ended
    const void* spawned_at = nullptr;        // a code address
    [[nodiscard]] std::string text() const;  // one line, the address by name
};
/// Main first, then the others in the order in which they were started.
[[nodiscard]] std::vector<GreenletReport> hub_greenlets();

/// The text of each of them; and one line per active watcher.
[[nodiscard]] std::string hub_report();
/// The texts as a tree: each greenlet below the one that made it, or at the top when that one has
/// ended.
[[nodiscard]] std::string hub_tree();

/// An error that ended a greenlet or a hub callback.
struct ErrorReport {
    // The greenlet with the types of its arguments, or the callback; empty without memory for it.
    std::string where;
    std::exception_ptr error;
    std::vector<const void*> thrown_at;      // code addresses, innermost first; empty where unknown
    const void* spawned_at = nullptr;        // of a greenlet
    [[nodiscard]] std::string text() const;  // several lines, addresses by name
};

/// Told of each such error, at once and where it happened; a wait in it throws BlockingInHub. The
/// default writes the text to stderr. An empty function restores the default. A handler may replace
/// itself. What a handler throws goes to stderr, together with what it was told.
using ErrorHandler = std::function<void(const ErrorReport& report)>;
void set_error_handler(ErrorHandler handler);

/// Which failures of greenlets of this hub are told to the error handler.
enum class ErrorPolicy : std::uint8_t {
    immediate,  // all, when they happen
    // Those that nobody asked for (get(), exception(), ...), when the last handle goes. A group
    // keeps one of the first to fail, until it has thrown the failure or goes itself.
    unobserved,
    off,  // none: only get() and exception() tell
};
void set_error_policy(ErrorPolicy policy);

/// "type: what()" of an error, for messages.
[[nodiscard]] std::string describe(const std::exception_ptr& error);

/// A way into a hub from other threads. Copies are cheap and may outlive the hub.
class HubRef {
 public:
    /// The hub of this thread.
    HubRef();
    /// Runs the function in the hub, soon, as a hub callback: it must not wait. From any thread, in
    /// the order in which they come. What it throws goes to the error handler.
    /// Returns false when the hub has gone, as it has in a forked child (one that a bare fork() of
    /// a thread with a hub made is ended by this); the function is then destroyed here.
    /// One that is accepted may still be dropped, in the hub's thread, when the hub goes before its
    /// next turn. Throws UsageError for an empty function, and std::bad_alloc; nothing was posted
    /// then. Takes a lock and memory, so not for signal handlers: AsyncWatcher::send() is.
    bool post(std::function<void()> function) const;

 private:
    std::shared_ptr<detail::Mailbox> mailbox_;
};

}  // namespace green
