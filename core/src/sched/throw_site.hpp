#pragma once
// Where an exception was thrown that nobody in the greenlet catches. An exception looks for its
// handler before it unwinds anything: when that search arrives at the greenlet's first frame, all
// frames down to the throw still stand, and are noted. What is caught before costs nothing.
//
// The noted place is that of the last throw: `throw;` and std::rethrow_exception count as throws.
// It says whose it is: others may throw while the greenlet unwinds, and one that was killed throws
// without a report.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace green::detail {

class ThrowSite {
 public:
    /// None unless the last throw was that greenlet's.
    [[nodiscard]] std::span<const void* const> frames_of(std::uint64_t greenlet) const noexcept {
        return {frames_.data(), greenlet == whose_ ? count_ : 0};
    }
    /// Notes the frames that stand above call_watched() now, those of throwing itself included.
    void note(std::uint64_t greenlet) noexcept;

 private:
    std::array<const void*, 24> frames_{};
    std::size_t count_ = 0;
    std::uint64_t whose_ = 0;  // the id of a greenlet
};

/// Calls the function. What it throws passes through, and its frames are noted in the hub of this
/// thread.
void call_watched(void (*function)(void* argument), void* argument);

}  // namespace green::detail
