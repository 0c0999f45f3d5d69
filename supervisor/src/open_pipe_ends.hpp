#pragma once
// The two kinds of ends of an OpenPipe, for its own sources.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <sys/ioctl.h>

#include "open_pipe.hpp"

namespace greensup {

struct OpenPipe::Writer {
    int number;
    int slot;
    FrameCutter cutter;
    green::Fd ours;
    std::unique_ptr<green::IoWatcher> watcher{};
    std::string whole{};       // messages that still have to be handed over
    bool was_stopped = false;  // there was no room for what it may have written
    bool is_at_end = false;
    bool is_gone = false;
    std::size_t left_behind = 0;  // by one that is gone, unread
    bool left_in_peace = false;
    bool is_finished = false;  // its last words were taken
    bool was_held = false;
    int pid = 0;
    std::uint64_t taken = 0;
    std::optional<green::TimePoint> stands_since{};
};

struct OpenPipe::Reader {
    enum class Ending { none, soon, dry };

    int slot;
    green::Fd ours;
    // What it leaves unread stays there as long as an end is open. A pipe needs it only when ours
    // is closed, and without it we hear of who closes his end; a socket would lose what is in it.
    green::Fd theirs;
    std::unique_ptr<green::IoWatcher> watcher{};
    bool watches_room = false;
    Ending ending = Ending::none;
    std::optional<std::string> hello{};  // what of it still has to be sent
    int pid = 0;
    std::optional<green::TimePoint> closed_at{};  // its end, by itself
    bool is_deaf = false;                         // and it lives on
    bool is_kept_open = false;                    // it was told that its input cannot end yet
    std::uint64_t sent = 0;
    std::uint64_t has_read = 0;
    std::optional<green::TimePoint> stands_since{};
};

/// It will run, perhaps in this turn: to start it again would put that off, on and on where that
/// happens in each turn.
inline bool is_set(const green::TimerWatcher& timer) { return timer.active() || timer.pending(); }

/// Bytes in the system's memory that nobody has read.
inline std::size_t unread_in(const green::Fd& fd) {
    int count = 0;
    return fd.is_open() && ::ioctl(fd.number(), FIONREAD, &count) == 0
               ? static_cast<std::size_t>(count)
               : 0;
}

}  // namespace greensup
