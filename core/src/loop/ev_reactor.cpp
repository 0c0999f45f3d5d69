// libev with one edge-triggered epoll descriptor beside its own, which a single ev_io watches: a
// descriptor is registered once, for both directions, and stays so between waits. libev's own
// descriptor handling is level-triggered: it would spin on readiness that nobody waits for, and pay
// an epoll_ctl for each change of mind.
#include "loop/ev_reactor.hpp"

#include <array>
#include <cerrno>
#include <map>
#include <system_error>

#include <ev.h>

#include <green/sys.hpp>

#include "loop/quick_clock.hpp"

namespace green::detail {
namespace {

class EvReactor final : public Reactor {
 public:
    EvReactor() : loop_{ev_loop_new(unsigned{EVFLAG_NOENV} | unsigned{EVBACKEND_EPOLL})} {
        if (loop_ == nullptr) throw std::system_error(errno, std::system_category(), "ev_loop_new");
        const sys::Outcome epoll = sys::epoll_create1();
        if (!epoll.ok()) {
            ev_loop_destroy(loop_);
            sys::fail(epoll.error, "epoll_create1");
        }
        epoll_ = epoll.as_int();
        ev_io_init(&edges_, on_edges, epoll_, EV_READ);
        edges_.data = this;
        ev_io_start(loop_, &edges_);
        ev_async_init(&notify_, on_async);
        notify_.data = this;
        ev_async_start(loop_, &notify_);
        ev_timer_init(&timer_, on_timer, 0., 0.);
    }
    EvReactor(const EvReactor&) = delete;
    EvReactor& operator=(const EvReactor&) = delete;
    ~EvReactor() override {
        for (auto& [number, watcher] : signals_) ev_signal_stop(loop_, &watcher);
        ev_loop_destroy(loop_);
        (void)sys::close(epoll_);
    }

    void attach(ReactorSink& sink) noexcept override { sink_ = &sink; }

    TimePoint now() noexcept override { return std::chrono::steady_clock::now(); }
    TimePoint soon() noexcept override { return clock_.soon(); }

    int watch(int fd, std::uint32_t generation) noexcept override {
        epoll_event event{};
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        event.data.u64 =
            static_cast<std::uint64_t>(generation) << 32 | static_cast<std::uint32_t>(fd);
        return sys::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event).error;
    }
    void unwatch(int fd) noexcept override {
        (void)sys::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
    }

    void watch_signal(int signal) override {
        auto [place, fresh] = signals_.try_emplace(signal);
        if (!fresh) return;
        ev_signal_init(&place->second, on_signal_event, signal);
        place->second.data = this;
        ev_signal_start(loop_, &place->second);
    }
    void unwatch_signal(int signal) noexcept override {
        const auto place = signals_.find(signal);
        if (place == signals_.end()) return;
        ev_signal_stop(loop_, &place->second);
        signals_.erase(place);
    }

    void wait(TimePoint until) noexcept override {
        const TimePoint start = until == TimePoint::min() ? until : now();
        if (until <= start) {
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

 private:
    static EvReactor& self(void* data) noexcept { return *static_cast<EvReactor*>(data); }

    static void on_timer(struct ev_loop*, ev_timer*, int) noexcept {}
    static void on_async(struct ev_loop*, ev_async* watcher, int) noexcept {
        self(watcher->data).sink_->on_notify();
    }
    static void on_signal_event(struct ev_loop*, ev_signal* watcher, int) noexcept {
        self(watcher->data).sink_->on_signal(watcher->signum);
    }
    static void on_edges(struct ev_loop*, ev_io* watcher, int) noexcept {
        self(watcher->data).collect();
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
    ev_async notify_{};
    ev_timer timer_{};
    std::map<int, ev_signal> signals_;  // a map: a started watcher must not move
    std::array<epoll_event, 256> batch_;
};

}  // namespace

std::unique_ptr<Reactor> make_ev_reactor() { return std::make_unique<EvReactor>(); }

}  // namespace green::detail
