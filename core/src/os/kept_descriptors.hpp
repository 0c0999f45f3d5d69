#pragma once
// What a forked child keeps open of its parent's descriptors, when it does not keep all.

#include <cstdint>
#include <vector>

namespace green::detail {

struct KeptDescriptor {
    int number;
    std::uint32_t lost;  // the last loss that closed it: what is older speaks of something else
};

/// In the parent, where memory may be short. The numbers are rising.
[[nodiscard]] std::vector<KeptDescriptor> to_be_kept(const std::vector<int>& numbers);
/// In the child, which has closed all others.
void note_descriptor_loss(std::vector<KeptDescriptor>&& kept) noexcept;

}  // namespace green::detail
