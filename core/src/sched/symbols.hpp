#pragma once

#include <string>
#include <typeinfo>

namespace green::detail {

/// The demangled name of a type.
[[nodiscard]] std::string type_name(const std::type_info& type);

/// "function+0x12 (program)" for a code address, as far as the dynamic symbol table knows it.
[[nodiscard]] std::string code_address(const void* address);

}  // namespace green::detail
