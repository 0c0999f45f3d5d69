#include "os/kept_descriptors.hpp"

#include <algorithm>

#include <green/detail/tenure.hpp>

namespace green::detail {

// Only the one thread of a child writes them.
constinit std::uint32_t descriptor_losses = 0;

namespace {

/// Those that have outlived the last loss, rising.
std::vector<KeptDescriptor> survivors;

/// The last loss that closed the number.
std::uint32_t last_loss_of(int number) noexcept {
    const auto found = std::lower_bound(
        survivors.begin(), survivors.end(), number,
        [](const KeptDescriptor& kept, int wanted) { return kept.number < wanted; });
    const bool has_survived = found != survivors.end() && found->number == number;
    return has_survived ? found->lost : descriptor_losses;
}

}  // namespace

bool Tenure::was_kept(int number) const noexcept { return last_loss_of(number) <= since_; }

std::vector<KeptDescriptor> to_be_kept(const std::vector<int>& numbers) {
    std::vector<KeptDescriptor> kept;
    kept.reserve(numbers.size());
    for (const int number : numbers) kept.push_back({number, last_loss_of(number)});
    return kept;
}

void note_descriptor_loss(std::vector<KeptDescriptor>&& kept) noexcept {
    survivors.swap(kept);
    ++descriptor_losses;
}

}  // namespace green::detail
