#include "wall_clock.hpp"

#include <array>
#include <cstdio>
#include <ctime>

namespace greensup {

std::int64_t wall_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

std::int64_t wall_ms(TimePoint at) {
    const auto ago = std::chrono::steady_clock::now() - at;
    return wall_ms() - std::chrono::duration_cast<std::chrono::milliseconds>(ago).count();
}

std::string wall_text(std::int64_t ms) {
    const auto seconds = static_cast<std::time_t>(ms / 1000);
    std::tm parts{};
    std::array<char, 64> date{};
    std::array<char, 80> text{};
    if (::gmtime_r(&seconds, &parts) == nullptr) return {};
    (void)std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &parts);
    (void)std::snprintf(text.data(), text.size(), "%s.%03dZ", date.data(),
                        static_cast<int>(ms % 1000));
    return text.data();
}

}  // namespace greensup
