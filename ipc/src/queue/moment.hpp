#pragma once
// Which start of the machine this is, and what its clock says. That clock begins anew with each
// start, and a segment on a disk outlives it.

#include <array>
#include <cstdint>

namespace green::ipc::shm {

struct Moment {
    std::array<std::uint64_t, 2> boot{};  // the kernel's boot id; zeros: it cannot be told
    std::int64_t now = 0;                 // nanoseconds since that start

    [[nodiscard]] static Moment present() noexcept;
};

}  // namespace green::ipc::shm
