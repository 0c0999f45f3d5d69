#pragma once
// Watchers of what the operating system tells: descriptors, the wall clock, signals, children,
// files.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <sys/types.h>

#include <green/deadline.hpp>
#include <green/detail/signal_subscriber.hpp>
#include <green/process.hpp>
#include <green/watcher_base.hpp>

namespace green {

namespace detail {
struct FileSnapshots;
}

/// What may happen to a descriptor, as a set.
enum class IoEvents : std::uint8_t {
    none = 0,
    read = 1,
    write = 2,
    read_write = read | write,
    closed = 4,  // only reported
};
[[nodiscard]] constexpr IoEvents operator|(IoEvents a, IoEvents b) noexcept {
    return static_cast<IoEvents>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr IoEvents operator&(IoEvents a, IoEvents b) noexcept {
    return static_cast<IoEvents>(static_cast<unsigned>(a) & static_cast<unsigned>(b));
}

/// A descriptor that is ready, told again in each turn while it is so. It is borrowed, and several
/// watchers may watch one. The end and the failure of a connection are readable and writable.
/// Regular files cannot be watched.
///
/// It stops when its callback throws. When an Fd is closed that owns the descriptor, or
/// closing_fd() is called, it is told IoEvents::closed and stops; a close that the hub does not
/// hear of must come after stop().
class IoWatcher final : public WatcherOf<IoWatcher> {
 public:
    /// Throws std::system_error (EBADF) for a descriptor that is not open, and UsageError for
    /// events other than read and write.
    IoWatcher(int fd, IoEvents events);
    ~IoWatcher() override { stop(); }

    /// For the next start(). Throws like the constructor, and UsageError while it is active.
    void set(int fd, IoEvents events);
    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] IoEvents events() const noexcept { return events_; }
    /// What it was that happened last, for the callback.
    [[nodiscard]] IoEvents ready() const noexcept { return ready_; }
    [[nodiscard]] std::string describe() const override;

 private:
    friend class detail::WatcherBoard;
    void arm() override;
    void collect() override;
    void closing() noexcept;

    int fd_ = -1;
    IoEvents events_ = IoEvents::none;
    IoEvents reported_ = IoEvents::none;
    IoEvents ready_ = IoEvents::none;
};

/// Tells this thread's hub that the descriptor is about to be closed: who watches it or waits for
/// it learns so, and a new life of its number is not taken for the old one. For descriptors that no
/// Fd owns. Never switches.
void closing_fd(int fd) noexcept;

/// Waits for a descriptor that others own. Switches. Returns nothing (false) once `deadline` has
/// passed. Throws std::system_error: EBADF when it is not open, or is closed meanwhile.
[[nodiscard]] IoEvents wait_io(int fd, IoEvents events, Deadline deadline = Deadline::never());
bool wait_readable(int fd, Deadline deadline = Deadline::never());
bool wait_writable(int fd, Deadline deadline = Deadline::never());

using WallTime = std::chrono::system_clock::time_point;

/// Times of the wall clock; they move when it is set.
class PeriodicWatcher final : public WatcherOf<PeriodicWatcher> {
 public:
    using Next = std::function<WallTime(WallTime now)>;

    /// Once; at once when that time has passed.
    explicit PeriodicWatcher(WallTime at);
    /// Whenever the time since 1970 is a multiple of `interval` plus `offset`. Throws UsageError
    /// unless 0 <= offset < interval.
    explicit PeriodicWatcher(Duration interval, Duration offset = Duration::zero());
    /// Asks `next` for the next time, in start() or a wait that starts it, and before each
    /// callback. A time that is not in the future is a UsageError; from start() it is thrown, like
    /// what `next` itself throws, later it stops the watcher. Throws UsageError for an empty
    /// function.
    explicit PeriodicWatcher(Next next);
    ~PeriodicWatcher() override { stop(); }
    [[nodiscard]] std::string describe() const override { return "the wall clock"; }

 private:
    void prepare() override;
    void arm() override;
    void collect() override;
    void watch(WallTime at);
    [[nodiscard]] WallTime ask() const;

    WallTime at_{};  // what the function has said last, where there is one
    Duration interval_{};
    Next next_;
};

/// A signal. Several deliveries may come as one. A signal is watched by at most one hub of the
/// process.
class SignalWatcher final : public WatcherOf<SignalWatcher>, private detail::SignalSubscriber {
 public:
    /// Throws std::system_error (EINVAL) for a number that cannot be caught. start() throws it
    /// (EBUSY) when another hub watches that signal.
    explicit SignalWatcher(int signal);
    ~SignalWatcher() override { stop(); }
    [[nodiscard]] int signal() const noexcept { return signal_; }
    [[nodiscard]] std::string describe() const override;

 private:
    [[nodiscard]] bool wants(int signal) const noexcept override { return signal == signal_; }
    void on_signal(int) noexcept override { make_pending(); }
    void arm() override;
    void disarm() noexcept override;
    void abandon() noexcept override { SignalSubscriber::come_home(); }

    int signal_;
};

/// The end of a child process; reaps that one and no other. SIGCHLD is not touched.
class ChildWatcher final : public WatcherOf<ChildWatcher> {
 public:
    /// A child that something else has started. Throws std::system_error when there is no such
    /// process (ESRCH) or it is not a child of ours (ECHILD), UsageError for 0 and below.
    explicit ChildWatcher(pid_t pid);
    /// A child that stays with its Process, whose join() learns of the end too. Throws UsageError
    /// for an empty one.
    explicit ChildWatcher(const Process& process);
    ~ChildWatcher() override { stop(); }
    [[nodiscard]] pid_t pid() const noexcept;
    /// How it ended, once it has been reaped.
    [[nodiscard]] const std::optional<ExitStatus>& status() const noexcept;
    [[nodiscard]] std::string describe() const override;

 private:
    explicit ChildWatcher(std::shared_ptr<detail::Child> child) noexcept;
    void arm() override;
    void collect() override;
    [[nodiscard]] bool happened() override;

    std::shared_ptr<detail::Child> child_;
};

/// What is known of a file; nothing when it is missing.
using FileState = std::optional<struct stat>;

/// A path of which something changed: the file was written, replaced, made, removed. Changes
/// between two looks come as one; one that leaves the size, and all times in seconds, as they were
/// may be missed.
class StatWatcher final : public WatcherOf<StatWatcher> {
 public:
    /// Looks every `interval` where the kernel does not tell of changes by itself. Zero means a
    /// suitable interval, and one below a tenth of a second is raised to about that. Throws
    /// UsageError for a negative one, and for a path that is empty or has a NUL.
    explicit StatWatcher(std::string path, Duration interval = Duration::zero());
    ~StatWatcher() override;
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    /// As it was when it was last looked at, first in start().
    [[nodiscard]] FileState attr() const;
    /// As it was before its last change.
    [[nodiscard]] FileState prev() const;
    [[nodiscard]] std::string describe() const override;

 private:
    void arm() override;

    std::string path_;
    Duration interval_;
    std::unique_ptr<detail::FileSnapshots> seen_;
};

}  // namespace green
