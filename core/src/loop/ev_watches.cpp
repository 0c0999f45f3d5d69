#include "loop/ev_watches.hpp"

#include <cerrno>
#include <system_error>
#include <utility>

#include <green/sys.hpp>

namespace green::detail {
namespace {

ev_tstamp seconds(Duration duration) noexcept {
    return std::chrono::duration<ev_tstamp>(duration).count();
}

}  // namespace

/// Counts among those for which the loop is run.
class EvWatches::Kept : public Watch {
 public:
    Kept(EvWatches& all, int others) : loop_{all.loop(others)}, active_{&++all.active_} {
        ev_now_update(loop_);
    }
    ~Kept() override {
        if (is_at_home()) --*active_;
    }

 protected:
    [[nodiscard]] struct ev_loop* loop() const noexcept { return loop_; }

 private:
    struct ev_loop* loop_;
    int* active_;
};

class EvWatches::WallClock final : public Kept {
 public:
    WallClock(EvWatches& all, int others, ev_tstamp at, ev_tstamp interval,
              std::function<void()> report)
        : Kept{all, others}, report_{std::move(report)} {
        ev_periodic_init(&it_, &WallClock::fired, at, interval, nullptr);
        it_.data = this;
        ev_periodic_start(loop(), &it_);
    }
    ~WallClock() override {
        if (is_at_home()) ev_periodic_stop(loop(), &it_);
    }

 private:
    static void fired(struct ev_loop*, ev_periodic* it, int) noexcept {
        static_cast<WallClock*>(it->data)->report_();
    }

    ev_periodic it_{};
    std::function<void()> report_;
};

class EvWatches::File final : public Kept {
 public:
    File(EvWatches& all, int others, const std::string& path, ev_tstamp interval,
         FileSnapshots& seen, std::function<void()> report)
        : Kept{all, others}, path_{path}, seen_{&seen}, report_{std::move(report)} {
        ev_stat_init(&it_, &File::fired, path_.c_str(), interval);
        it_.data = this;
        ev_stat_start(loop(), &it_);
        seen_->attr = seen_->prev = snapshot(it_.attr);
    }
    ~File() override {
        if (is_at_home()) ev_stat_stop(loop(), &it_);
    }

 private:
    static std::optional<struct stat> snapshot(const ev_statdata& data) noexcept {
        if (data.st_nlink == 0) return std::nullopt;  // libev's word for: missing
        return data;
    }
    static void fired(struct ev_loop*, ev_stat* it, int) noexcept {
        File& self = *static_cast<File*>(it->data);
        self.seen_->attr = snapshot(it->attr);
        self.seen_->prev = snapshot(it->prev);
        self.report_();
    }

    std::string path_;
    FileSnapshots* seen_;
    ev_stat it_{};
    std::function<void()> report_;
};

std::unique_ptr<Watch> EvWatches::wall_clock(int others, std::chrono::system_clock::time_point at,
                                             Duration interval, std::function<void()> report) {
    return std::make_unique<WallClock>(*this, others, seconds(at.time_since_epoch()),
                                       seconds(interval), std::move(report));
}

std::unique_ptr<Watch> EvWatches::file(int others, const std::string& path, Duration interval,
                                       FileSnapshots& seen, std::function<void()> report) {
    return std::make_unique<File>(*this, others, path, seconds(interval), seen, std::move(report));
}

struct ev_loop* EvWatches::loop(int others) {
    if (loop_ != nullptr) return loop_;
    loop_ = ev_loop_new(unsigned{EVFLAG_NOENV} | unsigned{EVBACKEND_EPOLL});
    if (loop_ == nullptr) throw std::system_error(errno, std::system_category(), "ev_loop_new");
    ev_io_init(
        &others_, [](struct ev_loop*, ev_io*, int) noexcept {}, others, EV_READ);
    ev_io_start(loop_, &others_);
    ev_timer_init(
        &timer_, [](struct ev_loop*, ev_timer*, int) noexcept {}, 0., 0.);
    register_now();
    // What a new loop has to tell can only be a refusal. libev does not keep the reason: it is
    // fs.epoll.max_user_watches, or memory.
    if (ev_pending_count(loop_) > 0 && !ev_is_active(&others_)) {
        end();
        sys::fail(ENOSPC, "the kernel refuses libev to watch another descriptor");
    }
    return loop_;
}

// libev registers a descriptor only when it runs. A watcher of one that the kernel refuses it
// stops, and tells it so.
void EvWatches::register_now() noexcept {
    ev_set_invoke_pending_cb(loop_, [](struct ev_loop*) noexcept {});
    ev_run(loop_, EVRUN_NOWAIT);
    ev_set_invoke_pending_cb(loop_, ev_invoke_pending);
}

void EvWatches::wait(TimePoint until) noexcept {
    const TimePoint now = std::chrono::steady_clock::now();
    if (until <= now || ev_pending_count(loop_) > 0) {
        ev_run(loop_, EVRUN_NOWAIT);
        return;
    }
    if (until == TimePoint::max()) {
        ev_run(loop_, EVRUN_ONCE);
        return;
    }
    ev_now_update(loop_);  // a relative timer starts from libev's cached clock
    ev_timer_set(&timer_, std::chrono::duration<double>(until - now).count(), 0.);
    ev_timer_start(loop_, &timer_);
    ev_run(loop_, EVRUN_ONCE);
    ev_timer_stop(loop_, &timer_);
}

// Closing a copy of an epoll or inotify descriptor changes nothing of what it watches.
void EvWatches::end() noexcept {
    if (loop_ != nullptr) ev_loop_destroy(std::exchange(loop_, nullptr));
}

}  // namespace green::detail
