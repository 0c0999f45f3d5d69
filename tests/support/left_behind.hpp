#pragma once

#include <green/fd.hpp>
#include <green/sys.hpp>
#include <green/watcher.hpp>

#include "support/pipe.hpp"

namespace tests {

/// A descriptor that was closed behind the back of its watcher, which stopped too late: the open
/// file lives on elsewhere, and the kernel reports it when it becomes readable.
struct LeftBehind {
    LeftBehind() {
        green::IoWatcher gone{pipe.reader.number(), green::IoEvents::read};
        gone.start([] {});
        green::sys::must(green::sys::close(pipe.reader.release()), "close");
        gone.stop();
    }
    LeftBehind(const LeftBehind&) = delete;
    LeftBehind& operator=(const LeftBehind&) = delete;
    void become_readable() const { pipe.put(); }

    Pipe pipe;
    green::Fd elsewhere{green::sys::dup(pipe.reader.number()).as_int()};
};

}  // namespace tests
