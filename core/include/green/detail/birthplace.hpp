#pragma once

namespace green::detail {

/// The process that an object was made in. What a forked child has of its parent's was copied as it
/// was in that moment: with locks that are held, and threads that are waited for, by threads that
/// are not there.
class Birthplace {
 public:
    [[nodiscard]] bool is_here() const noexcept { return forks_ == forks; }
    /// In each forked child.
    static void leave() noexcept { ++forks; }

 private:
    static inline constinit unsigned forks = 0;  // between the first process and this one
    unsigned forks_ = forks;
};

}  // namespace green::detail
