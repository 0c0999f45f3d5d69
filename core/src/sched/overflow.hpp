#pragma once
// A fault in a guard page says which greenlet overflowed its stack and where it was spawned, then
// lets the fault have its usual end.

#include <memory>

namespace green::detail {

class StackPool;

/// While it lives, faults in the guards of this pool are reported. For the thread that makes it.
class OverflowWatch {
 public:
    explicit OverflowWatch(const StackPool& pool) noexcept;
    OverflowWatch(const OverflowWatch&) = delete;
    OverflowWatch& operator=(const OverflowWatch&) = delete;
    ~OverflowWatch();

 private:
    const StackPool* outer_;             // of a hub that this one stands before, for a while
    std::unique_ptr<char[]> alternate_;  // a signal stack, where the thread had none
};

}  // namespace green::detail
