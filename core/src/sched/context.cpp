#include "sched/context.hpp"

namespace green::detail {

void BoostSwitch::begin(void*& from, void* top, std::size_t size, StackEntry entry) noexcept {
    struct Start {
        void** from;
        StackEntry entry;
    };
    Start start{&from, entry};
    void* fresh = boost::context::detail::make_fcontext(
        top, size, [](boost::context::detail::transfer_t starter) {
            const Start given = *static_cast<Start*>(starter.data);
            *given.from = starter.fctx;
            void* nowhere = nullptr;  // this stack is never gone back to
            boost::context::detail::jump_fcontext(given.entry(), &nowhere);
        });
    keep(boost::context::detail::jump_fcontext(fresh, &start));
}

}  // namespace green::detail

#if defined(__x86_64__)

// A suspended stack, from its stack pointer upwards:
//    0  MXCSR (4 bytes), x87 control word (2), padding (2)
//    8  r15 r14 r13 r12 rbx rbp
//   56  where to go on
// The six status bits of MXCSR are not control: they are left as the thread has them.
//
// Everything ends with `ret` and begins with `call`, never with a jump, so that the processor's
// prediction of returns stays right: nearly every greenlet was suspended by the same chain of calls
// as the one that switches, and one that is begun and ends before the next switch returns to its
// starter as a function would.
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
0:  xorl (%rsp), %eax
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
.globl green_begin_stack
.type green_begin_stack,@function
green_begin_stack:
    .cfi_startproc
    .cfi_undefined rip
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    andq $-16, %rsp
    xorl %ebp, %ebp
    call *%rdx
    movq %rax, %rsp
    stmxcsr -8(%rsp)
    fnstcw -4(%rsp)
    movl -8(%rsp), %eax
    movzwl -4(%rsp), %ecx
    jmp 0b
    .cfi_endproc
.size green_begin_stack,.-green_begin_stack
)");

#endif
