#include <string>
#include <utility>

#include <green/latch.hpp>
#include <green/shield.hpp>

namespace green {

class Barrier::Waiter final : public detail::WaitNode {
 public:
    explicit Waiter(Barrier& barrier) noexcept
        : WaitNode{detail::Reach::inside}, barrier_{&barrier} {}
    bool arm() override {
        if (barrier_->arrive()) return true;
        barrier_->waiters_.push_back(*this);
        return false;
    }
    void disarm() noexcept override {
        unlink();
        // Else all have arrived since, and the barrier may be gone.
        if (!missed()) ++barrier_->missing_;
    }
    void describe(std::string& into) const override { barrier_->describe(into); }

 private:
    Barrier* barrier_;
};

Barrier::Barrier(std::size_t parties, std::function<void()> completion)
    : parties_{detail::checked_count(parties, "parties")},
      missing_{parties},
      completion_{std::move(completion)} {
    if (parties == 0) throw UsageError("a Barrier needs at least one party");
}

bool Barrier::arrive() {
    if (parties_ == 0) throw UsageError("all parties have left the Barrier");
    if (missing_ > 1) {
        --missing_;
        return false;
    }
    if (completion_) {
        const NoSwitch fence{"the completion of a Barrier"};
        completion_();
    }
    missing_ = parties_;
    waiters_.fire_all();
    lookers_.fire_all();
    return true;
}

void Barrier::describe(std::string& into) const {
    into += "a barrier, " + std::to_string(missing_) + " missing";
}

bool Barrier::arrive_and_wait(Deadline deadline) {
    Waiter node{*this};
    return detail::park(node, deadline) || node.missed();
}

void Barrier::arrive_and_drop() {
    const bool all = arrive();
    --parties_;
    if (all) --missing_;
}

}  // namespace green
