#pragma once
// Whose a descriptor's number is. A forked child that keeps a list of descriptors closes all
// others, and the kernel gives their numbers out again, while the objects that the parent had for
// them are in the child's memory, too.

#include <cstdint>

namespace green::detail {

/// How often this process, and those that it was forked from, have closed all but a list.
extern std::uint32_t descriptor_losses;

/// The time since which a number belongs to somebody. Asking costs a comparison.
class Tenure {
 public:
    Tenure() noexcept : since_{descriptor_losses} {}
    /// Whether the number was open in this process all the time.
    [[nodiscard]] bool holds(int number) const noexcept {
        return since_ == descriptor_losses || was_kept(number);
    }

 private:
    [[nodiscard]] bool was_kept(int number) const noexcept;

    std::uint32_t since_;
};

}  // namespace green::detail
