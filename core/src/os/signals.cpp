#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <green/greenlet.hpp>
#include <green/signals.hpp>
#include <green/sys.hpp>

#include "os/signal_board.hpp"
#include "sched/hub.hpp"

namespace green {
namespace detail {

bool SignalBoard::wanted(int signal) noexcept {
    bool found = false;
    subscribers_.for_each(
        [&](SignalSubscriber& subscriber) { found = found || subscriber.wants(signal); });
    return found;
}

void check_catchable(int signal) {
    if (signal < 1 || signal > SIGRTMAX || signal == SIGKILL || signal == SIGSTOP) {
        sys::fail(EINVAL, "signal " + std::to_string(signal) + " cannot be caught");
    }
}

void SignalBoard::add(SignalSubscriber& subscriber) {
    try {
        for (int signal = 1; signal <= SIGRTMAX; ++signal) {
            if (subscriber.wants(signal)) reactor_->watch_signal(signal);
        }
    } catch (...) {
        remove(subscriber);
        throw;
    }
    subscribers_.push_back(subscriber);
}

void SignalBoard::remove(SignalSubscriber& subscriber) noexcept {
    subscriber.unlink();
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
        if (subscriber.wants(signal) && !wanted(signal)) reactor_->unwatch_signal(signal);
    }
}

void SignalBoard::deliver(int signal) noexcept {
    subscribers_.for_each([&](SignalSubscriber& subscriber) {
        if (subscriber.wants(signal)) subscriber.on_signal(signal);
    });
}

}  // namespace detail

/// The one that will take it.
class SignalSet::Taker final : public Ready {
 public:
    using Ready::Ready;
    bool arm() override {
        if (Ready::arm()) return true;
        if (set_->taker_ != nullptr) {
            unlink();
            throw ConcurrentUse("another greenlet waits on this SignalSet already");
        }
        set_->taker_ = this;
        return false;
    }
    void disarm() noexcept override {
        unlink();
        if (set_->taker_ == this) set_->taker_ = nullptr;
    }
};

SignalSet::SignalSet(std::initializer_list<int> signals) {
    for (const int signal : signals) {
        detail::check_catchable(signal);
        wanted_.set(static_cast<std::size_t>(signal));
    }
    pending_.reserve(
        wanted_.count());  // each is there at most once: nothing is allocated on arrival
    detail::Hub::current().signals().add(*this);
}
SignalSet::~SignalSet() {
    // Its hub may have gone before it.
    detail::Hub* hub = detail::Hub::current_or_null();
    if (hub != nullptr && is_here() && linked()) hub->signals().remove(*this);
}

bool SignalSet::wants(int signal) const noexcept {
    return wanted_.test(static_cast<std::size_t>(signal));
}

void SignalSet::on_signal(int signal) noexcept {
    if (std::find(pending_.begin(), pending_.end(), signal) == pending_.end())
        pending_.push_back(signal);
    taker_ = nullptr;
    waiters_.fire_all();
}

std::optional<int> SignalSet::next(Deadline deadline) {
    while (pending_.empty()) {  // again, when somebody was quicker
        Taker node{*this};
        if (!detail::park(node, deadline)) return std::nullopt;
    }
    const int signal = pending_.front();
    pending_.erase(pending_.begin());
    return signal;
}

SignalHandler::SignalHandler(int signal, std::function<void()> function) : watcher_{signal} {
    if (!function) throw UsageError("a signal handler needs a function");
    watcher_.start([function = std::move(function)] { spawn(function); });
}

}  // namespace green
