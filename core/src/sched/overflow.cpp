#include "sched/overflow.hpp"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <unistd.h>
#include <utility>

#include <green/sys.hpp>

#include "os/process_locks.hpp"
#include "sched/hub.hpp"
#include "sched/symbols.hpp"

namespace green::detail {
namespace {

constexpr std::size_t alternate_size = 64UL * 1024;

thread_local const StackPool* watched = nullptr;
struct sigaction previous_segv;
struct sigaction previous_bus;

// The process is past saving: what is called here need not be safe in a signal handler, it only has
// to be worth a try after the plain part was written.
void report(const Stack& stack) noexcept {
    const Task& task = Hub::current().running();
    char text[512];
    int size = std::snprintf(
        text, sizeof text,
        "greensup: stack overflow in greenlet %llu: its stack has %zu KiB, spawned at %p\n",
        static_cast<unsigned long long>(task.id), stack.size() / 1024, task.spawned_from);
    (void)sys::write(STDERR_FILENO, text, static_cast<std::size_t>(size));
    const std::string names = "greensup: that is " + task.name() + ", spawned at " +
                              code_address(task.spawned_from) + "\n";
    (void)sys::write(STDERR_FILENO, names.data(), names.size());
}

void on_fault(int signal, siginfo_t* info, void* context) noexcept {
    if (watched != nullptr) {
        if (const Stack* stack = watched->overflowed(info->si_addr)) report(*stack);
    }
    const struct sigaction& previous = signal == SIGSEGV ? previous_segv : previous_bus;
    if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
        previous.sa_sigaction(signal, info, context);
        return;
    }
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
        return;
    }
    // Returning repeats the faulting instruction, now with the default end.
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    (void)sys::sigaction(signal, &standard, nullptr);
}

/// Once. A lock of its own would be held for ever in a child that is forked meanwhile.
void install() noexcept {
    static constinit bool installed = false;
    const std::lock_guard lock{process_locks.signals};
    if (std::exchange(installed, true)) return;
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    (void)sys::sigaction(SIGSEGV, &action, &previous_segv);
    (void)sys::sigaction(SIGBUS, &action, &previous_bus);
}

}  // namespace

OverflowWatch::OverflowWatch(const StackPool& pool) noexcept {
    install();
    outer_ = std::exchange(watched, &pool);
    stack_t present{};
    if (::sigaltstack(nullptr, &present) == 0 && (present.ss_flags & SS_DISABLE) == 0) return;
    alternate_.reset(new (std::nothrow) char[alternate_size]);
    if (!alternate_) return;  // then an overflow ends the process without a report
    stack_t ours{};
    ours.ss_sp = alternate_.get();
    ours.ss_size = alternate_size;
    (void)::sigaltstack(&ours, nullptr);
}

OverflowWatch::~OverflowWatch() {
    watched = outer_;
    if (!alternate_) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    (void)::sigaltstack(&none, nullptr);
}

}  // namespace green::detail
