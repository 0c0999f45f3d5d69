#pragma once
// What the tests of the shared-memory queue do in processes of their own: children that are killed
// or stopped, and memory that they share with us.

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <new>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

namespace shm_test {

/// Memory that parent and children share.
template <class T>
class Common {
 public:
    Common() {
        void* memory =
            ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) std::abort();
        value_ = new (memory) T{};
    }
    Common(const Common&) = delete;
    Common& operator=(const Common&) = delete;
    ~Common() { ::munmap(value_, sizeof(T)); }
    T* operator->() const { return value_; }
    T& operator*() const { return *value_; }

 private:
    T* value_;
};

/// Runs `body` in a child that never comes back here, and never outlives us.
template <class Body>
[[nodiscard]] pid_t fork_child(Body&& body) {
    std::cout.flush();
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(2);
    try {
        body();
    } catch (...) {
        ::_exit(3);
    }
    ::_exit(0);
}

/// How the child ended: 0 for exit(0), the signal's number when killed, 1000 + status otherwise.
inline int reap(pid_t pid) {
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid) return -1;
    if (WIFSIGNALED(status)) return WTERMSIG(status);
    return WEXITSTATUS(status) == 0 ? 0 : 1000 + WEXITSTATUS(status);
}

/// Until the child stands still.
inline void await_stop(pid_t pid) {
    int status = 0;
    REQUIRE(::waitpid(pid, &status, WUNTRACED) == pid);
    REQUIRE(WIFSTOPPED(status));
}

}  // namespace shm_test
