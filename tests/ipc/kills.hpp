#pragma once
// How many kills a test makes, and how fast they came.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ostream>

namespace tests {

/// As many as GREENSUP_KILLS says, else so many.
inline unsigned kills_wanted(unsigned usual) {
    const char* given = std::getenv("GREENSUP_KILLS");
    return given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 0)) : usual;
}

/// Prints the time since it was made, and how many a second so many are.
class Pace {
 public:
    struct Of {
        double seconds;
        std::uint64_t count;
        friend std::ostream& operator<<(std::ostream& out, const Of& pace) {
            return out << "in " << static_cast<unsigned>(pace.seconds + 0.5) << " s, "
                       << static_cast<unsigned>(static_cast<double>(pace.count) / pace.seconds)
                       << " a second";
        }
    };
    [[nodiscard]] Of of(std::uint64_t count) const {
        return {std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(),
                count};
    }

 private:
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace tests
