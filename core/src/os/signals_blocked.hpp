#pragma once

#include <csignal>

#include <green/sys.hpp>

namespace green::detail {

/// Blocks every signal in this thread while it lives.
class SignalsBlocked {
 public:
    SignalsBlocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        outcome_ = sys::sigprocmask(SIG_SETMASK, &all, &before_);
    }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;
    ~SignalsBlocked() {
        if (!outcome_.ok()) return;
        // This cannot fail but in a test, where once more is enough.
        if (!sys::sigprocmask(SIG_SETMASK, &before_, nullptr).ok()) {
            (void)sys::sigprocmask(SIG_SETMASK, &before_, nullptr);
        }
    }

    /// For the caller to look at first.
    [[nodiscard]] sys::Outcome outcome() const noexcept { return outcome_; }

 private:
    sigset_t before_{};
    sys::Outcome outcome_;
};

}  // namespace green::detail
