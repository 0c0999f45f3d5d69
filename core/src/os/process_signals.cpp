// The handler is one for all threads, and so takes its place, and leaves it, in one step each. Not
// libev's, which leaves the default behind: a signal that another thread is sent then would end a
// process that ignores it, or has a handler of its own. And what a handler in another thread needs
// of libev's loop may be gone already.

#include "os/process_signals.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>

#include <green/sys.hpp>

#include "loop/reactor.hpp"
#include "os/process_locks.hpp"

namespace green::detail {
namespace {

struct WatchedSignal {
    std::atomic<Reactor*> reactor{nullptr};  // changes under the lock
    std::atomic<int> handlers{0};            // who may be using the reactor now
    std::atomic<bool> has_come{false};
    struct sigaction before {};  // under the lock
};
static_assert(std::atomic<Reactor*>::is_always_lock_free);

constinit std::array<WatchedSignal, NSIG> watched_signals;

WatchedSignal& watched(int signal) noexcept {
    return watched_signals[static_cast<std::size_t>(signal)];
}

// Either it finds no reactor any more, or leave() finds the handler. One that comes late may belong
// to a watch that has ended: then it tells the present one, or nobody.
void on_signal(int signal) noexcept {
    const int error = errno;
    WatchedSignal& it = watched(signal);
    ++it.handlers;
    if (Reactor* reactor = it.reactor) {
        it.has_come = true;
        reactor->notify();
    }
    --it.handlers;
    errno = error;
}

void leave(WatchedSignal& it) noexcept {
    it.reactor = nullptr;
    while (it.handlers != 0) std::this_thread::yield();
}

}  // namespace

void take_signal(int signal, Reactor& reactor) {
    struct sigaction ours {};
    ours.sa_handler = on_signal;
    ours.sa_flags = SA_RESTART | SA_ONSTACK;  // a greenlet's stack may be small
    sigfillset(&ours.sa_mask);
    WatchedSignal& it = watched(signal);
    const std::lock_guard lock{process_locks.signals};
    if (it.reactor != nullptr) {
        sys::fail(EBUSY, "another hub of the process watches signal " + std::to_string(signal));
    }
    it.has_come = false;
    it.reactor = &reactor;
    const sys::Outcome taken = sys::sigaction(signal, &ours, &it.before);
    if (taken.ok()) return;
    leave(it);
    sys::fail(taken.error, "watching signal " + std::to_string(signal));
}

void give_signal_back(int signal) noexcept {
    WatchedSignal& it = watched(signal);
    const std::lock_guard lock{process_locks.signals};
    (void)sys::sigaction(signal, &it.before, nullptr);
    leave(it);
}

bool signal_has_come(int signal) noexcept { return watched(signal).has_come.exchange(false); }

void give_back_parents_signals() noexcept {
    for (int signal = 1; signal < NSIG; ++signal) {
        WatchedSignal& it = watched(signal);
        it.handlers = 0;  // of threads that are not there
        if (it.reactor.exchange(nullptr) != nullptr)
            (void)sys::sigaction(signal, &it.before, nullptr);
    }
}

}  // namespace green::detail
