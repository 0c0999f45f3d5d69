#pragma once
// Where an exception was thrown that nobody in the greenlet catches. An exception looks for its
// handler before it unwinds anything: when that search arrives at the greenlet's first frame, all
// frames down to the throw still stand, and are noted. What is caught before costs nothing.
//
// The noted place is that of the last throw: `throw;` and std::rethrow_exception count as throws.

#include <array>
#include <cstddef>
#include <span>

namespace green::detail {

class ThrowSite {
 public:
    [[nodiscard]] std::span<const void* const> frames() const noexcept {
        return {frames_.data(), count_};
    }
    void forget() noexcept { count_ = 0; }
    /// Notes the frames that stand above call_watched() now, those of throwing itself included.
    void note() noexcept;

 private:
    std::array<const void*, 24> frames_{};
    std::size_t count_ = 0;
};

/// Calls the function. What it throws passes through, and its frames are noted in the hub of this
/// thread.
void call_watched(void (*function)(void* argument), void* argument);

}  // namespace green::detail
