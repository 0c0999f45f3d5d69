#include "support/schedules.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include "support/run_green.hpp"

namespace tests {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t schedules_by_default = 400'000;
#else
constexpr std::uint64_t schedules_by_default = 1'200'000;
#endif

}  // namespace

std::uint64_t all_schedules() {
    const char* const given = std::getenv("GREENSUP_SCHEDULES");
    if (given == nullptr) return schedules_by_default;
    const std::string_view text{given};
    std::uint64_t number = 0;
    const auto [stop, error] = std::from_chars(text.begin(), text.end(), number);
    if (error != std::errc{} || stop != text.end())
        throw std::invalid_argument("GREENSUP_SCHEDULES=" + std::string{text} + " is no number");
    return number;
}

std::uint64_t for_each_schedule(Share share, Part part,
                                const std::function<void(std::uint64_t)>& body) {
    const bool one_alone = std::getenv("GREENSUP_SEED") != nullptr;
    const std::uint64_t count =
        one_alone
            ? 1
            : std::max<std::uint64_t>(all_schedules() * share.of_thousand / 1000 / part.of, 1);
    const std::uint64_t first = tests::seed() + (one_alone ? 0 : part.number * count);
    for (std::uint64_t seed = first; seed < first + count; ++seed) {
        INFO("GREENSUP_SEED=" << seed);
        body(seed);
    }
    return count;
}

}  // namespace tests
