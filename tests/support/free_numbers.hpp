#pragma once
// The numbers that descriptors have, for those who must not touch what has got theirs.

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <green/fd.hpp>

namespace tests {

/// The highest number of this process's descriptors.
inline int highest_number() {
    int highest = 0;
    for (const auto& each : std::filesystem::directory_iterator{"/proc/self/fd"})
        highest = std::max(highest, std::stoi(each.path().filename().string()));
    return highest;
}

/// Opens so many that it has each number up to `last` that is free. `open` gives the number of a
/// new one.
template <class Open>
std::vector<green::Fd> take_free_numbers(int last, Open open) {
    std::vector<green::Fd> all;
    do {
        all.emplace_back(static_cast<int>(open()));
    } while (all.back().number() < last);
    return all;
}

}  // namespace tests
