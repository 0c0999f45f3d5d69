// One edge-triggered epoll set, at which the hub waits: a descriptor is registered once, for both
// directions, and stays so between waits. libev's own descriptor handling is level-triggered: it
// would spin on readiness that nobody waits for, and pay an epoll_ctl for each change of mind. And
// a set within libev's set costs a second call for each wait, and what it tells goes without the
// kernel's word that the waker is about to sleep: a reader then takes the processor from its writer
// at each message. So libev is run only while there is something that it alone can watch.
#include "loop/ev_reactor.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
#include <utility>

#include <green/sys.hpp>

#include "loop/ev_watches.hpp"
#include "loop/level_set.hpp"
#include "loop/quick_clock.hpp"
#include "os/process_signals.hpp"

namespace green::detail {
namespace {

// In place of a descriptor's number.
constexpr std::uint32_t bell_mark = ~std::uint32_t{0};
constexpr std::uint32_t levels_mark = bell_mark - 1;

/// As epoll counts it: whole milliseconds, never too few; -1 for ever.
int milliseconds(Duration time) noexcept {
    constexpr Duration most = std::chrono::hours{24};
    return static_cast<int>(
        std::chrono::ceil<std::chrono::milliseconds>(std::min(time, most)).count());
}

class EvReactor final : public Reactor {
 public:
    EvReactor() : epoll_{static_cast<int>(sys::must(sys::epoll_create1(), "epoll_create1"))} {
        try {
            bell_ = static_cast<int>(sys::must(sys::eventfd(0), "a hub's bell"));
            (void)sys::must(listen(bell_, bell_mark, EPOLLIN | EPOLLET), "a hub's bell");
        } catch (...) {
            end();
            throw;
        }
    }
    EvReactor(const EvReactor&) = delete;
    EvReactor& operator=(const EvReactor&) = delete;
    ~EvReactor() override {
        for (int signal = 1; signal < NSIG; ++signal) unwatch_signal(signal);
        end();
    }

    void attach(ReactorSink& sink) noexcept override { sink_ = &sink; }

    TimePoint now() noexcept override { return std::chrono::steady_clock::now(); }
    TimePoint soon() noexcept override { return clock_.soon(); }

    int watch(int fd, std::uint32_t generation) noexcept override {
        return listen(fd, std::uint64_t{generation} << 32 | static_cast<std::uint32_t>(fd),
                      EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET)
            .error;
    }
    void unwatch(int fd) noexcept override {
        (void)sys::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
    }

    void watch_signal(int signal) override {
        if (signals_.test(static_cast<std::size_t>(signal))) return;
        take_signal(signal, *this);
        signals_.set(static_cast<std::size_t>(signal));
    }
    void unwatch_signal(int signal) noexcept override {
        if (!signals_.test(static_cast<std::size_t>(signal))) return;
        give_signal_back(signal);
        signals_.reset(static_cast<std::size_t>(signal));
    }

    std::unique_ptr<Watch> watch_level(int fd, Readiness wanted,
                                       std::function<void(Readiness)> report) override {
        (void)levels_.descriptor();
        auto watch = levels_.add(fd, wanted, std::move(report));
        (void)sys::must(listen_to_levels(), "watching descriptors");
        return watch;
    }
    std::unique_ptr<Watch> watch_wall_clock(std::chrono::system_clock::time_point at,
                                            Duration interval,
                                            std::function<void()> report) override {
        return libev_.wall_clock(epoll_, at, interval, std::move(report));
    }
    std::unique_ptr<Watch> watch_file(const std::string& path, Duration interval,
                                      FileSnapshots& seen, std::function<void()> report) override {
        return libev_.file(epoll_, path, interval, seen, std::move(report));
    }

    void wait(TimePoint until) noexcept override {
        if (levels_are_unheard_ && !levels_.empty() && !listen_to_levels().ok()) [[unlikely]] {
            collect_levels();
            until = std::min(until, now() + next_try);
        }
        if (libev_.active()) {
            libev_.wait(until);
            until = TimePoint::min();
        }
        collect(until == TimePoint::min()   ? 0
                : until == TimePoint::max() ? -1
                                            : milliseconds(std::max(until - now(), Duration{})));
    }

    // From a signal's handler, too. Nobody reads it: each write is an edge. In a forked child the
    // bell is its parent's, or its number is somebody else's.
    void notify() noexcept override {
        if (!home_.is_here()) return;
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = ::write(bell_, &one, sizeof one);
    }

    // Closing a copy of an epoll descriptor changes nothing of what it watches.
    void abandon() noexcept override {
        levels_.close();
        libev_.end();
        end();
    }

 private:
    void end() noexcept {
        for (int* fd : {&epoll_, &bell_}) {
            if (*fd >= 0) (void)sys::close(std::exchange(*fd, -1));
        }
    }

    sys::Outcome listen(int fd, std::uint64_t mark, std::uint32_t events) noexcept {
        epoll_event event{};
        event.events = events;
        event.data.u64 = mark;
        return sys::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    }

    sys::Outcome listen_to_levels() noexcept {
        if (!levels_are_unheard_) return {};
        const sys::Outcome listens = listen(levels_.descriptor(), levels_mark, EPOLLIN);
        levels_are_unheard_ = !listens.ok();
        return listens;
    }
    void collect_levels() noexcept {
        if (!levels_.collect()) return;
        // A set that is made anew is another descriptor; has the kernel refused it: again, from the
        // next turn on. The old one is not forgotten when it is closed, if a child has a copy.
        unwatch(levels_.descriptor());
        (void)levels_.renew();
        levels_are_unheard_ = true;
        (void)listen_to_levels();
    }

    // Somebody has closed a descriptor that was not his. To go on would be a loop without end.
    [[noreturn]] static void fail_without_epoll(int error) noexcept {
        std::fprintf(stderr, "greensup: a hub cannot wait any more: its epoll descriptor: %s\n",
                     std::strerror(error));
        std::abort();
    }

    void report_signals() noexcept {
        if (signals_.none()) return;
        for (int signal = 1; signal < NSIG; ++signal) {
            if (signals_.test(static_cast<std::size_t>(signal)) && signal_has_come(signal))
                sink_->on_signal(signal);
        }
    }

    void collect(int milliseconds) noexcept {
        // A full batch leaves the rest to the next turn: ready greenlets run in between.
        const sys::Outcome got =
            sys::epoll_wait(epoll_, batch_.data(), static_cast<int>(batch_.size()), milliseconds);
        if (got.error == EBADF || got.error == EINVAL) [[unlikely]]
            fail_without_epoll(got.error);
        for (std::intptr_t i = 0; i < got.value; ++i) {
            const epoll_event& event = batch_[static_cast<std::size_t>(i)];
            const auto mark = static_cast<std::uint32_t>(event.data.u64);
            if (mark == bell_mark) {
                report_signals();
                sink_->on_notify();
            } else if (mark == levels_mark) {
                collect_levels();
            } else {
                sink_->on_ready(static_cast<int>(mark),
                                static_cast<std::uint32_t>(event.data.u64 >> 32),
                                readiness_of(event.events));
            }
        }
    }

    static constexpr std::chrono::milliseconds next_try{10};

    const Home home_;
    QuickClock clock_;
    int epoll_ = -1;
    int bell_ = -1;
    ReactorSink* sink_ = nullptr;
    LevelSet levels_;  // made by the first watcher
    bool levels_are_unheard_ = true;
    EvWatches libev_;
    std::bitset<NSIG> signals_;  // that it watches
    std::array<epoll_event, 256> batch_;
};

}  // namespace

std::unique_ptr<Reactor> make_ev_reactor() { return std::make_unique<EvReactor>(); }

}  // namespace green::detail
