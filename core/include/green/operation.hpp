#pragma once
// Receiving and sending as objects: operations that wait side by side, of which one is done.

#include <green/detail/park.hpp>

namespace green {

/// An operation that takes the next item of a queue or a channel. It waits by node(); when that has
/// fired, take() gives the item, or throws Closed: once, before anything else is waited for. One
/// that does not fire leaves no trace. Borrows `source`.
template <class Source>
[[nodiscard]] auto recv(Source& source) noexcept -> typename Source::Getter {
    return typename Source::Getter{source};
}

/// An operation that puts the item into a queue or a channel, by the same rules. take() moves from
/// the item, nothing else does: it is still the caller's when take() throws Closed, or is never
/// called. A channel's can lose the getter it was paired with: its settled() tells, and select()
/// goes on waiting then. Borrows `sink` and `item`.
template <class Sink>
[[nodiscard]] auto send(Sink& sink, typename Sink::Item& item) noexcept -> typename Sink::Putter {
    return typename Sink::Putter{sink, item};
}

/// An operation that takes a permit of a semaphore: it is held when node() has fired. One that does
/// not fire leaves no trace. Borrows `semaphore`.
template <class Semaphore>
class Acquisition {
 public:
    explicit Acquisition(Semaphore& semaphore) noexcept : node_{semaphore} {}
    [[nodiscard]] detail::WaitNode& node() noexcept { return node_; }
    void take() noexcept {}

 private:
    typename Semaphore::Acquire node_;
};
template <class Semaphore>
[[nodiscard]] auto acquire(Semaphore& semaphore) noexcept -> Acquisition<Semaphore> {
    return Acquisition<Semaphore>{semaphore};
}

}  // namespace green
