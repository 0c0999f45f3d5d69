#pragma once
// Switching from one stack to another. Two implementations of one shape: the portable one of
// Boost.Context, and on x86-64 one of our own, because Boost's reloads the floating-point control
// words on every switch, which serialises the processor (15 times slower) as soon as one side has
// raised a floating-point flag. Ours compares the control bits and reloads only on a difference.
//
// What a switch keeps: the callee-saved registers, the control bits of MXCSR and the x87 control
// word. What it does not: the exception state, errno, the sanitizers' idea of the stack
// (Hub::suspend_for does the first and the last), signal masks.
//
// Always inlined: a call that begins on one stack and returns on another confuses the thread
// sanitizer.

#include <cstddef>

#include <boost/context/detail/fcontext.hpp>

namespace green::detail {

/// Runs on a new stack. Gives the context to go on with when it has ended; nothing may be thrown
/// out of it.
using StackEntry = void* (*)() noexcept;

struct BoostSwitch {
    /// Suspends the caller, noting in `from` where it stopped, and goes on at `to`.
    [[gnu::always_inline]] static void jump(void*& from, void* to) noexcept {
        keep(boost::context::detail::jump_fcontext(to, &from));
    }
    /// Suspends the caller in the same way and calls `entry` on the stack that ends at `top`.
    static void begin(void*& from, void* top, std::size_t size, StackEntry entry) noexcept;

 private:
    /// Whoever is jumped to is handed the slot in which the one before wants its own context kept.
    static void keep(boost::context::detail::transfer_t from) noexcept {
        *static_cast<void**>(from.data) = from.fctx;
    }
};

#if defined(__x86_64__)
extern "C" void green_switch_stacks(void** from, void* to) noexcept;
extern "C" void green_begin_stack(void** from, void* top, StackEntry entry) noexcept;

struct NativeSwitch {
    [[gnu::always_inline]] static void jump(void*& from, void* to) noexcept {
        green_switch_stacks(&from, to);
    }
    [[gnu::always_inline]] static void begin(void*& from, void* top, std::size_t,
                                             StackEntry entry) noexcept {
        green_begin_stack(&from, top, entry);
    }
};
#endif

#if defined(__x86_64__) && !defined(GREENSUP_BOOST_SWITCH)
using Switch = NativeSwitch;
#else
using Switch = BoostSwitch;
#endif

}  // namespace green::detail
