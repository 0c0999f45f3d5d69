// Does what roll.hpp decides, one pool after the other.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fleet.hpp"
#include "roll.hpp"

namespace greensup {

class Roller {
 public:
    explicit Roller(Fleet& fleet) : fleet_{fleet} {}

    /// Rolls these pools, in this order, to what their edition says. What was going on, or still to
    /// come, is superseded: these pools have to be among the new ones.
    void begin(const std::vector<std::string>& pools, std::uint64_t generation);
    /// Nothing more is replaced; who lives stays.
    void cancel();

    /// Takes every step that can be taken now. Returns when to look again.
    std::optional<TimePoint> advance();

    [[nodiscard]] bool is_busy() const { return !waiting_.empty(); }
    /// "web: slot 0 of generation 3: exit 1", of the last begin().
    [[nodiscard]] const std::vector<std::string>& failures() const { return failures_; }

 private:
    [[nodiscard]] RollView view_of(const Pool& pool) const;
    /// Returns whether the pool is through.
    bool act(Pool& pool, const RollAction& action);
    void notice_the_gone(const Pool& pool);
    void finish(Pool& pool);
    void fail(Pool& pool, const RollAction& action);

    Fleet& fleet_;
    std::deque<std::string> waiting_;  // the first one is being rolled
    std::uint64_t target_ = 0;
    TimePoint progressed_{};
    bool has_begun_ = false;  // with the first one
    std::size_t old_ones_ = 0;
    std::vector<std::string> failures_;
};

}  // namespace greensup
