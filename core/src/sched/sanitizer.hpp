#pragma once
// The sanitizers keep their own idea of the stack a thread runs on, and must be told of each
// switch.
//
//  * The address sanitizer: where the next stack lies before the jump, and that it has been reached
//    after it. A stack that is left for good hands over no place to keep its "fake stack", which
//    frees it.
//  * The thread sanitizer: before the jump, whose calls and accesses follow. It keeps those of each
//    stack in a "fiber", of which it has room for about 8000 in a process. Between that call and
//    the jump no instrumented function may begin or end: it would do so on the other stack.

#include <cstddef>
#include <memory>
#include <sched.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define GREEN_ADDRESS_SANITIZER 1
#else
#define GREEN_ADDRESS_SANITIZER 0
#endif

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define GREEN_THREAD_SANITIZER 1
#else
#define GREEN_THREAD_SANITIZER 0
#endif

#if GREEN_THREAD_SANITIZER
// The C library's own name of clone(). What stands under the usual one is the thread sanitizer's,
// which takes the child for a fork's and, as the two share their memory here, makes the parent
// blind to all that orders its threads from then on.
extern "C" int __clone(int (*)(void*), void*, int, void*, ...) noexcept;
#endif

namespace green::detail::sanitizer {

#if GREEN_ADDRESS_SANITIZER
inline void leaving(void** fake_stack, const void* low, std::size_t size) noexcept {
    __sanitizer_start_switch_fiber(fake_stack, low, size);
}
inline void arrived(void* fake_stack, const void** low, std::size_t* size) noexcept {
    __sanitizer_finish_switch_fiber(fake_stack, low, size);
}
/// Frames that were left for good poisoned the memory that a new greenlet now begins on.
inline void fresh_stack(const void* low, std::size_t size) noexcept {
    __asan_unpoison_memory_region(low, size);
}
#else
inline void leaving(void**, const void*, std::size_t) noexcept {}
inline void arrived(void*, const void**, std::size_t*) noexcept {}
inline void fresh_stack(const void*, std::size_t) noexcept {}
#endif

#if GREEN_THREAD_SANITIZER
/// Of one of our stacks: made when something first begins there, kept from greenlet to greenlet as
/// the stack is.
class Fiber {
 public:
    void make() noexcept {
        if (!fiber_) fiber_.reset(__tsan_create_fiber(0));
    }
    [[nodiscard]] void* get() const noexcept { return fiber_.get(); }

 private:
    struct Destroy {
        void operator()(void* fiber) const noexcept { __tsan_destroy_fiber(fiber); }
    };
    std::unique_ptr<void, Destroy> fiber_;
};
/// Of the stack that we are on, whatever it is.
class PresentFiber {
 public:
    [[nodiscard]] void* get() const noexcept { return fiber_; }

 private:
    void* fiber_ = __tsan_get_current_fiber();
};
[[gnu::always_inline]] inline void switch_to(void* fiber) noexcept {
    __tsan_switch_to_fiber(fiber, 0);
}
#else
struct Fiber {
    void make() noexcept {}
    [[nodiscard]] void* get() const noexcept { return nullptr; }
};
using PresentFiber = Fiber;
inline void switch_to(void*) noexcept {}
#endif

#if GREEN_THREAD_SANITIZER
inline constexpr auto clone = &::__clone;
#else
inline constexpr auto clone = &::clone;
#endif

/// Frames of the address sanitizer are about three times as large; the thread sanitizer writes its
/// reports on the stack of whom they are about.
inline std::size_t scaled_stack(std::size_t size) noexcept {
    return GREEN_ADDRESS_SANITIZER || GREEN_THREAD_SANITIZER ? size * 4 : size;
}

}  // namespace green::detail::sanitizer
