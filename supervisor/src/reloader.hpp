// Takes over a configuration that was read again: all of it or nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <green/event.hpp>

#include "edition.hpp"
#include "fleet.hpp"
#include "plan.hpp"
#include "refusal.hpp"
#include "roller.hpp"
#include "status.hpp"

namespace greensup {

/// What became of a reload.
struct ReloadOutcome {
    Code code = Code::ok;
    std::string message;
    std::string hint;
    std::string plan;  // for people
    std::uint64_t generation = 0;
    Diagnostics mistakes;
};

/// One reload on its way; whoever asked for it waits for the outcome.
struct ReloadJob {
    std::string plan;
    std::uint64_t generation = 0;
    std::vector<std::string> newcomers;  // pools that have to come up
    green::AsyncResult<ReloadOutcome> outcome;
};

class Reloader {
 public:
    Reloader(Fleet& fleet, Roller& roller, Editor editor) noexcept
        : fleet_{fleet}, roller_{roller}, editor_{std::move(editor)} {}

    /// The first configuration: starts everything. Throws Refusal.
    void begin(Config config);

    /// Applies what was read; a newer one supersedes an older one that is still on its way. With
    /// mistakes in it nothing changes. Never switches.
    std::shared_ptr<ReloadJob> apply(Result<Config> read, Scope scope);

    /// Goes on with what takes time. Returns when to look again.
    std::optional<TimePoint> advance();
    /// The end is near: nothing goes on, whoever waits is told.
    void cancel();

    [[nodiscard]] const Edition& edition() const { return *edition_; }
    /// The same, for who switches while he looks at it.
    [[nodiscard]] std::shared_ptr<const Edition> present() const { return edition_; }
    /// The last configuration that was refused, until one is taken over.
    [[nodiscard]] const ConfigStatus& rejected() const { return rejected_; }

 private:
    void reject(ReloadJob& job, ReloadOutcome outcome);
    void carry_out(const Plan& plan, ReloadJob& job);
    void move_the_others(const std::vector<std::string>& rolled);
    void start_pool(const PlanStep& step, std::vector<std::string>& rolls, ReloadJob& job);
    void retire(Pool& pool);
    void supersede();
    [[nodiscard]] bool is_done(const ReloadJob& job) const;
    [[nodiscard]] ReloadOutcome outcome_of(const ReloadJob& job) const;

    Fleet& fleet_;
    Roller& roller_;
    Editor editor_;
    std::shared_ptr<const Edition> edition_;
    std::shared_ptr<ReloadJob> job_;
    std::vector<std::string> retiring_;  // pools that go when all have been rolled
    ConfigStatus rejected_;
};

}  // namespace greensup
