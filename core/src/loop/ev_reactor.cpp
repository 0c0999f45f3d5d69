// libev with one edge-triggered epoll descriptor beside its own, which a single ev_io watches: a
// descriptor is registered once, for both directions, and stays so between waits. libev's own
// descriptor handling is level-triggered: it would spin on readiness that nobody waits for, and pay
// an epoll_ctl for each change of mind.
#include "loop/ev_reactor.hpp"

#include <array>
#include <bitset>
#include <cerrno>
#include <csignal>
#include <system_error>

#include <ev.h>

#include <green/sys.hpp>

#include "loop/ev_watches.hpp"
#include "loop/level_set.hpp"
#include "loop/quick_clock.hpp"
#include "os/process_signals.hpp"

namespace green::detail {
namespace {

class EvReactor final : public Reactor {
 public:
    EvReactor() : loop_{ev_loop_new(unsigned{EVFLAG_NOENV} | unsigned{EVBACKEND_EPOLL})} {
        if (loop_ == nullptr) throw std::system_error(errno, std::system_category(), "ev_loop_new");
        try {
            start();
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
        epoll_event event{};
        event.events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        event.data.u64 =
            static_cast<std::uint64_t>(generation) << 32 | static_cast<std::uint32_t>(fd);
        return sys::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event).error;
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
        const int set = levels_.descriptor();
        auto watch = levels_.add(fd, wanted, std::move(report));
        if (listen_to_levels(set)) {
            register_now();
            if (!ev_is_active(&levels_io_)) {
                ev_io_stop(loop_, &levels_io_);  // takes back what it would be told
                fail_refused();
            }
        }
        return watch;
    }
    std::unique_ptr<Watch> watch_wall_clock(std::chrono::system_clock::time_point at,
                                            Duration interval,
                                            std::function<void()> report) override {
        return ev_wall_clock(loop_, at, interval, std::move(report));
    }
    std::unique_ptr<Watch> watch_file(const std::string& path, Duration interval,
                                      FileSnapshots& seen, std::function<void()> report) override {
        return ev_file(loop_, path, interval, seen, std::move(report));
    }

    void wait(TimePoint until) noexcept override {
        const TimePoint start = until == TimePoint::min() ? until : now();
        if (until <= start || ev_pending_count(loop_) > 0) {
            ev_run(loop_, EVRUN_NOWAIT);
            return;
        }
        if (until == TimePoint::max()) {
            ev_run(loop_, EVRUN_ONCE);
            return;
        }
        ev_now_update(loop_);  // a relative timer starts from libev's cached clock
        ev_timer_set(&timer_, std::chrono::duration<double>(until - start).count(), 0.);
        ev_timer_start(loop_, &timer_);
        ev_run(loop_, EVRUN_ONCE);
        ev_timer_stop(loop_, &timer_);
    }

    void notify() noexcept override { ev_async_send(loop_, &notify_); }

    // Closing a copy of an epoll or inotify descriptor changes nothing of what it watches.
    void abandon() noexcept override {
        levels_.close();
        end();
    }

 private:
    void start() {
        epoll_ = static_cast<int>(sys::must(sys::epoll_create1(), "epoll_create1"));
        ev_io_init(&edges_, on_edges, epoll_, EV_READ);
        edges_.data = this;
        ev_io_start(loop_, &edges_);
        look_for_two_descriptors();
        ev_async_init(&notify_, on_async);
        notify_.data = this;
        ev_async_start(loop_, &notify_);
        ev_timer_init(&timer_, on_timer, 0., 0.);
        // What a new loop has to tell can only be a refusal: perhaps one of its own wake-up, by
        // which it would hear of no notification and no signal.
        register_now();
        if (ev_pending_count(loop_) == 0) return;
        look_for_two_descriptors();
        ev_async_stop(loop_, &notify_);  // libev closes its wake-up only where it is registered
        ev_async_start(loop_, &notify_);
        fail_refused();
    }
    void end() noexcept {
        ev_loop_destroy(loop_);
        if (epoll_ >= 0) (void)sys::close(epoll_);
    }

    // libev wakes itself through an eventfd or a pipe, and ends the process when it gets neither.
    void look_for_two_descriptors() const {
        const sys::Outcome one = sys::dup(epoll_);
        const sys::Outcome two = one.ok() ? sys::dup(epoll_) : one;
        if (one.ok()) (void)sys::close(one.as_int());
        (void)sys::close(static_cast<int>(sys::must(two, "a hub's descriptors")));
    }

    // libev registers a descriptor only when it runs. A watcher of one that the kernel refuses it
    // stops, and tells it so. Here nobody is told anything yet: that is left to the next wait().
    void register_now() noexcept {
        ev_set_invoke_pending_cb(loop_, [](struct ev_loop*) noexcept {});
        ev_run(loop_, EVRUN_NOWAIT);
        ev_set_invoke_pending_cb(loop_, ev_invoke_pending);
    }
    // libev does not keep the reason. It is fs.epoll.max_user_watches, or memory.
    [[noreturn]] static void fail_refused() {
        sys::fail(ENOSPC, "the kernel refuses libev to watch another descriptor");
    }

    static EvReactor& self(void* data) noexcept { return *static_cast<EvReactor*>(data); }

    static void on_timer(struct ev_loop*, ev_timer*, int) noexcept {}
    static void on_async(struct ev_loop*, ev_async* watcher, int) noexcept {
        EvReactor& reactor = self(watcher->data);
        reactor.report_signals();
        reactor.sink_->on_notify();
    }
    static void on_edges(struct ev_loop*, ev_io* watcher, int) noexcept {
        self(watcher->data).collect();
    }

    static void on_levels(struct ev_loop*, ev_io* watcher, int) noexcept {
        EvReactor& reactor = self(watcher->data);
        // Has the kernel refused it: again, from the next turn on.
        (void)reactor.listen_to_levels(reactor.levels_.descriptor());
        if (!reactor.levels_.collect()) return;
        // Stopped first: what libev watches must not be closed before.
        ev_io_stop(reactor.loop_, &reactor.levels_io_);
        (void)reactor.levels_.renew();
        (void)reactor.listen_to_levels(reactor.levels_.descriptor());
    }
    // Returns false when it does so already.
    bool listen_to_levels(int set) noexcept {
        if (ev_is_active(&levels_io_)) return false;
        ev_io_init(&levels_io_, on_levels, set, EV_READ);
        levels_io_.data = this;
        ev_io_start(loop_, &levels_io_);
        return true;
    }

    void report_signals() noexcept {
        if (signals_.none()) return;
        for (int signal = 1; signal < NSIG; ++signal) {
            if (signals_.test(static_cast<std::size_t>(signal)) && signal_has_come(signal))
                sink_->on_signal(signal);
        }
    }

    void collect() noexcept {
        // A full batch leaves the rest to the next turn: ready greenlets run in between.
        const sys::Outcome got =
            sys::epoll_wait(epoll_, batch_.data(), static_cast<int>(batch_.size()), 0);
        for (std::intptr_t i = 0; i < got.value; ++i) {
            const epoll_event& event = batch_[static_cast<std::size_t>(i)];
            sink_->on_ready(static_cast<int>(event.data.u64 & 0xffff'ffff),
                            static_cast<std::uint32_t>(event.data.u64 >> 32),
                            readiness_of(event.events));
        }
    }

    struct ev_loop* loop_;
    QuickClock clock_;
    int epoll_ = -1;
    ReactorSink* sink_ = nullptr;
    ev_io edges_{};
    LevelSet levels_;  // made by the first watcher
    ev_io levels_io_{};
    ev_async notify_{};
    ev_timer timer_{};
    std::bitset<NSIG> signals_;  // that it watches
    std::array<epoll_event, 256> batch_;
};

}  // namespace

std::unique_ptr<Reactor> make_ev_reactor() { return std::make_unique<EvReactor>(); }

}  // namespace green::detail
