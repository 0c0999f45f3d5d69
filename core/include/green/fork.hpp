#pragma once
// Children that go on with a function of ours. docs/explanation/processes.md says what is in such a
// child, and why another program (process.hpp) is the better child where both would do.

#include <concepts>
#include <functional>
#include <optional>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include <green/process.hpp>

namespace green {

struct ForkOptions {
    /// Those that the child keeps, with 0, 1 and 2 unless they are close-on-exec. Without a list
    /// it keeps all, save those of this thread's hub.
    std::optional<std::vector<int>> descriptors{};
    /// As Command's.
    bool new_session = true;
    std::optional<int> parent_death_signal{};
};

namespace detail {

/// What a child runs, in the memory and on the stack of the caller.
class ForkedMain {
 public:
    explicit ForkedMain(const std::type_info& function) noexcept : function_{&function} {}
    ForkedMain(const ForkedMain&) = delete;
    ForkedMain& operator=(const ForkedMain&) = delete;
    /// Gives the exit code.
    virtual int run() = 0;
    /// For reports.
    [[nodiscard]] const std::type_info& function() const noexcept { return *function_; }

 protected:
    ~ForkedMain() = default;

 private:
    const std::type_info* function_;
};

Process fork_process(ForkedMain& main, const ForkOptions& options);

}  // namespace detail

/// Starts a child that runs the function, as the main greenlet of a new hub, and then ends: with
/// what the function returns, or 0 for void; with 1, and the error on stderr, for one that throws
/// (GreenletExit is 0). Greenlets of the child that are left then end as at the end of any hub. It
/// always leaves by _exit: the log (within a second), its stdout and stderr are flushed, and no
/// destructor of a static object runs. exit() does the same, but runs the destructors of
/// thread_local objects of the calling thread first.
///
/// The child has a copy of our memory, so the function finds all that it refers to. But nothing of
/// ours goes on there: our greenlets count as ended, by GreenletExit, without having been unwound;
/// our timers, watchers, threads and the limits around this call are gone; and what stands in our
/// stdio buffers stays ours. Signals do what they do by default and none is blocked, except that
/// those of faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT) are still handled as
/// here and an ignored SIGPIPE stays ignored. The function runs on what is left of the caller's
/// stack.
///
/// Returns when the child is about to run the function; it does not without us. May be called from
/// any greenlet, from a hub callback and in any thread. Never switches: the thread waits, for as
/// long as it takes to copy the tables of our memory. Throws SpawnError, and UsageError in a
/// simulation.
template <std::invocable Function>
requires std::is_void_v<std::invoke_result_t<Function>> ||
    std::convertible_to < std::invoke_result_t<Function>,
int > Process fork_process(Function&& function, const ForkOptions& options = {}) {
    struct Main final : detail::ForkedMain {
        explicit Main(Function& its_function) noexcept
            : ForkedMain{typeid(Function)}, call{&its_function} {}
        int run() override {
            if constexpr (std::is_void_v<std::invoke_result_t<Function>>) {
                std::invoke(std::forward<Function>(*call));
                return 0;
            } else {
                return std::invoke(std::forward<Function>(*call));
            }
        }
        std::remove_reference_t<Function>* call;
    };
    Main main{function};
    return detail::fork_process(main, options);
}

}  // namespace green
