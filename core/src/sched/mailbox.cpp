#include "sched/mailbox.hpp"

#include <utility>

#include <green/errors.hpp>
#include <green/hub.hpp>

#include "sched/hub.hpp"

namespace green {
namespace detail {

bool Mailbox::post(std::function<void()> function) {
    if (!function) throw UsageError("an empty function was posted to a hub");
    Hub::refuse_in_forked_child();
    if (!birthplace_.is_here()) return false;  // nor may the lock be taken
    const std::lock_guard lock{mutex_};
    if (reactor_ == nullptr) return false;
    posted_.push_back(std::move(function));
    // The first one wakes the hub, which takes them all. Under the lock, which keeps the reactor.
    if (!waiting_.exchange(true, std::memory_order_acq_rel)) reactor_->notify();
    return true;
}

Mailbox::Batch Mailbox::take() noexcept {
    const std::lock_guard lock{mutex_};
    waiting_.store(false, std::memory_order_relaxed);
    return std::exchange(posted_, {});
}

Mailbox::Batch Mailbox::close() noexcept {
    const std::lock_guard lock{mutex_};
    reactor_ = nullptr;
    return std::exchange(posted_, {});
}

}  // namespace detail

HubRef::HubRef() : mailbox_{detail::Hub::current().mailbox()} {}
bool HubRef::post(std::function<void()> function) const {
    return mailbox_->post(std::move(function));
}

}  // namespace green
