#include "loop/ev_watches.hpp"

#include <utility>

namespace green::detail {
namespace {

ev_tstamp seconds(Duration duration) noexcept {
    return std::chrono::duration<ev_tstamp>(duration).count();
}

class WallClock final : public Watch {
 public:
    WallClock(struct ev_loop* loop, ev_tstamp at, ev_tstamp interval, std::function<void()> report)
        : loop_{loop}, report_{std::move(report)} {
        ev_periodic_init(&it_, &WallClock::fired, at, interval, nullptr);
        it_.data = this;
        ev_now_update(loop_);
        ev_periodic_start(loop_, &it_);
    }
    WallClock(const WallClock&) = delete;
    WallClock& operator=(const WallClock&) = delete;
    ~WallClock() override { ev_periodic_stop(loop_, &it_); }

 private:
    static void fired(struct ev_loop*, ev_periodic* it, int) noexcept {
        static_cast<WallClock*>(it->data)->report_();
    }

    struct ev_loop* loop_;
    ev_periodic it_{};
    std::function<void()> report_;
};

class File final : public Watch {
 public:
    File(struct ev_loop* loop, const std::string& path, ev_tstamp interval, FileSnapshots& seen,
         std::function<void()> report)
        : loop_{loop}, path_{path}, seen_{&seen}, report_{std::move(report)} {
        ev_stat_init(&it_, &File::fired, path_.c_str(), interval);
        it_.data = this;
        ev_now_update(loop_);
        ev_stat_start(loop_, &it_);
        seen_->attr = seen_->prev = snapshot(it_.attr);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() override { ev_stat_stop(loop_, &it_); }

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

    struct ev_loop* loop_;
    std::string path_;
    FileSnapshots* seen_;
    ev_stat it_{};
    std::function<void()> report_;
};

}  // namespace

std::unique_ptr<Watch> ev_wall_clock(struct ev_loop* loop, std::chrono::system_clock::time_point at,
                                     Duration interval, std::function<void()> report) {
    return std::make_unique<WallClock>(loop, seconds(at.time_since_epoch()), seconds(interval),
                                       std::move(report));
}

std::unique_ptr<Watch> ev_file(struct ev_loop* loop, const std::string& path, Duration interval,
                               FileSnapshots& seen, std::function<void()> report) {
    return std::make_unique<File>(loop, path, seconds(interval), seen, std::move(report));
}

}  // namespace green::detail
