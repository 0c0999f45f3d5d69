// A bare fork(2) copies the hub of the thread that calls it, and with it greenlets that would all
// run twice. So the copy is made unusable in the child: nothing of it runs, nothing of it is
// destroyed, and whoever asks for a hub there ends loudly.

#include <cstdlib>
#include <pthread.h>
#include <system_error>
#include <utility>

#include <green/log.hpp>

#include "loop/watcher_board.hpp"
#include "sched/hub.hpp"

namespace green::detail {

void Hub::mind_forks() {
    static const int error = ::pthread_atfork(nullptr, nullptr, &Hub::in_forked_child);
    if (error != 0) throw std::system_error(error, std::system_category(), "pthread_atfork");
}

// Of the hubs that the process had, only those of this thread can still be reached.
void Hub::in_forked_child() noexcept {
    for (Hub* hub = std::exchange(this_threads, nullptr); hub != nullptr; hub = hub->outer_) {
        forked_child = true;
        hub->abandoned_ = true;
        // The next switch goes to the hub, whose turn refuses: so no switch has to look.
        hub->look_in_ = 1;
        hub->budget_ = 0;
        hub->watchers_->forked();
    }
}

void Hub::abort_in_forked_child() noexcept {
    log::write_raw(
        "greensup: this process was forked by a bare fork(), which would run the greenlets of its "
        "parent twice: it may only exec or _exit. Start children by green::Process, by "
        "green::os::fork or by green::ipc::start_process.");
    std::abort();
}

}  // namespace green::detail
