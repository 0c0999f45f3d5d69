// Why something that was asked for cannot be done, as the one who asked is told.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "diagnostic.hpp"

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
    /// Of what a file asks for with that key, "sockets.web.listen": it comes before the text.
    [[nodiscard]] static Refusal at(std::string key, Code code, const std::string& what,
                                    std::string hint = {}) {
        Refusal refusal{code, key + ": " + what, std::move(hint)};
        refusal.key_ = std::move(key);
        return refusal;
    }
    [[nodiscard]] Code code() const noexcept { return code_; }
    [[nodiscard]] const std::string& hint() const noexcept { return hint_; }
    [[nodiscard]] bool is_of_the_file() const noexcept { return !key_.empty(); }
    /// As a mistake in the file that stands at `places`.
    [[nodiscard]] Diagnostic mistake(const Places& places) const {
        const std::size_t lead = key_.empty() ? 0 : key_.size() + 2;
        return places.mistake("E016", key_, what() + lead, hint_);
    }

 private:
    Code code_;
    std::string hint_;
    std::string key_;
};

}  // namespace greensup
