#pragma once

#include <green/detail/intrusive.hpp>

namespace green::detail {

/// Who is told of signals in a hub.
class SignalSubscriber : public ListHook {
 public:
    [[nodiscard]] virtual bool wants(int signal) const noexcept = 0;
    virtual void on_signal(int signal) noexcept = 0;

 protected:
    ~SignalSubscriber() = default;
};

}  // namespace green::detail
