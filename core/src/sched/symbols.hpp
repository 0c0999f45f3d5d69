#pragma once

#include <string>
#include <typeinfo>

namespace green::detail {

struct Stack;

/// In a forked child, whose main greenlet runs on a stack that was another one's.
void main_runs_on(const Stack& stack) noexcept;

/// The demangled name of a type.
[[nodiscard]] std::string type_name(const std::type_info& type);

/// "function+0x12 (program)" for a code address, as far as the dynamic symbol table knows it.
[[nodiscard]] std::string code_address(const void* address);

}  // namespace green::detail
