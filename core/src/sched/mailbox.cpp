#include "sched/mailbox.hpp"

#include <memory>
#include <utility>

#include <green/errors.hpp>
#include <green/hub.hpp>

#include "sched/hub.hpp"

namespace green {
namespace detail {

bool Mailbox::post(Letter& letter) noexcept {
    Hub::refuse_in_forked_child();
    if (home_.is_here()) {  // else the lock may be held for ever
        const std::lock_guard lock{mutex_};
        if (reactor_ != nullptr) {
            posted_.push(letter);
            // The first one wakes the hub, which takes them all. Under the lock, which keeps the
            // reactor.
            if (!waiting_.exchange(true, std::memory_order_acq_rel)) reactor_->notify();
            return true;
        }
    }
    letter.let_go();
    return false;
}

bool Mailbox::post(std::function<void()> function) {
    struct Call final : Letter {
        explicit Call(std::function<void()> its_function) : function{std::move(its_function)} {}
        void arrive() override { function(); }
        void let_go() noexcept override { delete this; }
        std::function<void()> function;
    };
    if (!function) throw UsageError("an empty function was posted to a hub");
    return post(*std::make_unique<Call>(std::move(function)).release());
}

Letters Mailbox::take() noexcept {
    const std::lock_guard lock{mutex_};
    waiting_.store(false, std::memory_order_relaxed);
    return std::move(posted_);
}

Letters Mailbox::close() noexcept {
    const std::lock_guard lock{mutex_};
    reactor_ = nullptr;
    return std::move(posted_);
}

}  // namespace detail

HubRef::HubRef() : mailbox_{detail::Hub::current().mailbox()} {}
bool HubRef::post(std::function<void()> function) const {
    return mailbox_->post(std::move(function));
}

}  // namespace green
