#include <green/errors.hpp>
#include <green/wait.hpp>

namespace green {

bool After::Ready::arm() {
    if (deadline_.has_passed()) return true;
    if (deadline_.is_never()) return false;
    timer_.node = this;
    detail::start_timer(timer_, deadline_.when(), [](detail::Timer& timer) noexcept {
        static_cast<NodeTimer&>(timer).node->fire();
    });
    return false;
}

/// Waits for the first of the set to become ready.
class WaitSet::Arrival final : public detail::WaitNode {
 public:
    explicit Arrival(WaitSet& set) noexcept
        : WaitNode{set.outside_ > 0 ? detail::Reach::outside : detail::Reach::inside}, set_{&set} {}
    bool arm() override {
        if (set_->waiter_ != nullptr)
            throw ConcurrentUse("another greenlet waits on this WaitSet already");
        set_->waiter_ = this;
        return false;
    }
    void disarm() noexcept override {
        if (set_->waiter_ == this) set_->waiter_ = nullptr;
    }
    void describe(std::string& into) const override {
        into += "one of ";
        const char* separator = "";
        for (const auto& node : set_->nodes_) {
            if (!node) continue;
            into += separator;
            node->describe(into);
            separator = ", ";
        }
    }

 private:
    WaitSet* set_;
};

WaitSet::WaitSet(std::span<const AnyWaitable> objects) {
    nodes_.reserve(objects.size());
    for (const AnyWaitable& object : objects) add(object);
}

WaitSet::~WaitSet() {
    come_home();
    for (const auto& node : nodes_) {
        if (node && !node->fired() && !node->lost()) node->disarm();
    }
}

void WaitSet::come_home() noexcept {
    if (home_.is_here()) [[likely]]
        return;
    home_ = {};
    ready_.forget();
    for (auto& node : nodes_) (void)node.release();
    nodes_.clear();
    remaining_ = outside_ = 0;
    waiter_ = nullptr;
}

std::size_t WaitSet::add(AnyWaitable object) {
    come_home();
    const std::size_t index = nodes_.size();
    nodes_.push_back(object.node());
    detail::WaitNode& node = *nodes_.back();
    node.set_tag(index);
    try {
        if (node.arm_for(*this)) ready_.push_back(node);
    } catch (...) {
        nodes_.pop_back();
        throw;
    }
    ++remaining_;
    outside_ += node.reach() == detail::Reach::outside;
    return index;
}

void WaitSet::collect(detail::WaitNode& node) noexcept {
    ready_.push_back(node);
    if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->fire();
}

std::optional<std::size_t> WaitSet::next(Deadline deadline) {
    if (remaining() == 0) return std::nullopt;
    while (ready_.empty()) {
        Arrival arrival{*this};
        if (!detail::park(arrival, deadline) && ready_.empty()) return std::nullopt;
    }
    detail::WaitNode& first = ready_.front();
    const std::size_t index = first.tag();
    outside_ -= first.reach() == detail::Reach::outside;
    --remaining_;
    const auto given = std::exchange(nodes_[index], nullptr);
    if (given->lost()) given->throw_lost();
    return index;
}

std::vector<std::size_t> wait(std::span<const AnyWaitable> objects, WaitOptions options) {
    WaitSet set{objects};
    std::vector<std::size_t> ready;
    while (ready.size() < options.count) {
        const auto index = set.next(options.deadline);
        if (!index) break;
        ready.push_back(*index);
    }
    return ready;
}

}  // namespace green
