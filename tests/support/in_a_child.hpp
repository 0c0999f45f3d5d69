#pragma once
// What a forked child of this process can do.

#include <functional>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace tests {

/// Forks, and runs the body in the child, which a SIGALRM ends where it hangs. Gives its status as
/// waitpid() does; what the body returns is the child's exit code.
inline int fork_and_run(const std::function<int()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(10);
        ::_exit(body());
    }
    int status = -1;
    (void)::waitpid(child, &status, 0);
    return status;
}

/// The same in a thread that has no hub.
inline int in_a_child(const std::function<int()>& body) {
    int status = -1;
    std::thread{[&] { status = fork_and_run(body); }}.join();
    return status;
}

}  // namespace tests
