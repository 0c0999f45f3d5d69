#pragma once
// Child processes. Each is held by its pidfd: a signal can never hit a stranger who got the number
// later, the end is a descriptor that becomes readable, and nobody else's child is ever reaped.
// SIGCHLD is not touched.
//
// A child is another program: it is started without copying this process, so that a grown parent
// starts children as fast as a small one, and nothing of ours runs twice. For a child that goes on
// with a function of ours see fork.hpp.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <sys/resource.h>
#include <sys/types.h>
#include <system_error>
#include <utility>
#include <vector>

#include <green/deadline.hpp>
#include <green/watcher_base.hpp>

namespace green {

namespace detail {
class Child;
}

/// What to run, and in which surroundings. The child begins with every signal at its default and
/// none blocked.
struct Command {
    /// The child finds our descriptor `ours` under the number `theirs`.
    struct Handover {
        int ours;
        int theirs;
    };
    struct Limit {
        int resource;  // RLIMIT_...
        rlimit value;
    };

    std::vector<std::string> argv;
    /// The file to run, else argv[0]. Without a slash it is looked up in the PATH of the child's
    /// environment; with one it is taken as it stands, relative to `cwd`. A text without "#!" is
    /// refused (ENOEXEC), not given to a shell.
    std::string program{};
    /// "NAME=value" each; ours when there is none.
    std::optional<std::vector<std::string>> environment{};
    std::string cwd{};  // ours when empty
    /// 0, 1 and 2 are inherited unless they are listed; everything above that is not listed is
    /// closed. Numbers may overlap in any way: {3, 4}, {4, 3} swaps. What is listed for 0, 1 or 2
    /// is made blocking, for us too, because plain programs expect it.
    std::vector<Handover> descriptors{};
    std::vector<Limit> limits{};
    bool null_stdin = false;
    /// Leads a session and a process group of its own: no terminal, and signal_group() reaches it
    /// with all that it started.
    bool new_session = true;
    /// Sent to the child when the *thread* that started it ends.
    std::optional<int> parent_death_signal{};
    std::optional<mode_t> umask{};
};

/// How far a start came.
enum class SpawnStage : std::uint8_t { clone, session, cwd, descriptors, limits, exec };
[[nodiscard]] const char* name(SpawnStage stage) noexcept;

/// A child could not be started; nothing of it is left. what(): "exec of ./web: No such file...".
class SpawnError final : public std::system_error {
 public:
    SpawnError(SpawnStage stage, int error, const std::string& what)
        : std::system_error{error, std::system_category(), what}, stage_{stage} {}
    [[nodiscard]] SpawnStage stage() const noexcept { return stage_; }

 private:
    SpawnStage stage_;
};

/// How a process ended.
struct ExitStatus {
    enum class Kind : std::uint8_t {
        exited,
        signaled,
        lost,  // somebody else reaped it: SIGCHLD is ignored here, or foreign code waits for all
    };
    Kind kind = Kind::exited;
    int code = 0;  // what it returned, or the signal; 255 when it is lost
    bool core = false;

    [[nodiscard]] bool success() const noexcept { return kind == Kind::exited && code == 0; }
    /// "exited with 3", "killed by SIGKILL", "killed by SIGSEGV (core dumped)".
    [[nodiscard]] std::string text() const;
    friend bool operator==(const ExitStatus&, const ExitStatus&) noexcept = default;
};

/// Owns a running or ended child. Destroying a running one kills it; it is reaped in the
/// background. Belongs to one thread. An empty one (moved from, detached) can only be assigned to
/// or destroyed; every other call throws UsageError.
class Process {
 public:
    class Ready;

    Process() noexcept = default;
    Process(Process&&) noexcept = default;
    Process& operator=(Process&& other) noexcept;
    ~Process();

    /// Runs the command. Returns when the child has become the program, or throws SpawnError when
    /// it has not. Throws UsageError for a command that makes no sense. Never switches: the thread
    /// waits for the exec, about half a millisecond.
    static Process start(const Command& command);

    [[nodiscard]] bool empty() const noexcept { return child_ == nullptr; }
    [[nodiscard]] pid_t pid() const;
    /// Readable once it has ended. Lent.
    [[nodiscard]] int pidfd() const;

    /// Waits until it has ended, and reaps it. Switches, unless it has. Any number may wait.
    /// Returns nothing once `deadline` has passed.
    std::optional<ExitStatus> join(Deadline deadline = Deadline::never());
    /// How it ended, if it has; reaps it.
    std::optional<ExitStatus> poll();
    /// Waits until it has ended, but leaves it unreaped: signal_group() still reaches what it has
    /// left behind. Switches, unless it has. Returns false once `deadline` has passed.
    bool await_end(Deadline deadline = Deadline::never());

    /// Sends a signal. Returns false, and does nothing, when it has ended.
    bool signal(int signal);
    /// Sends a signal to all of its process group, also when it has ended itself, until it is
    /// reaped. Returns false when nobody is there. Throws UsageError without `new_session`.
    bool signal_group(int signal);

    /// Lets it run on without us; it is reaped in the background while this hub lives.
    void detach();

 private:
    explicit Process(std::shared_ptr<detail::Child> child) noexcept : child_{std::move(child)} {}
    friend class ChildWatcher;
    friend class detail::Child;
    void abandon() noexcept;
    [[nodiscard]] detail::Child& child() const;

    std::shared_ptr<detail::Child> child_;  // shared with those who wait
};

namespace detail {

/// The end of a child, which stays unreaped.
class EndWatcher final : public WatcherOf<EndWatcher> {
 public:
    explicit EndWatcher(std::shared_ptr<Child> child) noexcept
        : WatcherOf{WatcherKind::child, true}, child_{std::move(child)} {}
    ~EndWatcher() override { stop(); }
    [[nodiscard]] std::string describe() const override;

 private:
    void arm() override;
    void collect() override;
    [[nodiscard]] bool happened() override;

    std::shared_ptr<Child> child_;
};

/// Made before, and gone after, the base that refers to it.
struct EndWatcherHolder {
    EndWatcher watcher;
};

}  // namespace detail

/// Waits until it has ended, and leaves it unreaped, as await_end() does. Any number may wait.
class Process::Ready final : private detail::EndWatcherHolder, public Watcher::Ready {
 public:
    /// Throws UsageError for an empty one.
    explicit Ready(const Process& process)
        : EndWatcherHolder{detail::EndWatcher{((void)process.child(), process.child_)}},
          Watcher::Ready{watcher} {}
};

}  // namespace green
