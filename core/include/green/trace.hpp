#pragma once

#include <cstdint>
#include <functional>

#include <green/greenlet.hpp>

namespace green {

/// What happens to greenlets.
enum class TraceEvent : std::uint8_t {
    started,  // it stands in the ready ring for the first time
    entered,  // it is about to run
    ended,    // its outcome is known, nobody was told yet
};

/// Called at each event of this thread's hub, also for its main greenlet and for the hub itself, on
/// whatever stack it happens. Must neither wait nor throw: std::terminate. An empty function
/// removes it, also from inside the hook itself; without one a switch costs nothing more.
using TraceHook = std::function<void(TraceEvent event, const AnyGreenlet& greenlet)>;
void set_trace_hook(TraceHook hook);

}  // namespace green
