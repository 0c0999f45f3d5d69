#include <pthread.h>

#include <green/detail/home.hpp>

namespace green::detail {

// Only the one thread of a child writes it, before fork() returns there.
constinit std::uint32_t forks_so_far = 0;

int Home::mind_forks() noexcept {
    static const int error = ::pthread_atfork(nullptr, nullptr, [] { ++forks_so_far; });
    return error;
}

namespace {

// Without memory for the handler a fork goes unnoticed, and nobody is refused who should be.
[[maybe_unused]] const int minded = Home::mind_forks();

}  // namespace
}  // namespace green::detail
