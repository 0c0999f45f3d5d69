#pragma once
// Valgrind takes the way from one stack to the next for one large frame, unless it knows that they
// are two. It must also be told when they are gone: what is mapped there later is something else.

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif

namespace green::detail::valgrind {

#ifdef VALGRIND_STACK_REGISTER
/// Returns what remove_stack() needs. Costs a few instructions where valgrind does not run.
[[nodiscard]] inline unsigned add_stack(const void* low, const void* high) noexcept {
    return VALGRIND_STACK_REGISTER(low, high);
}
inline void remove_stack(unsigned id) noexcept { VALGRIND_STACK_DEREGISTER(id); }
#else
[[nodiscard]] inline unsigned add_stack(const void*, const void*) noexcept { return 0; }
inline void remove_stack(unsigned) noexcept {}
#endif

}  // namespace green::detail::valgrind
