#pragma once
// Which process an object lives in. A fork copies objects that only one process may use: with locks
// that are held, and threads that are waited for, by threads that are not there, and with the
// numbers of descriptors that are the other one's.

#include <cstdint>

namespace green::detail {

/// How many forks lie between this process and the one that first ran this program.
extern std::uint32_t forks_so_far;

/// The process in which it was made. Asking costs no system call. The child of a raw clone(2),
/// which runs no handlers, is not told apart from its parent.
class Home {
 public:
    Home() noexcept : forks_{forks_so_far} {}
    [[nodiscard]] bool is_here() const noexcept { return forks_ == forks_so_far; }

    /// From the first call on forks are counted. It is made before main(); who registers a handler
    /// of fork(2) that asks calls it before. Returns the errno for which they are not counted.
    [[nodiscard]] static int mind_forks() noexcept;

 private:
    std::uint32_t forks_;
};

}  // namespace green::detail
