#include "sched/throw_site.hpp"

#if defined(__x86_64__)

#include <cstdint>
#include <unwind.h>

#include "sched/hub.hpp"

extern "C" {

[[gnu::visibility("hidden")]] void green_call_watched(void (*function)(void* argument),
                                                      void* argument);

/// Called for the frame of green_call_watched, first when an exception looks for its handler, then
/// when it unwinds. The frame has none, and nothing to clean up.
[[gnu::visibility("hidden")]] _Unwind_Reason_Code green_throw_site_personality(
    int, _Unwind_Action phase, std::uint64_t, _Unwind_Exception*, _Unwind_Context*) {
    if ((phase & _UA_SEARCH_PHASE) != 0) {
        if (green::detail::Hub* hub = green::detail::Hub::current_or_null())
            hub->throw_site().note(hub->running().id);
    }
    return _URC_CONTINUE_UNWIND;
}

}  // extern "C"

namespace green::detail {
namespace {

struct Walk {
    const void** next;
    const void** end;
};

_Unwind_Reason_Code visit(_Unwind_Context* context, void* argument) {
    auto& walk = *static_cast<Walk*>(argument);
    const auto address = _Unwind_GetIP(context);
    const auto watched = reinterpret_cast<std::uintptr_t>(&green_call_watched);
    if (walk.next == walk.end || address - watched < 32) return _URC_END_OF_STACK;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the unwinder's addresses are integers
    *walk.next++ = reinterpret_cast<const void*>(address);
    return _URC_NO_REASON;
}

}  // namespace

// A plain call, in a frame with a personality of its own.
asm(R"(
.data
.hidden DW.ref.green_throw_site_personality
.weak DW.ref.green_throw_site_personality
.section .data.rel.local.DW.ref.green_throw_site_personality,"awG",@progbits,DW.ref.green_throw_site_personality,comdat
.align 8
.type DW.ref.green_throw_site_personality,@object
.size DW.ref.green_throw_site_personality,8
DW.ref.green_throw_site_personality:
    .quad green_throw_site_personality
.text
.p2align 5
.type green_call_watched,@function
green_call_watched:
    .cfi_startproc
    .cfi_personality 0x9b, DW.ref.green_throw_site_personality
    subq $8, %rsp
    .cfi_def_cfa_offset 16
    movq %rdi, %rax
    movq %rsi, %rdi
    call *%rax
    addq $8, %rsp
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
.size green_call_watched,.-green_call_watched
)");

void call_watched(void (*function)(void* argument), void* argument) {
    green_call_watched(function, argument);
}

void ThrowSite::note(std::uint64_t greenlet) noexcept {
    whose_ = greenlet;
    Walk walk{frames_.data(), frames_.data() + frames_.size()};
    (void)_Unwind_Backtrace(visit, &walk);
    count_ = static_cast<std::size_t>(walk.next - frames_.data());
}

}  // namespace green::detail

#else

namespace green::detail {

void call_watched(void (*function)(void* argument), void* argument) { function(argument); }
void ThrowSite::note(std::uint64_t) noexcept {}

}  // namespace green::detail

#endif
