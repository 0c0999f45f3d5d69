#pragma once
// What the targets that read frames have in common.

#include "fuzz.hpp"

namespace fuzz {

/// Plays an input with frames up to the limit. That leaves no descriptor open, and allocates no
/// more at once than such frames need.
template <class Play>
void play_frames(std::size_t limit, Play play, const std::uint8_t* data, std::size_t size) {
    static const bool is_warm = (play(Input{nullptr, 0}), true);  // what a hub opens stays open
    (void)is_warm;
    const NoDescriptorLeft descriptors;
    // The buffer of a frame, and what was read with it, may double when it grows.
    const LargestAllocation allocation{2 * (limit + (std::size_t{32} << 10))};
    play(Input{data, size});
}

}  // namespace fuzz
