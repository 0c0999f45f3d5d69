#pragma once
// The child's side of a start. It runs in the parent's memory, on a stack of its own, while the
// parent's thread stands still: it may only read what was prepared for it, make raw system calls,
// and leave a note why it failed.

#include <cstddef>
#include <sys/types.h>

#include <green/process.hpp>

namespace green::detail {

struct SpawnPlan {
    const char* const* paths = nullptr;  // tried one after the other; ends with nullptr
    char* const* argv = nullptr;
    char* const* environment = nullptr;
    const char* cwd = nullptr;
    // By rising `theirs`. No `ours` is the `theirs` of another: in any order nothing is overwritten
    // that is still needed.
    const Command::Handover* descriptors = nullptr;
    std::size_t descriptor_count = 0;
    const Command::Limit* limits = nullptr;
    std::size_t limit_count = 0;
    bool new_session = false;
    int parent_death_signal = 0;
    pid_t parent = 0;
    int umask = -1;

    // The child's note.
    SpawnStage stage = SpawnStage::clone;
    int error = 0;
    // Of a failed exec: which of `paths` the error is about, and whether something is there.
    const char* place = nullptr;
    bool is_there = false;
};

/// What getppid() gives says that the parent has gone. 0 is one outside of our pid namespace, whose
/// end we cannot see.
constexpr bool is_orphan(long seen, pid_t parent) noexcept { return seen != 0 && seen != parent; }

/// The function for clone(2); `plan` is a SpawnPlan. Does not return to its caller's program: it
/// becomes another one, or ends with status 127.
int run_child(void* plan) noexcept;

}  // namespace green::detail
