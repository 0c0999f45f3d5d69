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
        if (void* const block = std::exchange(spare, nullptr)) return block;
        return ::operator new(sizeof(T));
    }
    static void give(void* block) noexcept {
        thread_local const AtEnd at_end;
        if (at_end.is_near || spare != nullptr) {
            ::operator delete(block);
        } else {
            spare = block;
        }
    }

 private:
    struct AtEnd {
        ~AtEnd() {
            is_near = true;
            ::operator delete(std::exchange(spare, nullptr));
        }
        static inline constinit thread_local bool is_near = false;
    };
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

    static inline constinit thread_local void* spare = nullptr;
};

}  // namespace green::ipc
