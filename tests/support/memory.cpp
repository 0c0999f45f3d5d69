#include "support/memory.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

namespace tests {
namespace {

constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

/// The number in a file that has nothing else; unlimited where there is no file, or no number.
std::uint64_t number_in(const std::filesystem::path& path) {
    std::uint64_t number = 0;
    return std::ifstream{path} >> number ? number : unlimited;
}

/// The number after a word that a line begins with, or `otherwise`.
std::uint64_t number_after(const std::string& word, const std::filesystem::path& path,
                           std::uint64_t otherwise) {
    std::ifstream file{path};
    for (std::string line; std::getline(file, line);) {
        if (line.compare(0, word.size(), word) == 0) return std::stoull(line.substr(word.size()));
    }
    return otherwise;
}

std::uint64_t left_by(const std::filesystem::path& group, const char* limit_file,
                      const char* usage_file, const char* cached) {
    const std::uint64_t limit = number_in(group / limit_file);
    const std::uint64_t usage = number_in(group / usage_file);
    if (limit == unlimited || usage == unlimited) return unlimited;
    const std::uint64_t used =
        usage - std::min(usage, number_after(cached, group / "memory.stat", 0));
    return limit - std::min(limit, used);
}

/// By every group from ours up to the root.
std::uint64_t left_by_groups() {
    const std::filesystem::path root{"/sys/fs/cgroup"};
    std::uint64_t least = unlimited;
    std::ifstream groups{"/proc/self/cgroup"};  // hierarchy:controllers:/path
    for (std::string line; std::getline(groups, line);) {
        const auto first = line.find(':');
        const auto second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        if (!controllers.empty() && controllers != "memory") continue;
        for (std::filesystem::path path = line.substr(second + 1);; path = path.parent_path()) {
            const auto below = path.relative_path();
            least =
                std::min(least, controllers.empty()
                                    ? left_by(root / below, "memory.max", "memory.current", "file ")
                                    : left_by(root / controllers / below, "memory.limit_in_bytes",
                                              "memory.usage_in_bytes", "total_cache "));
            if (!path.has_relative_path()) break;
        }
    }
    return least;
}

}  // namespace

std::uint64_t available_memory() {
    const std::uint64_t machines =
        number_after("MemAvailable:", "/proc/meminfo", unlimited / 1024) * 1024;
    return std::min(machines, left_by_groups());
}

}  // namespace tests
