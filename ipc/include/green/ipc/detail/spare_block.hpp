#pragma once

#include <new>
#include <utility>

namespace green::ipc {

/// Memory for a T. The block of the last one that went is kept for the next one of its thread:
/// where they come one by one, nothing is allocated.
template <class T>
class SpareBlock {
 public:
    /// Throws std::bad_alloc.
    static void* take() {
        if (void* const spare = std::exchange(spare_, nullptr)) return spare;
        return ::operator new(sizeof(T));
    }
    static void give(void* block) noexcept {
        thread_local const AtEnd at_end;
        if (at_end.is_near || spare_ != nullptr) {
            ::operator delete(block);
        } else {
            spare_ = block;
        }
    }

 private:
    struct AtEnd {
        ~AtEnd() {
            is_near = true;
            ::operator delete(std::exchange(spare_, nullptr));
        }
        static inline constinit thread_local bool is_near = false;
    };
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

    static inline constinit thread_local void* spare_ = nullptr;
};

}  // namespace green::ipc
