#pragma once

#include <green/detail/home.hpp>
#include <green/detail/intrusive.hpp>

namespace green::detail {

/// Who is told of signals in a hub.
class SignalSubscriber : public ListHook {
 public:
    [[nodiscard]] virtual bool wants(int signal) const noexcept = 0;
    virtual void on_signal(int signal) noexcept = 0;

 protected:
    ~SignalSubscriber() { come_home(); }
    /// Whether it may be in a hub of this process.
    [[nodiscard]] bool is_here() const noexcept { return home_.is_here(); }
    /// In a forked child: it is in no hub any more.
    void come_home() noexcept {
        if (home_.is_here()) return;
        home_ = {};
        forget();
    }

 private:
    Home home_;
};

}  // namespace green::detail
