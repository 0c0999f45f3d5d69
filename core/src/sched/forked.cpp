// A bare fork(2) copies the hub of the thread that calls it, and with it greenlets that would all
// run twice. So the copy is made unusable in the child: nothing of it runs, nothing of it is
// destroyed, and whoever asks for a hub there ends loudly. In the child of a thread that has no hub
// other hubs of the parent are just not there, and a new one can be made.
//
// fork_process() goes on from there: its child gives up the copy for good and begins anew. Then
// what still refers to the copy must do no harm: its greenlets count as ended, so that nobody hands
// anything to them or waits for them, and its timers as not started.

#include <cstdlib>
#include <cxxabi.h>
#include <optional>
#include <pthread.h>
#include <system_error>
#include <utility>

#include <green/detail/home.hpp>
#include <green/log.hpp>
#include <green/sys.hpp>

#include "loop/watcher_board.hpp"
#include "os/log_sink.hpp"
#include "os/process_locks.hpp"
#include "os/process_signals.hpp"
#include "os/signals_blocked.hpp"
#include "sched/hub.hpp"
#include "sched/symbols.hpp"

namespace green::detail {
namespace {

// The child takes no signal before they have been given back. Nor does a handler run here while the
// locks are held: it may fork, too.
thread_local std::optional<SignalsBlocked> quiet;

void before_fork() noexcept {
    quiet.emplace();
    process_locks.lock();
}

void after_fork() noexcept {
    process_locks.unlock();
    quiet.reset();
}

}  // namespace

// Handlers run in the order in which they were registered: what ours runs knows its home already.
const int Hub::no_fork_handlers = [] {
    const int error = Home::mind_forks();
    return error != 0 ? error : ::pthread_atfork(&before_fork, &after_fork, &Hub::in_forked_child);
}();

void Hub::mind_forks() {
    if (no_fork_handlers != 0)
        throw std::system_error(no_fork_handlers, std::system_category(), "pthread_atfork");
}

// Of the hubs that the process had, only those of this thread can still be reached.
void Hub::in_forked_child() noexcept {
    give_back_parents_signals();
    log::detail::forget_parents_lines();
    after_fork();
    Hub* const parents = std::exchange(this_threads, nullptr);
    bool calls_back = false;
    for (Hub* hub = parents; hub != nullptr; hub = hub->outer_) {
        forked_child = true;
        // The next switch goes to the hub, whose turn refuses: so no switch has to look.
        hub->look_in_ = 1;
        hub->budget_ = 0;
        calls_back = calls_back || hub->watchers_->minds_forks();
    }
    if (!calls_back) return;
    // What is called may destroy whatever has a timer. Without it they are not touched: a signal
    // handler may have forked in the middle of them, and will call exec.
    for (Hub* hub = parents; hub != nullptr; hub = hub->outer_) hub->timers_.let_go();
    for (Hub* hub = parents; hub != nullptr; hub = hub->outer_) hub->watchers_->forked();
}

void Hub::begin_anew(Hub* parents) noexcept {
    if (parents != nullptr && parents->running_->stack != nullptr)
        main_runs_on(*parents->running_->stack);
    for (Hub* hub = parents; hub != nullptr; hub = hub->outer_) hub->become_the_past();
    // Where the fork was called somebody may be handling an exception, or unwinding.
    *reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals()) = {};
    (void)sys::set_world(nullptr);
    why_none = nullptr;
    forked_child = false;
}

void Hub::become_the_past() noexcept {
    reactor_->abandon();
    timers_.let_go();
    tasks_.for_each([](Task& task) {
        task.state = TaskState::done;
        task.outcome = Outcome::exited;
    });
}

bool parents_are_past() noexcept { return !Hub::refused_in_forked_child(); }

void Hub::end_for_thread() noexcept { delete this_threads; }

void Hub::abort_in_forked_child() noexcept {
    log::write_raw(
        "greensup: in a forked process the hub of its parent was used, whose greenlets would run "
        "twice. The child of a bare fork() may only exec or _exit: start programs by "
        "green::Process, functions by green::fork_process. What a ForkWatcher calls may neither "
        "wait nor wake: it kills no greenlet and destroys no group.");
    std::abort();
}

}  // namespace green::detail
