// L1  The log is touched under its lock only, and under it nobody waits: writes are such that they
//     do not.
// L2  A line is written as soon as it is made, if nothing waits before it and there is room: what
//     a program said before it died has been said.
// L3  While something waits, one greenlet of the hub that found no room stands at the descriptor.
//     A thread without a hub leaves its lines to that one, or to the next line, or to flush(). So
//     does a simulation: what it does must not depend on a reader in the real world.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <green/context.hpp>
#include <green/detail/tenure.hpp>
#include <green/fd.hpp>
#include <green/greenlet.hpp>
#include <green/log.hpp>
#include <green/sys.hpp>

#include "os/log_line.hpp"
#include "os/log_sink.hpp"
#include "os/process_locks.hpp"
#include "sched/hub.hpp"

namespace green::log {
namespace {

using green::detail::process_locks;
using std::chrono::steady_clock;

std::atomic<Level> lowest{Level::info};

class Log {
 public:
    Log();

    void add(Level level, std::string_view event, Fields fields) noexcept;
    /// Writes what can be written now. Returns whether nothing waits any more.
    bool drain() noexcept;

    Format format = Format::logfmt;
    detail::OwnFields own;
    detail::Sink sink;
    int target = STDERR_FILENO;
    green::detail::Tenure lent;  // since when that number means it
    std::size_t capacity = std::size_t{1024} * 1024;
    std::uint64_t drainer = 0;  // the descriptor's, at which a greenlet stands; 0: none
    std::uint64_t epoch = 1;    // counts descriptors

    void forget() noexcept;
    [[nodiscard]] Figures counted() const noexcept { return {rest().size(), dropped_}; }

 private:
    void append(Level level, std::string_view event, Fields fields);
    void lose(std::size_t lines) noexcept;
    [[nodiscard]] std::string_view rest() const noexcept {
        return std::string_view{text_}.substr(written_);
    }

    std::string text_;  // lines that wait, and before them what has been written of them
    std::size_t written_ = 0;
    std::uint64_t dropped_ = 0;
    std::uint64_t untold_ = 0;  // of these, those that no line has mentioned yet
};

// Never destroyed: destructors of other static objects may log.
Log& the_log() {
    static Log& log = *new Log;
    return log;
}
// A child that is forked while another thread makes it would wait for that for ever.
[[maybe_unused]] const Log& made_when_the_program_starts = the_log();

Log::Log() {
    (void)std::atexit([] { (void)flush(std::chrono::seconds(1)); });
}

void Log::forget() noexcept {
    text_.clear();
    written_ = 0;
    untold_ = 0;
    drainer = 0;
}

void Log::lose(std::size_t lines) noexcept {
    untold_ += lines;
    dropped_ += lines;
}

void Log::append(Level level, std::string_view event, Fields fields) {
    detail::append_line(text_, {format, std::chrono::system_clock::now(), level, event}, own,
                        fields);
}

void Log::add(Level level, std::string_view event, Fields fields) noexcept {
    const std::size_t before = text_.size();
    try {
        if (untold_ > 0)
            append(Level::warning, "log.dropped", std::initializer_list<Field>{{"lines", untold_}});
        append(level, event, fields);
        if (rest().size() <= capacity) {
            untold_ = 0;
            return;
        }
    } catch (...) {  // no memory: it is lost like one for which there is no room
    }
    text_.resize(before);
    lose(1);
}

bool Log::drain() noexcept {
    if (!sink.is_open()) sink.open(target);
    while (!rest().empty()) {
        const sys::Outcome outcome = sink.write(rest());
        if (outcome.would_block()) {
            if (written_ > text_.size() / 2) text_.erase(0, std::exchange(written_, 0));
            return false;
        }
        if (!outcome.ok()) {  // nobody will ever read it: the reader has gone, the disk is full
            const std::string_view lost = rest();
            lose(static_cast<std::size_t>(std::count(lost.begin(), lost.end(), '\n')));
            break;
        }
        written_ += outcome.as_size();
    }
    const bool all_written = rest().empty();
    written_ = 0;
    text_.clear();
    if (!all_written || untold_ == 0) return true;
    const std::uint64_t lines = std::exchange(untold_, 0);
    try {
        append(Level::warning, "log.dropped", std::initializer_list<Field>{{"lines", lines}});
    } catch (...) {
        text_.clear();
        untold_ = lines;
        return true;
    }
    return drain();
}

// --- who waits for room ---

/// The one place at a descriptor. Free again when its owner goes, whether or not it ever ran.
class Seat {
 public:
    explicit Seat(std::uint64_t epoch) noexcept : epoch_{epoch} {}
    Seat(Seat&& other) noexcept : epoch_{std::exchange(other.epoch_, 0)} {}
    Seat& operator=(Seat&&) = delete;
    ~Seat() {
        if (epoch_ == 0) return;
        Log& log = the_log();
        const std::lock_guard lock{process_locks.log};
        if (log.drainer == epoch_) log.drainer = 0;
    }
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }

 private:
    std::uint64_t epoch_;
};

void drain_when_there_is_room(const Seat& seat) {
    using green::detail::Direction;
    Log& log = the_log();
    Fd door;  // a number of our own: the sink may change while we wait
    {
        const std::lock_guard lock{process_locks.log};
        const sys::Outcome copy = sys::dup(log.sink.number());
        if (!copy.ok()) return;
        door = Fd{copy.as_int()};
    }
    try {
        for (green::detail::FdOperation look{door, Direction::write, Deadline::never(),
                                             green::detail::Reach::background};
             look.go();) {
            {
                const std::lock_guard lock{process_locks.log};
                if (log.epoch != seat.epoch() || log.drain()) return;
            }
            look.blocked();
        }
    } catch (const std::system_error&) {  // who cannot wait leaves it to the next line
    }
}

void start_drainer(Seat seat) noexcept {
    try {
        const Context::Scope nobodys{Context{}};  // it works for all, not until a caller's deadline
        auto drainer = deferred(&drain_when_there_is_room, std::move(seat));
        drainer.set_name("log");
        drainer.start();
    } catch (...) {  // no memory for a greenlet: the next line tries again
    }
}

/// Writes what can be written, and sees to the rest. Takes over the lock.
void write_out(Log& log, std::unique_lock<std::mutex> lock) noexcept {
    if (log.drain() || log.drainer == log.epoch) return;
    auto* const hub = green::detail::Hub::current_or_null();
    if (hub == nullptr || !hub->reactor().knows(log.sink.number())) return;
    log.drainer = log.epoch;
    Seat seat{log.epoch};
    lock.unlock();
    start_drainer(std::move(seat));
}

}  // namespace

void detail::forget_parents_lines() noexcept { the_log().forget(); }
void detail::check_parents_target() noexcept {
    Log& log = the_log();
    struct stat ours {};
    struct stat lent {};
    if (!log.sink.is_open() || !sys::fstat(log.sink.number(), ours).ok()) return;
    const bool is_same = sys::fstat(log.target, lent).ok() && lent.st_dev == ours.st_dev &&
                         lent.st_ino == ours.st_ino;
    if (!is_same) log.target = STDERR_FILENO;
}
void detail::forget_parents_sink() noexcept {
    Log& log = the_log();
    log.sink.lose();
    if (!log.lent.holds(log.target)) log.target = STDERR_FILENO;
}

// --- what users call ---

void write(Level level, std::string_view event, Fields fields) noexcept {
    if (level < lowest.load(std::memory_order_relaxed) || level == Level::off) return;
    Log& log = the_log();
    std::unique_lock lock{process_locks.log};
    log.add(level, event, fields);
    write_out(log, std::move(lock));
}

void set_level(Level level) noexcept { lowest.store(level, std::memory_order_relaxed); }
Level level() noexcept { return lowest.load(std::memory_order_relaxed); }

void set_format(Format format) noexcept {
    const std::lock_guard lock{process_locks.log};
    the_log().format = format;
}

void set_fields(std::initializer_list<Field> fields) {
    detail::OwnFields own;
    detail::append_fields(own.logfmt, Format::logfmt, fields);
    detail::append_fields(own.json, Format::json, fields);
    const std::lock_guard lock{process_locks.log};
    the_log().own = std::move(own);
}

void set_descriptor(int fd) noexcept {
    Log& log = the_log();
    std::unique_lock lock{process_locks.log};
    log.target = fd;
    log.lent = {};
    log.sink.open(fd);
    ++log.epoch;
    write_out(log, std::move(lock));
}

void set_capacity(std::size_t bytes) noexcept {
    const std::lock_guard lock{process_locks.log};
    the_log().capacity = bytes;
}

bool flush(Deadline deadline) noexcept {
    Log& log = the_log();
    // The clock of the deadline may be a simulated one, which stands still while we block.
    auto limit = steady_clock::time_point::max();
    if (!deadline.is_never()) {
        limit = steady_clock::now();
        if (!deadline.has_passed()) limit += deadline.when() - now();
    }
    for (;;) {
        pollfd one{-1, POLLOUT, 0};
        {
            const std::lock_guard lock{process_locks.log};
            if (log.drain()) return true;
            one.fd = log.sink.number();
        }
        const auto present = steady_clock::now();
        if (present >= limit) return false;
        constexpr auto most = std::chrono::milliseconds(100);  // another thread may change the sink
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(limit - present);
        (void)sys::poll(&one, 1, static_cast<int>(std::min(left, most).count()));
    }
}

void write_raw(std::string_view text) noexcept {
    char piece[512];
    while (true) {
        std::size_t size = std::min(text.size(), sizeof(piece) - 1);
        std::transform(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(size), piece,
                       [](char it) {
                           const auto code = static_cast<unsigned char>(it);
                           return code < 0x20 || code >= 0x7F ? '?' : it;
                       });
        text.remove_prefix(size);
        if (text.empty()) piece[size++] = '\n';
        for (std::size_t done = 0; done < size;) {
            const sys::Outcome outcome = sys::write(STDERR_FILENO, piece + done, size - done);
            if (!outcome.ok()) return;
            done += outcome.as_size();
        }
        if (text.empty()) return;
    }
}

Figures figures() noexcept {
    Log& log = the_log();
    const std::lock_guard lock{process_locks.log};
    return log.counted();
}

}  // namespace green::log
