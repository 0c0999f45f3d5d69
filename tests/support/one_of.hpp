#pragma once

#include <array>
#include <cstddef>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>

namespace tests {

constexpr std::size_t none = static_cast<std::size_t>(-1);

/// Waits on several operations at once. Returns which of them fired, or none once `deadline` has
/// passed. More than one may not fire: then it returns their number.
template <class... Operations>
std::size_t one_of(green::Deadline deadline, Operations&... operations) {
    const std::array<green::detail::WaitNode*, sizeof...(operations)> nodes{&operations.node()...};
    if (!green::detail::park(nodes, deadline)) return none;
    std::size_t winner = nodes.size();
    std::size_t fired = 0;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (!nodes[i]->fired()) continue;
        winner = i;
        ++fired;
    }
    return fired == 1 ? winner : nodes.size();
}

}  // namespace tests
