#pragma once
// The address sanitizer keeps its own idea of the stack a thread runs on, and must be told of each
// switch: where the next stack lies before the jump, and that it has been reached after it. A stack
// that is left for good hands over no place to keep its "fake stack", which frees it.

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define GREEN_ADDRESS_SANITIZER 1
#else
#define GREEN_ADDRESS_SANITIZER 0
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

/// Instrumented frames are about three times as large.
inline std::size_t scaled_stack(std::size_t size) noexcept {
    return GREEN_ADDRESS_SANITIZER ? size * 4 : size;
}

}  // namespace green::detail::sanitizer
