#pragma once
// What a worker and its supervisor must agree on before they can talk: which descriptor is the
// control channel. All else is said over it, in messages of schema/control.capnp.

#include <green/ipc/frame_stream.hpp>

namespace green::ipc {

/// Environment variable with the number of the control channel's descriptor: a Unix stream socket
/// with frames.
inline constexpr const char* control_variable = "GREENSUP_CONTROL_FD";

/// Where the supervisor puts it.
inline constexpr int control_descriptor = 3;

/// What is said over it must be known to the other side even if this one dies the next moment.
inline constexpr StreamOptions control_options{.coalesce = false};

}  // namespace green::ipc
