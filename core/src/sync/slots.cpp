#include <green/detail/slots.hpp>
#include <green/errors.hpp>

namespace green::detail {

bool Slots::Taker::arm() {
    took_ = false;
    slots_->come_home();
    if (slots_->taken_ < slots_->limit_) {
        ++slots_->taken_;
        return true;
    }
    if (slots_->closed_) return refused_ = true;
    slots_->line_.push_back(*this);
    return false;
}

Slots::Slot Slots::wait(Deadline deadline) {
    Taker taker{*this};
    if (!park(taker, deadline)) return {};
    // Nothing of this object is touched when it was refused.
    if (taker.refused()) throw Closed("the pool that was waited for is gone");
    return taker.taken();
}

void Slots::hand_out() noexcept {
    come_home();
    while (taken_ < limit_) {
        Taker* taker = line_.first_open();
        if (taker == nullptr) return;
        ++taken_;
        taker->fire();  // one that is no greenlet takes it right here
        if (!taker->took_) handed_.push_back(*taker);
    }
}

void Slots::close_line() noexcept {
    closed_ = true;
    come_home();
    while (!handed_.empty()) {
        Taker& taker = handed_.front();
        taker.unlink();
        taker.refused_ = true;
        --taken_;
    }
    while (!line_.empty()) {
        Taker& taker = line_.front();
        taker.refused_ = true;
        taker.fire();
    }
}

}  // namespace green::detail
