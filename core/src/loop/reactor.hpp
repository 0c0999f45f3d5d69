#pragma once
// What a hub knows of the outside world, and all it knows. Two implementations: libev's, and the
// virtual one of simulations.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <green/deadline.hpp>
#include <green/detail/home.hpp>

namespace green::detail {

/// What happened to a descriptor since it was last reported. A hang-up of both sides or an error is
/// all three.
struct Readiness {
    bool readable = false;
    bool writable = false;
    bool hung_up = false;  // the peer will send no more
    bool urgent = false;   // TCP's urgent data is there, at which a read stops
};

/// What the bits of epoll (and poll) say.
[[nodiscard]] constexpr Readiness readiness_of(std::uint32_t events) noexcept {
    const bool broken = (events & (EPOLLHUP | EPOLLERR)) != 0;
    return {broken || (events & (EPOLLIN | EPOLLRDHUP)) != 0, broken || (events & EPOLLOUT) != 0,
            broken || (events & EPOLLRDHUP) != 0, (events & EPOLLPRI) != 0};
}

/// Who is told. Called from inside wait(), on the hub's stack; must neither switch nor throw.
class ReactorSink {
 public:
    virtual void on_ready(int fd, std::uint32_t generation, Readiness readiness) noexcept = 0;
    virtual void on_signal(int signal) noexcept = 0;
    virtual void on_notify() noexcept = 0;

 protected:
    ~ReactorSink() = default;
};

/// Something that is watched for one watcher until this is destroyed, which must not happen in its
/// own report. To destroy it in a forked child changes nothing: what it is known to is the
/// parent's, also in the kernel, and another thread of the parent's may have been changing it.
class Watch {
 public:
    Watch() noexcept = default;
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    virtual ~Watch() = default;

 protected:
    [[nodiscard]] bool is_at_home() const noexcept { return home_.is_here(); }

 private:
    const Home home_;
};

/// What is known of a file; nothing of one that is missing.
struct FileSnapshots {
    std::optional<struct stat> attr;
    std::optional<struct stat> prev;  // before the last change
};

class Reactor {
 public:
    virtual ~Reactor() = default;

    virtual void attach(ReactorSink& sink) noexcept = 0;

    [[nodiscard]] virtual TimePoint now() noexcept = 0;
    /// now(), or up to 10 us later, where that is cheaper.
    [[nodiscard]] virtual TimePoint soon() noexcept { return now(); }

    /// Whether it can watch such a descriptor at all: one of the real world is none of a simulated
    /// one's.
    [[nodiscard]] virtual bool knows(int /*fd*/) const noexcept { return true; }
    /// Reports from now on each *change* of the descriptor's readiness (edges), the first report
    /// being its present state; the generation comes back with each report. Returns an errno: EPERM
    /// means always ready (a file).
    [[nodiscard]] virtual int watch(int fd, std::uint32_t generation) noexcept = 0;
    /// Must come before the descriptor is closed.
    virtual void unwatch(int fd) noexcept = 0;

    /// Throws std::system_error.
    virtual void watch_signal(int signal) = 0;
    virtual void unwatch_signal(int signal) noexcept = 0;

    // For watchers. Reports come from inside wait(), on the hub's stack; they must neither switch
    // nor throw. A reactor whose world has no such thing throws UsageError.

    /// Reports in each wait() whether the descriptor is ready in the directions asked for, while
    /// it is. Several may watch one descriptor. Throws std::system_error.
    [[nodiscard]] virtual std::unique_ptr<Watch> watch_level(int fd, Readiness wanted,
                                                             std::function<void(Readiness)> report);
    /// Reports when the wall clock shows `at`; with an interval whenever it shows a multiple of
    /// that more or less. Throws std::bad_alloc.
    [[nodiscard]] virtual std::unique_ptr<Watch> watch_wall_clock(
        std::chrono::system_clock::time_point at, Duration interval, std::function<void()> report);
    /// Keeps `seen`, which must outlive it, as the file is, from now on, and reports changes.
    [[nodiscard]] virtual std::unique_ptr<Watch> watch_file(const std::string& path,
                                                            Duration interval, FileSnapshots& seen,
                                                            std::function<void()> report);

    /// Waits for something to report, at the most until `until`, reports it and returns. A time
    /// that has passed means: look, do not wait.
    virtual void wait(TimePoint until) noexcept = 0;

    /// Whether anything can still come of waiting, time aside: in the real world, always.
    [[nodiscard]] virtual bool may_report() noexcept { return true; }

    /// Ends a present or the next wait() with on_notify(). From any thread, and the only such call.
    /// Does nothing in a forked child.
    virtual void notify() noexcept = 0;

    /// In a forked child: closes what the copy has of its parent's, here alone. Nothing else is
    /// called afterwards.
    virtual void abandon() noexcept {}
};

}  // namespace green::detail
