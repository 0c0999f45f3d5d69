#pragma once

#include <memory>

#include "loop/reactor.hpp"

namespace green::detail {

/// A reactor on a libev loop of its own (never the default loop, which would reap every child of
/// the process). Throws std::system_error.
[[nodiscard]] std::unique_ptr<Reactor> make_ev_reactor();

}  // namespace green::detail
