#include "shm/fences.hpp"

#include <linux/membarrier.h>

#include <green/sys.hpp>

namespace green::ipc::shm {

bool take_part_in_fences() noexcept {
    return sys::membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED).ok();
}

bool fence_everywhere() noexcept { return sys::membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED).ok(); }

}  // namespace green::ipc::shm
