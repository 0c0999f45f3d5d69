#pragma once
// The hub of a thread, as far as users see it. It appears when somebody first waits; there is
// nothing to start.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>

namespace green {

namespace detail {
class Hub;
}

/// Figures of this thread's hub.
struct HubFigures {
    std::size_t greenlets = 0;   // started and not ended
    std::size_t stacks = 0;      // in use
    std::size_t timers = 0;      // pending
    std::size_t outside = 0;     // waits that the world can end
    std::uint64_t switches = 0;  // since the hub appeared
};
[[nodiscard]] HubFigures hub_figures();

/// One line per greenlet: name, state, what it waits on, since when, where it was spawned.
[[nodiscard]] std::string hub_report();

/// Told of each error that ends a greenlet or a hub callback, at once: who failed, and with what.
/// Runs where the error happened; must not wait. The default writes it to stderr. An empty function
/// restores the default.
using ErrorHandler = std::function<void(const std::string& where, std::exception_ptr error)>;
void set_error_handler(ErrorHandler handler);

/// "type: what()" of an error, for messages.
[[nodiscard]] std::string describe(const std::exception_ptr& error);

/// A way into a hub from other threads.
class HubRef {
 public:
    /// The hub of this thread.
    HubRef();
    /// Runs the function in the hub, soon, as a hub callback: it must not wait. From any thread,
    /// while the hub lives. What it throws goes to the error handler.
    void post(std::function<void()> function) const;

 private:
    detail::Hub* hub_;
};

}  // namespace green
