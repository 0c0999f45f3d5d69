#pragma once
// Which process an object lives in. A fork copies objects that only one process may use.

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

 private:
    std::uint32_t forks_;
};

}  // namespace green::detail
