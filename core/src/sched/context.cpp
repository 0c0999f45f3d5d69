#include "sched/context.hpp"

#if defined(__x86_64__)

#include <cstdint>

namespace green::detail {

// A suspended stack, from its stack pointer upwards:
//    0  MXCSR (4 bytes), x87 control word (2), padding (2)
//    8  r15 r14 r13 r12 rbx rbp
//   56  where to go on
// The six status bits of MXCSR are not control: they are left as the thread has them.
//
// It ends with `ret`, not with a jump: nearly every greenlet was suspended by the same chain of
// calls as the one that switches, so the processor's prediction of this return, and of all those
// above it, is right.
asm(R"(
.text
.p2align 4
.globl green_switch_stacks
.type green_switch_stacks,@function
green_switch_stacks:
    .cfi_startproc
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movl (%rsp), %eax
    movzwl 4(%rsp), %ecx
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    xorl (%rsp), %eax
    testl $0xffc0, %eax
    jne 2f
1:  cmpw %cx, 4(%rsp)
    jne 3f
4:  addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
2:  ldmxcsr (%rsp)
    jmp 1b
3:  fldcw 4(%rsp)
    jmp 4b
    .cfi_endproc
.size green_switch_stacks,.-green_switch_stacks

.p2align 4
.type green_begin_stack,@function
green_begin_stack:
    .cfi_startproc
    .cfi_undefined rip
    call *%rbx
    ud2
    .cfi_endproc
.size green_begin_stack,.-green_begin_stack
)");
extern "C" void green_begin_stack() noexcept;

void* NativeSwitch::frame(void* top, StackEntry entry) noexcept {
    auto* word = reinterpret_cast<std::uintptr_t*>(reinterpret_cast<std::uintptr_t>(top) &
                                                   ~std::uintptr_t{15});
    *--word = 0;  // keeps the stack aligned to 16 where green_begin_stack calls
    *--word = 0;
    *--word = reinterpret_cast<std::uintptr_t>(&green_begin_stack);
    *--word = 0;                                        // rbp: the end of the chain of frames
    *--word = reinterpret_cast<std::uintptr_t>(entry);  // rbx
    for (int i = 0; i < 4; ++i) *--word = 0;            // r12 to r15
    *--word = 0;
    auto* control = reinterpret_cast<std::uint32_t*>(word);
    // A new greenlet begins with the rounding and exception masks of whoever first switches to it,
    // as a thread does.
    asm("stmxcsr %0\n\tfnstcw %1" : "=m"(control[0]), "=m"(control[1]));
    return word;
}

}  // namespace green::detail

#endif
