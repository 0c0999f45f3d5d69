/// What processes occupy.
#pragma once

#include <cstdint>
#include <sys/types.h>

namespace bench {

/// In bytes. Page tables are the kernel's and no part of the resident memory.
struct Memory {
    std::uint64_t resident = 0;
    std::uint64_t page_tables = 0;
    [[nodiscard]] std::uint64_t total() const noexcept { return resident + page_tables; }
};

/// As /proc/PID/status says. Throws std::runtime_error when it does not say it.
[[nodiscard]] Memory memory_of(pid_t process);

}  // namespace bench
