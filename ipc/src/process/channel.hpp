#pragma once
// What passes between a child and the one who has started it, beside the arguments: packets, of
// which the first byte says what they are.

#include <cstddef>
#include <string_view>

namespace green::ipc {

inline constexpr char began_packet = 'b';   // the entry is called now
inline constexpr char failed_packet = 'f';  // why, in words
inline constexpr std::size_t longest_packet = 16'384;

/// Nobody is there to be told when this fails.
void tell(int channel, char packet, std::string_view text = {}) noexcept;

}  // namespace green::ipc
