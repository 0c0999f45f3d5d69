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

class SignalSet::Node final : public detail::WaitNode {
 public:
    explicit Node(SignalSet& set) noexcept
        : WaitNode{set.keeps_alive_ ? detail::Reach::outside : detail::Reach::background},
          set_{&set} {}
    bool arm() override {
        if (!set_->pending_.empty()) return true;
        if (set_->waiter_ != nullptr)
            throw ConcurrentUse("another greenlet waits on this SignalSet already");
        set_->waiter_ = this;
        return false;
    }
    void disarm() noexcept override { set_->waiter_ = nullptr; }
    void describe(std::string& into) const override { into += "a signal"; }

 private:
    SignalSet* set_;
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
    // Its hub may have gone before it; in a forked child it is the parent's.
    detail::Hub* hub = detail::Hub::current_or_null();
    if (hub != nullptr && linked()) hub->signals().remove(*this);
}

bool SignalSet::wants(int signal) const noexcept {
    return wanted_.test(static_cast<std::size_t>(signal));
}

void SignalSet::on_signal(int signal) noexcept {
    if (std::find(pending_.begin(), pending_.end(), signal) == pending_.end())
        pending_.push_back(signal);
    if (Node* waiter = std::exchange(waiter_, nullptr)) waiter->fire();
}

std::optional<int> SignalSet::next(Deadline deadline) {
    Node node{*this};
    if (!detail::park(node, deadline)) return std::nullopt;
    const int signal = pending_.front();
    pending_.erase(pending_.begin());
    return signal;
}

SignalHandler::SignalHandler(int signal, std::function<void()> function) : watcher_{signal} {
    if (!function) throw UsageError("a signal handler needs a function");
    watcher_.start([function = std::move(function)] { spawn(function); });
}

}  // namespace green
