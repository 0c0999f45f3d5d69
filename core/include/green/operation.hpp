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
/// called. Borrows `sink` and `item`.
template <class Sink>
[[nodiscard]] auto send(Sink& sink, typename Sink::Item& item) noexcept -> typename Sink::Putter {
    return typename Sink::Putter{sink, item};
}

}  // namespace green
