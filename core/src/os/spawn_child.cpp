// Raw system calls only, and nothing else: other threads of the parent go on in the same memory,
// one of them may hold any lock of libc. For the same reason this file is compiled without
// sanitizers (see core/CMakeLists.txt). errno is the parent thread's; the parent expects that.

#include "os/spawn_child.hpp"

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace green::detail {
namespace {

constexpr int signal_count = 64;
constexpr std::size_t kernel_mask_size = signal_count / 8;
static_assert(sizeof(rlimit) == 2 * sizeof(std::uint64_t), "prlimit64 wants 64-bit limits");

long word(const void* pointer) noexcept { return reinterpret_cast<long>(pointer); }
long word(long value) noexcept { return value; }

template <class... Arguments>
long raw(long number, Arguments... arguments) noexcept {
    return ::syscall(number, word(arguments)...);  // whole registers: an int would fill a half
}

[[noreturn]] void leave() noexcept {
    for (;;) raw(SYS_exit_group, 127);
}

[[noreturn]] void fail(SpawnPlan& plan, SpawnStage stage) noexcept {
    plan.error = errno;
    plan.stage = stage;
    leave();
}

// Handlers of ours must not run here, and what we ignore would stay ignored in the new program.
void reset_signals() noexcept {
    constexpr unsigned long all_default[8] = {};  // SIG_DFL, no flags, in the kernel's own layout
    for (int signal = 1; signal <= signal_count; ++signal) {
        raw(SYS_rt_sigaction, signal, all_default, nullptr, kernel_mask_size);
    }
}

void begin_session(SpawnPlan& plan) noexcept {
    if (plan.new_session && raw(SYS_setsid) < 0) fail(plan, SpawnStage::session);
    if (plan.parent_death_signal == 0) return;
    if (raw(SYS_prctl, PR_SET_PDEATHSIG, plan.parent_death_signal) < 0) {
        fail(plan, SpawnStage::session);
    }
    // A parent that died before this line sends nothing.
    if (is_orphan(raw(SYS_getppid), plan.parent)) leave();
}

void make_blocking(int fd) noexcept {
    const long flags = raw(SYS_fcntl, fd, F_GETFL, 0);
    if (flags >= 0 && (flags & O_NONBLOCK) != 0) raw(SYS_fcntl, fd, F_SETFL, flags & ~O_NONBLOCK);
}

void arrange_descriptors(SpawnPlan& plan) noexcept {
    unsigned int close_from = 3;
    for (std::size_t i = 0; i < plan.descriptor_count; ++i) {
        const auto [ours, theirs] = plan.descriptors[i];
        const long moved = ours == theirs ? raw(SYS_fcntl, ours, F_SETFD, 0)  // not close-on-exec
                                          : raw(SYS_dup3, ours, theirs, 0);
        if (moved < 0) fail(plan, SpawnStage::descriptors);
        if (theirs <= 2) make_blocking(theirs);
    }
    // Only now: until here a later one's `ours` had to stay open.
    for (std::size_t i = 0; i < plan.descriptor_count; ++i) {
        const auto kept = static_cast<unsigned int>(plan.descriptors[i].theirs);
        if (kept < close_from) continue;
        if (kept > close_from && raw(SYS_close_range, close_from, kept - 1, 0U) < 0) {
            fail(plan, SpawnStage::descriptors);
        }
        close_from = kept + 1;
    }
    if (raw(SYS_close_range, close_from, ~0U, 0U) < 0) fail(plan, SpawnStage::descriptors);
}

// After the descriptors, whose numbers may lie above a new limit.
void set_limits(SpawnPlan& plan) noexcept {
    for (std::size_t i = 0; i < plan.limit_count; ++i) {
        const Command::Limit& limit = plan.limits[i];
        if (raw(SYS_prlimit64, 0, limit.resource, &limit.value, nullptr) < 0) {
            fail(plan, SpawnStage::limits);
        }
    }
    if (plan.umask >= 0) raw(SYS_umask, plan.umask);
}

bool exists(const char* path) noexcept {
    struct statx found;
    return raw(SYS_statx, AT_FDCWD, path, 0, STATX_TYPE, &found) == 0;
}

/// A directory that may not be looked into, or whose file system does not answer.
bool is_out_of_reach(int error) noexcept {
    return error == EACCES || error == ESTALE || error == ENODEV || error == ETIMEDOUT;
}

// As a shell looks a program up: what is not there, not reachable or not to be executed sends us to
// the next place. Of all places that one is told of whose failure says most.
[[noreturn]] void execute(SpawnPlan& plan) noexcept {
    enum : std::uint8_t { not_there, out_of_reach, refused, conclusive } known = not_there;
    int told = 0;
    for (const char* const* path = plan.paths; *path != nullptr && known != conclusive; ++path) {
        raw(SYS_execve, *path, plan.argv, plan.environment);
        const int error = errno;
        const bool is_there = exists(*path);
        auto says = not_there;
        if (error != ENOENT && error != ENOTDIR && !is_out_of_reach(error)) {
            says = conclusive;
        } else if (is_there) {
            says = refused;
        } else if (is_out_of_reach(error)) {
            says = out_of_reach;
        }
        if (known != not_there && says <= known) continue;
        known = says;
        told = error;
        plan.place = *path;
        plan.is_there = is_there;
    }
    errno = told;
    fail(plan, SpawnStage::exec);  // only now: one that begins leaves no note
}

}  // namespace

int run_child(void* argument) noexcept {
    SpawnPlan& plan = *static_cast<SpawnPlan*>(argument);
    reset_signals();
    begin_session(plan);
    if (plan.cwd != nullptr && raw(SYS_chdir, plan.cwd) < 0) fail(plan, SpawnStage::cwd);
    arrange_descriptors(plan);
    set_limits(plan);
    const unsigned long none_blocked = 0;
    raw(SYS_rt_sigprocmask, SIG_SETMASK, &none_blocked, nullptr, kernel_mask_size);
    execute(plan);
}

}  // namespace green::detail
