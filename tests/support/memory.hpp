#pragma once

#include <cstdint>

namespace tests {

/// Bytes that this process can still have: of the machine's memory, and of what its control groups
/// leave. Files that are only cached count as free.
std::uint64_t available_memory();

}  // namespace tests
