#include "sched/symbols.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <memory>

#include "sched/hub.hpp"

namespace green::detail {
namespace {

/// Where main does not run on its thread's own.
thread_local const Stack* stack_of_main = nullptr;

/// Of the stack that this runs on, about.
std::size_t stack_left() noexcept {
    constexpr std::size_t of_threads = 1024UL * 1024;
    constexpr std::size_t of_signals = 32UL * 1024;
    Hub* hub = Hub::current_or_null();
    const Stack* stack = hub != nullptr ? hub->running().stack : nullptr;
    if (stack == nullptr) stack = stack_of_main;
    if (stack == nullptr) return of_threads;
    const auto* here = static_cast<const char*>(__builtin_frame_address(0));
    const bool elsewhere = here < stack->low || here >= stack->high;
    return elsewhere ? of_signals : static_cast<std::size_t>(here - stack->low);
}

/// As it is where there is no room to demangle it.
std::string demangled(const char* name) {
    constexpr std::size_t for_each_character = 80;  // of alloca() in __cxa_demangle
    if (std::strlen(name) * for_each_character > stack_left() / 2) return name;
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> text{
        abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free};
    return status == 0 ? text.get() : name;
}

}  // namespace

void main_runs_on(const Stack& stack) noexcept { stack_of_main = &stack; }

std::string type_name(const std::type_info& type) { return demangled(type.name()); }

std::string code_address(const void* address) {
    if (address == nullptr) return "unknown";
    Dl_info info{};
    const bool known = ::dladdr(address, &info) != 0;
    const char* slash = known ? std::strrchr(info.dli_fname, '/') : nullptr;
    const std::string module = !known ? "?" : slash != nullptr ? slash + 1 : info.dli_fname;
    const void* base = known && info.dli_sname != nullptr ? info.dli_saddr
                       : known                            ? info.dli_fbase
                                                          : nullptr;
    char offset[32];
    std::snprintf(offset, sizeof offset, "+0x%zx",
                  static_cast<std::size_t>(static_cast<const char*>(address) -
                                           static_cast<const char*>(base)));
    return known && info.dli_sname != nullptr
               ? demangled(info.dli_sname) + offset + " (" + module + ")"
               : module + offset;
}

}  // namespace green::detail
