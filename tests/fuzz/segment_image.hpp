#pragma once
// A small segment as a crash of all who took part leaves it: messages in every state, extents of
// every kind.

#include <cstddef>
#include <vector>

#include "queue/layout.hpp"

namespace fuzz {

[[nodiscard]] green::ipc::shm::Config segment_config();
/// The bytes of its file.
[[nodiscard]] std::vector<std::byte> segment_image();

}  // namespace fuzz
