// Why something that was asked for cannot be done, as the one who asked is told.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace greensup {

/// Exit codes of the program; those up to 11 are also the codes of the control protocol.
enum class Code : int {
    ok = 0,
    failed = 1,
    usage = 2,
    config = 3,
    not_found = 4,  // no supervisor
    superseded = 7,
    forbidden = 8,
    roll_failed = 11,
    internal = 70,
    files = 73,  // run directory, lock, control socket, queue segments
    locked = 75,
    address = 76,
};
constexpr int number(Code code) { return static_cast<int>(code); }

/// The text names the place, the hint the remedy. Nothing was changed.
class Refusal final : public std::runtime_error {
 public:
    Refusal(Code code, const std::string& what, std::string hint = {})
        : std::runtime_error{what}, code_{code}, hint_{std::move(hint)} {}
    [[nodiscard]] Code code() const noexcept { return code_; }
    [[nodiscard]] const std::string& hint() const noexcept { return hint_; }

 private:
    Code code_;
    std::string hint_;
};

}  // namespace greensup
