// Does what roll.hpp decides, one pool after the other.
//
// Who reads a pipe that is no more in the new configuration is replaced when nobody writes into it
// any more: else what is still written would be read by nobody.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fleet.hpp"
#include "roll.hpp"

namespace greensup {

class Roller {
 public:
    explicit Roller(Fleet& fleet) : fleet_{fleet} {}

    /// Rolls these pools to this edition, in this order but for writers that have to go first. What
    /// was going on, or still to come, is superseded: these pools have to be among the new ones.
    void begin(const std::vector<std::string>& pools, std::shared_ptr<const Edition> edition);
    /// Nothing more is replaced; who lives stays.
    void cancel();

    /// Takes every step that can be taken now. Returns when to look again.
    std::optional<TimePoint> advance();

    [[nodiscard]] bool is_busy() const { return !waiting_.empty(); }
    /// Pools that are not in the edition, and that have to be gone before the next roll can begin.
    [[nodiscard]] const std::set<std::string>& waits_for() const { return waits_for_; }
    /// Who has not moved and writes into a pipe that goes and that this pool reads: "NAME, which
    /// writes into pipe PIPE". Empty if there is nobody, or who there is will go.
    [[nodiscard]] std::string held_by(const Pool& pool) const { return held_by(pool, {}); }
    /// Of pools that write into pipes that go, each has to be gone, or rolled, before those that
    /// read them. That is so for nobody of this pool, or only for those who wait for this one too,
    /// as they go round in a circle.
    [[nodiscard]] bool is_next(const Pool& pool) const;
    /// "web: slot 0 of generation 3: exit 1", of the last begin().
    [[nodiscard]] const std::vector<std::string>& failures() const { return failures_; }

 private:
    /// Whose turn is next comes to the front. Returns false if nobody's turn can come yet.
    bool choose();
    /// The pools that write into pipes that go and that this one reads, each with such a pipe.
    [[nodiscard]] std::map<std::string, std::string> writers_ahead_of(const Pool& pool) const;
    /// And those that are ahead of them, and so on.
    [[nodiscard]] std::set<std::string> all_ahead_of(const Pool& pool) const;
    [[nodiscard]] std::string held_by(const Pool& pool, std::set<std::string> seen) const;
    [[nodiscard]] bool is_to_roll(const std::string& pool) const;
    [[nodiscard]] bool is_to_go(const std::string& pool) const;
    [[nodiscard]] RollView view_of(const Pool& pool) const;
    /// Returns whether the pool is through.
    bool act(Pool& pool, const RollAction& action);
    void notice_the_gone(const Pool& pool);
    void finish(Pool& pool);
    void fail(Pool& pool, const std::string& why);

    Fleet& fleet_;
    std::deque<std::string> waiting_;  // the first one is being rolled
    std::shared_ptr<const Edition> edition_;
    std::uint64_t target_ = 0;
    std::set<std::string> waits_for_;
    TimePoint progressed_{};
    bool has_begun_ = false;  // with the first one
    std::size_t old_ones_ = 0;
    std::vector<std::string> failures_;
};

}  // namespace greensup
